"""Users without a home folder or a name, as in containers and batch systems, and home folders that are read-only."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lake.hostile import CONTAINER, FILES, SCOPE, HostileRucio, Reply
from tests.support.users import Users

DID = f"{SCOPE}:{CONTAINER}"


@pytest.fixture
def rucio_home(hostile: HostileRucio, users: Users) -> str:
    """The folder of a rucio.cfg that everybody can read."""
    token = {"X-Rucio-Auth-Token": "a-token", "X-Rucio-Auth-Token-Expires": "Thu, 01 Jan 2037 00:00:00 UTC"}
    hostile.replies["/auth/userpass"] = Reply(headers=token)
    folder = users.folder / f"rucio-{hostile.server_port}"
    (folder / "etc").mkdir(parents=True)
    lines = [f"rucio_host = {hostile.url}", f"auth_host = {hostile.url}", "auth_type = userpass", "account = ann"]
    lines += ["username = ann", "password = hush-hush"]
    (folder / "etc" / "rucio.cfg").write_text("\n".join(["[client]", *lines]))
    return str(folder)


def use(did: str, to: str, home: str, rucio_home: str) -> list[int]:
    """Attach and download, with nothing in the environment but a rucio.cfg; run it as a user."""
    import os
    import tempfile

    os.environ.clear()
    os.environ.update({"RUCIO_HOME": rucio_home, "TMPDIR": to, "NO_PROXY": "*", **({"HOME": home} if home else {})})
    tempfile.tempdir = None  # look at TMPDIR again
    from rucio_lab.api.attach import attach, download

    return [len(attach(did)), len(attach(did, access="lake")), len(download(did, to=to))]


def test_a_user_without_name_and_home(users: Users, rucio_home: str) -> None:
    user = users.add()
    assert user(use, DID, user.home, "", rucio_home) == [FILES, FILES, FILES]
    assert (user.home / f"rucio-lab-u{user.uid}" / "tokens").stat().st_mode & 0o777 == 0o700
    assert not Path("~").exists()


@pytest.mark.parametrize("home", ["/proc", "/nonexistent"])
def test_a_home_folder_that_cannot_be_written_to(users: Users, rucio_home: str, home: str) -> None:
    user = users.add()
    assert user(use, DID, user.home, home, rucio_home) == [FILES, FILES, FILES]


def test_downloads_without_a_home_folder_say_what_to_do(users: Users, rucio_home: str) -> None:
    user = users.add()

    def fails(did: str, rucio_home: str, to: str) -> str:
        import os
        import tempfile

        os.environ.clear()
        os.environ.update({"RUCIO_HOME": rucio_home, "TMPDIR": to, "NO_PROXY": "*"})
        tempfile.tempdir = None
        from rucio_lab.api.attach import download
        from rucio_lab.core.errors import BadRequest

        try:
            return str(download(did))
        except BadRequest as error:
            return str(error)

    assert "Could not determine home directory. Set HOME" in user(fails, DID, rucio_home, user.home)
