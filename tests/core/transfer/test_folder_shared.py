"""A download folder that several users write to, without trusting each other."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.support.users import User, Users

BYTES = b"right bytes" * 1000
ADLER = f"{zlib.adler32(BYTES):08x}"
PART = f".f~{len(BYTES)}-adler32-{ADLER}.part"


@pytest.fixture
def alice(users: Users) -> User:
    return users.add(users.group, umask=0o002)


@pytest.fixture
def bob(users: Users) -> User:
    return users.add(users.group, umask=0o002)


@pytest.fixture
def shared(users: Users) -> Path:
    """A folder of a group, as an administrator would create it, next to a file to download."""
    folder = users.folder / f"group-{next(_numbers)}"
    folder.mkdir()
    os.chown(folder, 0, users.group)
    folder.chmod(0o2775)
    (users.folder / "served").write_bytes(BYTES)
    return folder


_numbers = iter(range(1000))


def fetch(base: str, source: str, name: str = "f", parts: tuple[str, ...] = ("ds",)) -> list[Any]:
    """Download one file. Returns its state, why it failed, and the number of fetched bytes."""
    import zlib
    from pathlib import Path

    from rucio_lab.core.config.settings import Instance
    from rucio_lab.core.did import DID
    from rucio_lab.core.model import Replica, ResolvedFile
    from rucio_lab.core.transfer.fetch import Fetcher

    content = Path(source).read_bytes()
    file = ResolvedFile(DID("s", name), (), len(content), f"{zlib.adler32(content):08x}", (Replica("R", source),))
    instance = Instance(name="lake", url="http://127.0.0.1:9", auth_url="http://127.0.0.1:9")
    fetch = Fetcher(instance, [(file, (*parts, name))], Path(base), parallel=1)
    (outcome,) = fetch.run()
    return [outcome.state, outcome.reason, fetch.progress.fetched]


def change(path: str) -> None:
    """Change a byte without a trace in the times of the file."""
    import os
    from pathlib import Path

    status = Path(path).stat()
    with Path(path).open("r+b") as file:
        file.write(b"W")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def forge(folder: str, name: str, content: str, checksum: str, uid: int) -> None:
    """Create a file, and stamps for everybody that say that it was verified."""
    import json
    from pathlib import Path

    Path(folder).mkdir(exist_ok=True)
    Path(folder).chmod(0o777)
    path = Path(folder, name)
    path.write_text(content)
    status = path.stat()
    line = json.dumps([name, status.st_size, status.st_mtime_ns, status.st_ino, f"adler32:{checksum}"])
    for stamps in (".rucio-lab-verified", f".rucio-lab-verified-{uid}"):
        Path(folder, stamps).write_text(line + "\n")
        Path(folder, stamps).chmod(0o666)


def test_a_stamp_of_another_user_is_not_trusted(alice: User, bob: User, shared: Path, users: Users) -> None:
    bob(forge, shared / "ds", "f", "W" * len(BYTES), ADLER, alice.uid)
    state, reason, _ = alice(fetch, shared, users.folder / "served")
    assert state == "failed"
    assert "is another file" in reason
    assert (shared / "ds" / "f").read_bytes() == b"W" * len(BYTES)


def test_a_forged_stamp_in_ones_own_folder_is_not_trusted(alice: User, bob: User, users: Users) -> None:
    """The folder was writable by others for a while."""
    base = alice.home / "downloads"
    alice.home.chmod(0o755)
    base.mkdir()
    base.chmod(0o777)
    bob(forge, base / "ds", "f", "W" * len(BYTES), ADLER, alice.uid)
    for folder in (base, base / "ds"):
        os.chown(folder, alice.uid, alice.uid)
        folder.chmod(0o755)
    assert alice(fetch, base, users.folder / "served")[0] == "failed"


def test_two_users_of_a_group_share_their_downloads(alice: User, bob: User, shared: Path, users: Users) -> None:
    served = users.folder / "served"
    assert alice(fetch, shared, served) == ["fetched", "", len(BYTES)]
    assert bob(fetch, shared, served) == ["there", "", 0]
    assert bob(fetch, shared, served, "g") == ["fetched", "", len(BYTES)]
    assert alice(fetch, shared, served, "g") == ["there", "", 0]
    assert [(shared / "ds" / name).stat().st_uid for name in "fg"] == [alice.uid, bob.uid]
    assert not list(shared.rglob("*.part"))
    alice(change, shared / "ds" / "f")
    assert alice(fetch, shared, served)[0] == "there"  # one's own file is verified only once
    assert bob(fetch, shared, served)[0] == "failed"  # another user's file is read each time
    bob(change, shared / "ds" / "g")
    assert alice(fetch, shared, served, "g")[0] == "failed"


def test_a_changed_file_of_ones_own_is_fetched_again(alice: User, shared: Path, users: Users) -> None:
    alice(fetch, shared, users.folder / "served")
    os.utime(shared / "ds" / "f")
    alice(change, shared / "ds" / "f")
    os.utime(shared / "ds" / "f")
    assert alice(fetch, shared, users.folder / "served")[0] == "fetched"
    assert (shared / "ds" / "f").read_bytes() == BYTES


def test_umask_000(users: Users, bob: User) -> None:
    """Folders are writable by all then, but files are not, so they are trusted."""
    carol = users.add(umask=0)
    base = users.folder / f"open-{carol.uid}"
    base.mkdir()
    base.chmod(0o777)
    assert carol(fetch, base, users.folder / "served")[0] == "fetched"
    assert stat.S_IMODE((base / "ds" / "f").stat().st_mode) == 0o644
    carol(change, base / "ds" / "f")
    assert carol(fetch, base, users.folder / "served")[0] == "there"


def plant_parts(folder: str, names: list[str], content: str) -> None:
    """Create partial files that are writable by all, and a hard link to each."""
    import os
    from pathlib import Path

    Path(folder).mkdir(exist_ok=True)
    Path(folder).chmod(0o777)
    for name in names:
        Path(folder, name).write_text(content)
        Path(folder, name).chmod(0o666)
        os.link(Path(folder, name), Path(folder, f"{name}.kept"))


def part_of(uid: int) -> str:
    """Name the partial file of a user in a shared folder."""
    return f".{hashlib.sha256(PART[1:-5].encode()).hexdigest()[:32]}~{uid}.part"


def test_a_partial_file_that_another_user_can_write_to_is_not_published(
    alice: User, bob: User, shared: Path, users: Users
) -> None:
    folder = shared / "ds"
    names = [PART, part_of(alice.uid)]
    bob(plant_parts, folder, names, BYTES.decode()[:-5])
    assert alice(fetch, shared, users.folder / "served") == ["fetched", "", len(BYTES)]
    for name in names:
        bob(change, folder / f"{name}.kept")
    assert (folder / "f").stat().st_uid == alice.uid
    assert (folder / "f").stat().st_nlink == 1
    assert (folder / "f").read_bytes() == BYTES
    assert (folder / PART).exists()  # bob can continue his own
    assert bob(fetch, shared, users.folder / "served") == ["there", "", 0]


def test_a_planted_partial_file_that_cannot_be_removed(alice: User, bob: User, shared: Path, users: Users) -> None:
    folder = shared / "ds"
    bob(plant_parts, folder, [part_of(alice.uid)], "x")
    os.chown(folder, 0, users.group)
    folder.chmod(0o1777)
    state, reason, _ = alice(fetch, shared, users.folder / "served")
    assert state == "failed"
    assert reason.endswith("belongs to somebody else and cannot be replaced")


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_links_and_pipes_planted_by_another_user(alice: User, bob: User, shared: Path, users: Users, kind: str) -> None:
    """In place of stamps and partial files, links lead nowhere, and pipes do not block."""

    def plant(kind: str, folder: str, names: list[str], target: str) -> None:
        import os
        from pathlib import Path

        Path(folder).mkdir()
        Path(folder).chmod(0o777)
        for name in names:
            if kind == "link":
                Path(folder, name).symlink_to(target)
            else:
                os.mkfifo(Path(folder, name))
                Path(folder, name).chmod(0o666)

    thesis = alice.home / "thesis"
    thesis.write_text("my thesis")
    os.chown(thesis, alice.uid, alice.uid)
    own = f".rucio-lab-verified-{alice.uid}"
    names = [".rucio-lab-verified", own, PART, *([part_of(alice.uid)] if kind == "pipe" else [])]
    bob(plant, kind, shared / "ds", names, thesis)
    assert alice(fetch, shared, users.folder / "served") == ["fetched", "", len(BYTES)]
    assert alice(fetch, shared, users.folder / "served") == ["there", "", 0]
    assert thesis.read_text() == "my thesis"


def test_a_file_that_appears_at_the_last_moment_stays(alice: User, shared: Path, users: Users) -> None:
    """It appears between the last check and the renaming, which only a modified check can hit reliably."""

    def fetch_meanwhile(base: str, source: str) -> str:
        import zlib
        from pathlib import Path

        from rucio_lab.core.config.settings import Instance
        from rucio_lab.core.copies.folder import Folder
        from rucio_lab.core.did import DID
        from rucio_lab.core.model import Replica, ResolvedFile
        from rucio_lab.core.transfer.fetch import Fetcher

        look = Folder.status

        def look_and_put(self: Folder, name: str) -> Any:
            status = look(self, name)
            if name == "f" and status is None and any(Path(base).glob(".*.part")):
                Path(base, "f").write_text("my thesis")
            return status

        Folder.status = look_and_put  # type: ignore[method-assign]
        content = Path(source).read_bytes()
        file = ResolvedFile(DID("s", "f"), (), len(content), f"{zlib.adler32(content):08x}", (Replica("R", source),))
        instance = Instance(name="lake", url="http://127.0.0.1:9", auth_url="http://127.0.0.1:9")
        (outcome,) = Fetcher(instance, [(file, ("f",))], Path(base), parallel=1).run()
        return outcome.reason

    assert "is another file" in alice(fetch_meanwhile, shared, users.folder / "served")
    assert (shared / "f").read_text() == "my thesis"


def test_a_disk_that_does_not_distinguish_users(alice: User, users: Users) -> None:
    """Some network disks, which no test can mount, show all files as another user's or as writable by all."""

    def fetch_twice(base: str, source: str) -> list[Any]:
        import zlib
        from pathlib import Path

        from rucio_lab.core.config.settings import Instance
        from rucio_lab.core.copies import folder as folders
        from rucio_lab.core.did import DID
        from rucio_lab.core.model import Replica, ResolvedFile
        from rucio_lab.core.transfer import fetch

        folders.is_own = fetch.is_own = lambda status: False
        content = Path(source).read_bytes()
        file = ResolvedFile(DID("s", "f"), (), len(content), f"{zlib.adler32(content):08x}", (Replica("R", source),))
        instance = Instance(name="lake", url="http://127.0.0.1:9", auth_url="http://127.0.0.1:9")
        with folders.Folder(Path(base)) as folder:
            part = folder.partial_name("f", len(content), f"adler32:{zlib.adler32(content):08x}")
        Path(base, part).write_bytes(content[:1000])
        came = []
        for _ in range(2):
            moving = fetch.Fetcher(instance, [(file, ("f",))], Path(base), parallel=1)
            (outcome,) = moving.run()
            came.append([outcome.state, moving.progress.fetched])
        return [*came, sorted(path.name for path in Path(base).iterdir())]

    came = alice(fetch_twice, alice.home / "downloads", users.folder / "served")
    assert came == [["fetched", len(BYTES) - 1000], ["there", 0], [f".rucio-lab-verified-{alice.uid}", "f"]]


def test_a_shared_folder_is_emptied_by_who_created_it(alice: User, bob: User, shared: Path, users: Users) -> None:
    def note(base: str, instance: str) -> str:
        from pathlib import Path

        from rucio_lab.core.copies.base_folder import empty, mark
        from rucio_lab.core.errors import RucioLabError

        mark(Path(base), instance)
        Path(base, instance).mkdir(exist_ok=True)
        try:
            empty(Path(base))
        except RucioLabError as error:
            return str(error)
        return ""

    (shared / "precious").mkdir()
    (shared / ".rucio-lab-downloads").write_text("precious\n")
    os.chown(shared / ".rucio-lab-downloads", bob.uid, bob.uid)
    os.chown(shared / "precious", alice.uid, alice.uid)
    said = alice(note, shared, "lake")
    assert "is not emptied" in said
    assert "belongs to another user" in said
    assert (shared / "precious").is_dir()
    (shared / ".rucio-lab-downloads").unlink()
    assert alice(note, shared, "lake") == ""
    assert not (shared / "lake").exists()
