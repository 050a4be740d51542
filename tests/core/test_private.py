"""Files that other users planted are not used: real files of real other users, and honest ones."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from rucio_lab.cli.doctor import check_instances
from rucio_lab.core import private
from rucio_lab.server.hub import Wanted, keep
from tests.lake.issuer import Issuer
from tests.lake.pki import Authority
from tests.support.users import User, Users, plant, removed


@pytest.fixture(scope="module")
def mallory(users: Users) -> User:
    return users.add()


@pytest.fixture
def alice(users: Users) -> Iterator[User]:
    """A user with proxy and token where all tools look for them."""
    user = users.add(users.group)
    with removed([Path(f"/tmp/x509up_u{user.uid}"), Path(f"/tmp/bt_u{user.uid}")]):
        yield user


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> str:
    authority = Authority(tmp_path_factory.mktemp("pki"))
    return authority.proxy(authority.user("mallory", "Mallory", "X")).read_text()


# ------------------------------------------------------------------------------------------------ run as a user


def write(path: str, text: str, mode: int = 0o644) -> None:
    from pathlib import Path

    Path(path).write_text(text)
    Path(path).chmod(mode)


def shown(storage: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Give what storages would be shown, and why signing in fails."""
    from rucio_lab.core.config.settings import Instance, StorageSettings
    from rucio_lab.core.errors import RucioLabError
    from rucio_lab.core.identity.client import client_for
    from rucio_lab.core.storage.shown import describe
    from rucio_lab.core.storage.storage_token import find_token

    instance = Instance(
        name="lake",
        url="http://127.0.0.1:9",
        auth_url="http://127.0.0.1:9",
        storage=StorageSettings(**storage),
        **settings,
    )
    facts, token = describe(instance), find_token(instance)[0]
    try:
        client_for(instance)
        refusal = ""
    except RucioLabError as error:
        refusal = str(error)
    return {
        "proxy": facts.proxy and facts.proxy.subject,
        "token": token and str(token.text),
        "problems": facts.problems,
        "refusal": refusal,
    }


# ------------------------------------------------------------------------------------------------ proxies


@pytest.mark.parametrize(
    ("kind", "words"),
    [("file", "belongs to"), ("pipe", "not a regular file"), ("huge", "belongs to"), ("link", "a link of")],
)
def test_a_proxy_that_another_user_put_there(alice: User, mallory: User, proxy: str, kind: str, words: str) -> None:
    path = f"/tmp/x509up_u{alice.uid}"
    mallory(plant, kind, path, proxy)
    known = alice(shown, {}, {"auth": "x509_proxy"})
    assert known["proxy"] is None
    (problem,) = known["problems"]
    assert path in problem
    assert words in problem
    assert f"uid {mallory.uid}" in problem or kind == "pipe"
    assert path in known["refusal"]
    assert words in known["refusal"]


@pytest.mark.parametrize(
    ("mode", "words"), [(0o600, ""), (0o400, ""), (0o640, "others can read it; chmod 600 /tmp/x509")]
)
def test_a_proxy_of_ones_own(alice: User, proxy: str, mode: int, words: str) -> None:
    alice(write, f"/tmp/x509up_u{alice.uid}", proxy, mode)
    known = alice(shown, {}, {"auth": "x509_proxy"})
    assert bool(known["proxy"]) is not bool(words)
    assert words in " ".join(known["problems"])
    assert ("Chmod 600 /tmp" in known["refusal"]) is bool(words)


def test_a_proxy_behind_links_of_ones_own(alice: User, proxy: str) -> None:
    def link(path: str, proxy: str) -> None:
        import os
        from pathlib import Path

        Path("real/deep").mkdir(parents=True)
        os.close(os.open("real/deep/proxy", os.O_WRONLY | os.O_CREAT, 0o600))
        Path("real/deep/proxy").write_text(proxy)
        Path("real/other").symlink_to("deep/../deep")
        Path("short").symlink_to(Path("real").absolute())
        Path(path).symlink_to(Path("short/other/proxy").absolute())

    alice(link, f"/tmp/x509up_u{alice.uid}", proxy)
    assert alice(shown, {}, {})["proxy"]


def test_the_doctor_reports_a_planted_proxy(
    users: Users, mallory: User, proxy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = users.folder / "planted-proxy"
    users.folder.chmod(0o777)
    mallory(plant, "file", path, proxy)
    users.folder.chmod(0o755)
    (tmp_path / "rucio_lab.toml").write_text('[instances.lake]\nurl = "http://127.0.0.1:9"\nauth = "x509_proxy"\n')
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(tmp_path / "rucio_lab.toml"))
    monkeypatch.setenv("X509_USER_PROXY", str(path))
    said = "\n".join(map(str, check_instances()))
    assert f"The X.509 proxy {path} cannot be read: it belongs to another user" in said


# ------------------------------------------------------------------------------------------------ tokens


def token_of_an_issuer() -> str:
    with TemporaryDirectory() as folder:
        return Issuer("https://issuer.example", Path(folder)).token()


@pytest.mark.parametrize("kind", ["file", "pipe", "huge", "link"])
@pytest.mark.parametrize("place", ["tmp", "runtime"])
def test_a_discovered_token_that_another_user_put_there(
    alice: User, mallory: User, users: Users, kind: str, place: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = Path("/tmp") if place == "tmp" else users.folder / f"run-{kind}"
    env = {}
    if place == "runtime":
        folder.mkdir()
        folder.chmod(0o1777)
        env["XDG_RUNTIME_DIR"] = str(folder)
    path = folder / f"bt_u{alice.uid}"
    mallory(plant, kind, path, token_of_an_issuer())
    known = alice(shown, {"wlcg_token": True}, {"auth": "token", "wlcg_token": True}, **env)
    assert known["token"] is None
    assert f"The storage token {path} is not used" in known["problems"][0]
    assert str(path) in known["refusal"]


def test_a_discovered_token_of_ones_own(alice: User) -> None:
    token = token_of_an_issuer()
    alice(write, f"/tmp/bt_u{alice.uid}", token, 0o600)
    known = alice(shown, {"wlcg_token": True}, {"auth": "token", "wlcg_token": True})
    assert (known["token"], known["problems"]) == (token, [])
    assert known["refusal"] == ""


def test_a_token_file_that_others_can_write_or_read(alice: User) -> None:
    token, path = token_of_an_issuer(), alice.home / "token"
    settings = ({"token_file": str(path)}, {"auth": "token", "token_file": str(path)})
    for mode in (0o666, 0o620):
        alice(write, path, token, mode)
        known = alice(shown, *settings)
        assert known["token"] is None
        assert f"chmod 600 {path}" in known["problems"][0]
        assert "others can write to it" in known["refusal"]
    for mode in (0o644, 0o440):
        path.unlink()
        alice(write, path, token, mode)
        known = alice(shown, *settings)
        assert known["token"] == token
        assert known["problems"] == [f"Others can read the token in {path}; chmod 600 {path}."]


@pytest.mark.parametrize(("mode", "group"), [(0o644, False), (0o440, True)])
def test_a_secret_mounted_by_kubernetes(alice: User, users: Users, mode: int, group: bool) -> None:
    token, volume = token_of_an_issuer(), users.folder / f"secret-{mode}"
    real = volume / "..2026_01_01"
    real.mkdir(parents=True)
    (real / "token").write_text(token)
    (real / "token").chmod(mode)
    os.chown(real / "token", 0, users.group if group else 0)
    (volume / "..data").symlink_to(real.name)
    (volume / "token").symlink_to("..data/token")
    volume.chmod(0o1777)
    path = str(volume / "token")
    known = alice(shown, {"token_file": path}, {"auth": "token", "token_file": path})
    assert (known["token"], known["problems"]) == (token, [])


def test_a_link_of_another_user_is_not_followed(alice: User, mallory: User, users: Users) -> None:
    """Not even to a file of the victim's: it may be a token for something else."""

    def lead(path: str, target: str) -> None:
        from pathlib import Path

        Path(path).symlink_to(target)

    alice(write, alice.home / "token", token_of_an_issuer(), 0o600)
    shared = users.folder / f"shared-{alice.uid}"
    shared.mkdir()
    shared.chmod(0o777)
    mallory(lead, shared / "folder", alice.home)
    known = alice(shown, {"token_file": str(shared / "folder" / "token")}, {})
    assert known["token"] is None
    assert "is a link of another user" in known["problems"][0]


def test_circular_links_folders_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for name, kind in (("a", OSError), (".", private.NotOwn), ("c", FileNotFoundError)):
        with pytest.raises(kind):
            private.own_file(tmp_path / name)
    (tmp_path / "long").write_bytes(bytes(1_000_001))
    with pytest.raises(private.NotOwn, match="longer than 1 MB"):
        private.own_file(tmp_path / "long")


def test_a_private_group_may_write(tmp_path: Path) -> None:
    """Many systems give each user one, and Kubernetes lets the group of a volume write to all its files."""
    alone = not grp.getgrgid(os.getegid()).gr_mem and [e.pw_uid for e in pwd.getpwall() if e.pw_gid == os.getegid()]
    if alone != [os.geteuid()]:
        pytest.skip("the group of the user who runs the tests has other members")
    path = tmp_path / "token"
    path.write_text("token")
    path.chmod(0o660)
    assert private.own_file(path) == b"token"
    entries = ((1, 6, -1), (2, 6, 12345), (4, 6, -1), (16, 6, -1), (32, 0, -1))  # lets another user write
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(path, "system.posix_acl_access", acl)
    with pytest.raises(private.NotOwn, match="others can write to it"):
        private.own_file(path)


# ------------------------------------------------------------------------------------------------ our own files


def kept(umask_then_modes: dict[str, int]) -> dict[str, int]:
    """Store a sign-in, and give the modes of all new files and folders."""
    import os
    import stat
    from pathlib import Path

    from rucio_lab.core.config.settings import Instance
    from rucio_lab.core.identity.token_store import Token, TokenStore

    data = Path(os.environ["JUPYTER_DATA_DIR"])
    for name, mode in umask_then_modes.items():
        (data / name).mkdir(parents=True)
        (data / name).chmod(mode)
    store = TokenStore(Instance(name="lake", url="http://127.0.0.1:9", auth_url="http://127.0.0.1:9"))
    with store.alone():
        store.write(Token("text"))
    token = store.read()
    assert token is not None
    assert token.text == "text"
    return {str(path.relative_to(data)): stat.S_IMODE(path.stat().st_mode) for path in data.rglob("*")}


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077, 0o277])
def test_folders_are_private_with_any_umask(alice: User, umask: int) -> None:
    alice.home.joinpath("data").mkdir(mode=0o700)
    os.chown(alice.home / "data", alice.uid, alice.uid)
    modes = alice(kept, {}, umask=umask)
    assert {mode for path, mode in modes.items() if path.count("/") < 2} == {0o700}, modes
    assert {mode for path, mode in modes.items() if path.startswith("rucio-lab/tokens/")} == {0o600 & ~umask}


def test_modes_of_existing_folders_are_corrected(alice: User) -> None:
    modes = alice(kept, {"rucio-lab": 0o777, "rucio-lab/tokens": 0o775}, umask=0)
    assert (modes["rucio-lab"], modes["rucio-lab/tokens"]) == (0o700, 0o700)


def sign_in_of(account: str) -> None:
    """Store a sign-in in a shared data folder, readable by all."""
    import os
    from pathlib import Path

    from rucio_lab.core.config.settings import Instance
    from rucio_lab.core.identity.token_store import Token, TokenStore

    TokenStore(Instance(name="lake", url="http://127.0.0.1:9", auth_url="http://127.0.0.1:9")).write(
        Token("planted", account)
    )
    for path in Path(os.environ["JUPYTER_DATA_DIR"]).rglob("*"):
        path.chmod(0o777 if path.is_dir() else 0o666)


def signs_in(asked: int) -> dict[str, Any]:
    """Check the stored sign-in, store another, and sign out."""
    import warnings

    from rucio_lab.core.config.settings import Instance
    from rucio_lab.core.errors import ConfigurationError
    from rucio_lab.core.identity.signing_in import sign_out, signed_in
    from rucio_lab.core.identity.token_store import Token, TokenStore
    from rucio_lab.core.jobs.registry import Jobs
    from rucio_lab.core.storage.shown import describe

    instance = Instance(name="lake", url="http://127.0.0.1:9", auth_url="http://127.0.0.1:9")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        before = [signed_in(instance) is not None for _ in range(asked)]
        warned = len(said)
        with TokenStore(instance).alone():
            TokenStore(instance).write(Token("mine", "alice"))
        mine = signed_in(instance)
        sign_out(instance)
    try:
        Jobs().all()
        jobs = ""
    except ConfigurationError as error:
        jobs = str(error)
    return {
        "before": before,
        "warned": warned,
        "mine": mine and mine.account,
        "after": signed_in(instance) is not None,
        "problems": describe(instance).problems,
        "jobs": jobs,
    }


def test_a_data_folder_shared_by_two_users(alice: User, mallory: User, users: Users) -> None:
    data = users.folder / f"data-{alice.uid}"
    data.mkdir()
    data.chmod(0o777)
    mallory(sign_in_of, "mallory", JUPYTER_DATA_DIR=str(data))
    known = alice(signs_in, 3, JUPYTER_DATA_DIR=str(data))
    assert known["before"] == [False, False, False]
    assert known["warned"] == 1
    assert (known["mine"], known["after"]) == ("alice", False)
    assert f"belongs to another user (uid {mallory.uid})" in known["problems"][0]
    assert "JUPYTER_DATA_DIR" in known["problems"][0]
    assert "JUPYTER_DATA_DIR" in known["jobs"]


def test_a_token_that_another_user_planted_in_ones_own_folder(alice: User, mallory: User) -> None:
    """This was possible before the mode of the folder was corrected."""
    alice(kept, {"rucio-lab": 0o777, "rucio-lab/tokens": 0o777, "rucio-lab/jobs": 0o777}, umask=0)
    alice.home.chmod(0o755)
    tokens = alice.home / "data" / "rucio-lab" / "tokens"
    for folder in (tokens.parent, tokens, tokens.parent / "jobs"):
        folder.chmod(0o777)
    (token,) = tokens.iterdir()
    token.unlink()
    mallory(write, token, '{"token": "planted", "account": "mallory"}')
    known = alice(signs_in, 1)
    assert known["before"] == [False]
    assert known["mine"] == "alice"


def test_a_planted_copy_of_the_sites_configuration(alice: User, mallory: User, users: Users) -> None:
    """It could send passwords to another Rucio."""

    def copy(url: str) -> None:
        import json
        import time

        from rucio_lab.core.config import remote
        from rucio_lab.core.private import write_private

        text = '[instances.evil]\nurl = "https://evil.example"\n'
        path = remote._path(remote.Source(url))
        write_private(path, json.dumps(vars(remote.Copy(text, time.time()))))
        for each in (path, path.parent, path.parent.parent):
            each.chmod(0o777 if each.is_dir() else 0o644)

    def names(config: str) -> list[str]:
        from rucio_lab.core.config.instances import load_instances

        return list(load_instances().names)

    data, config = users.folder / f"site-{alice.uid}", users.folder / f"site-{alice.uid}.toml"
    url = "https://127.0.0.1:9/rucio_lab.toml"
    config.write_text(f'remote = "{url}"\n')
    data.mkdir()
    data.chmod(0o777)
    env = {"JUPYTER_DATA_DIR": str(data), "RUCIO_LAB_CONFIG": str(config)}
    mallory(copy, url, **env)
    assert alice(names, "", **env) == []
    assert alice(names, "", **{**env, "JUPYTER_DATA_DIR": str(alice.home)}) == []
    assert mallory(names, "", **env) == ["evil"]


def test_a_token_of_the_hub_does_not_stay_in_a_file_of_another_user(mallory: User, users: Users) -> None:
    folder = users.folder / "hub"
    folder.mkdir()
    folder.chmod(0o777)
    for kind in ("file", "pipe", "link"):
        mallory(plant, kind, folder / kind, "opaque")
        keep(Wanted("lake", "key", folder / kind), {"key": "opaque"})
        status = (folder / kind).lstat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode), stat.S_ISREG(status.st_mode)) == (0, 0o600, True)
