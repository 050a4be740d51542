"""Lying XRootD servers: no file or secret of this machine is sent because an address or an answer asks for it."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import fsspec
import pytest
from XRootD.client import File

import rucio_lab
from rucio_lab.core.config.settings import StorageSettings
from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.model import Replica
from rucio_lab.core.reading import replicas, xrootd
from rucio_lab.core.reading.reader import Reader
from rucio_lab.core.reading.root_filesystem import RootFileSystem
from tests.lake.content import SCOPE
from tests.lake.lake import FullLake
from tests.lake.liar import KRB5, ZTN, Liar, gsi, liar, sss
from tests.support.checks import instance_of, within
from tests.support.doors import DOORS, go_through
from tests.support.middle import Answer, Middle, middle_of

OPTIONS = ("xrd.sss", "xrd.k5ccname", "xrd.gsiusrkey", "xrd.gsiusrcrt", "xrd.gsiusrpxy", "xrd.ztn")
"""All options of XRootD's client and its security plug-ins whose value is a file."""

DID_TEXT = f"{SCOPE}:roots._0001.root"


class Opened:
    """Watches whether some files are opened (inotify)."""

    _IN_OPEN = 0x20

    def __init__(self, paths: list[Path]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK)
        self._names = {
            self._libc.inotify_add_watch(self._fd, os.fsencode(path), self._IN_OPEN): path.name for path in paths
        }

    def names(self) -> set[str]:
        """Give the names of the files that were opened so far."""
        found = set()
        try:
            while events := os.read(self._fd, 65536):
                while events:
                    watch, _, _, size = struct.unpack_from("iIII", events)
                    events = events[16 + size :]
                    found.add(self._names[watch])
        except BlockingIOError:
            pass
        return found

    def close(self) -> None:
        os.close(self._fd)


@dataclass
class Trap:
    """Two servers that lie, and the secrets that they try to get.

    Attributes
    ----------
    front
        The server in the addresses; it serves the file, or redirects its clients.
    back
        The server that it redirects to; it requests all kinds of credentials.
    middle
        The server that puts both addresses into Rucio's answer.
    files
        The files that must never be opened: option -> a private file.
    opened
        Watches whether they are.
    env
        The environment variables of the victim.
    """

    front: Liar
    back: Liar
    middle: Middle
    files: dict[str, Path]
    opened: Opened
    env: dict[str, str]

    def assert_nothing_was_sent(self) -> None:
        """Check that no file was opened, and that the servers received no secret."""
        assert self.back.connections + self.front.connections, "no server was asked"
        assert self.opened.names() == set()
        received = self.front.everything + self.back.everything
        for path in self.files.values():
            assert path.read_bytes().strip() not in received
        assert b"PRIVATE KEY" not in received
        assert not [one for one in (*self.front.credentials, *self.back.credentials) if b"ztn" in one]


@contextmanager
def trap(lake: FullLake, folder: Path) -> Iterator[Trap]:
    """Set a trap."""
    home = folder / "home"
    home.mkdir()
    files = {}
    for option in (*OPTIONS, "file"):
        path = files[option] = home / option
        path.write_text(f"content-of-{option}-{os.urandom(8).hex()}\n")
        path.chmod(0o600)
    for option in ("xrd.gsiusrpxy", "xrd.gsiusrcrt", "xrd.gsiusrkey"):
        shutil.copyfile(lake.authority.proxy(lake.users["bob"]), files[option])
    content = lake.path("ROOTS-DISK", *DID_TEXT.split(":")).read_bytes()
    with liar(lake.authority, content) as front, liar(lake.authority, content) as back, middle_of(lake) as middle:
        back.tls = True
        cas = hashed(lake.authority.ca, folder / "cas")
        back.asks = ZTN + gsi(next(cas.iterdir()).name) + KRB5 + sss(files["xrd.sss"])
        opened = Opened(list(files.values()))
        settings = {"url": middle.url, "auth_url": middle.url, "storage": {"ca": str(lake.authority.ca), "timeout": 1}}
        env = {
            "HOME": str(home),
            "RUCIO_LAB_CONFIG": str(lake.config(test={**settings, "storage": {**settings["storage"], "patience": 2}})),
            "XrdSecGSIUSERPROXY": str(home / "none"),  # or XRootD would make a proxy from the usual certificate
            "X509_CERT_DIR": str(cas),
        }
        yield Trap(front, back, middle, files, opened, env)
        opened.close()


def hashed(ca: Path, folder: Path) -> Path:
    """Make a folder with a CA, under the file name that OpenSSL looks for."""
    name = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", ca], check=True, capture_output=True, text=True)
    folder.mkdir()
    shutil.copyfile(ca, folder / f"{name.stdout.strip()}.0")
    return folder


def addresses(urls: list[str], domain: str = "wan") -> Callable[[str, Answer], Answer]:
    """Let Rucio answer that the file has these addresses, each on a different RSE."""
    pfns = {
        url: {"rse": f"LIAR-{number}", "rse_id": "0" * 32, "type": "DISK", "domain": domain, "priority": number + 1}
        | {"volatile": False, "client_extract": False}
        for number, url in enumerate(urls)
    }

    def change(path: str, answer: Answer) -> Answer:
        if not path.startswith("/replicas/list"):
            return answer
        row = json.loads(answer.body.splitlines()[0])
        row["pfns"] = pfns
        row["rses"] = {pfn["rse"]: [url] for url, pfn in pfns.items()}
        row["states"] = {pfn["rse"]: "AVAILABLE" for pfn in pfns.values()}
        return replace(answer, body=json.dumps(row).encode() + b"\n")

    return change


def in_addresses(trap: Trap, scheme: str = "roots") -> list[str]:
    """Give addresses with options that name the files, spelled in several ways."""
    back, files = trap.back, trap.files
    ztn = named("xrd.ztn", files)
    spelled = (f"?a?{ztn}", f"?{ztn}&xrd.wantprot=ztn", f"?x=&&{ztn}", f"?xrdcl.unzip=x&{ztn}")
    queries = [*(f"?a=b&{named(option, files)}" for option in OPTIONS), *spelled]
    return [back.url("/p", scheme, user=f"p{number}{scheme}") + query for number, query in enumerate(queries)]


def named(option: str, files: dict[str, Path]) -> str:
    """Write an option with its file; a certificate and its key go together."""
    both = ("xrd.gsiusrcrt", "xrd.gsiusrkey")
    return "&".join(f"{name}={files[name]}" for name in (both if option in both else (option,)))


def by_redirects_and_by_tls(trap: Trap) -> list[str]:
    """Give addresses without options on a server that redirects, and addresses on a server that switches to TLS."""
    front, back, files = trap.front, trap.back, trap.files
    numbers = itertools.count()

    def redirect(how: str) -> Callable[[str], str]:
        def target(path: str) -> str:
            _, kind, option = path.partition("?")[0].rsplit("/", 2)
            if kind == f"local-{how}":
                return f"file://localhost/{files['file']}"
            query = f"xrd.wantprot=ztn,gsi,krb5,sss&{named(option, files)}" if kind == how else ""
            return f"{back.url('/r', 'roots', user=f'r{next(numbers)}')}?{query}" if query else ""

        return target

    front.on_open, front.on_read = redirect("open"), redirect("read")
    ways = [front.url(f"/{how}/{option}") for option in OPTIONS for how in ("open", "read")]
    return [*ways, *in_addresses(trap, "root")]


def by_metalinks(trap: Trap) -> list[str]:
    """Give addresses of metalinks, which are lists of addresses."""
    url = f"{trap.back.url('/m', 'roots', user='m')}?{named('xrd.ztn', trap.files)}"
    trap.front.content = (
        '<?xml version="1.0" encoding="utf-8"?><metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="f">'
        f'<size>{len(trap.back.content)}</size><url priority="1">{url}</url></file></metalink>'
    ).encode()
    return [trap.front.url("/list.meta4"), trap.front.url("/list.metalink")]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("attack", [in_addresses, by_redirects_and_by_tls, by_metalinks])
def test_no_local_file_is_sent(lake: FullLake, tmp_path: Path, door: str, attack: Callable[[Trap], list[str]]) -> None:
    with trap(lake, tmp_path) as its:
        its.middle.change = addresses(attack(its))
        said = go_through(door, DID_TEXT, tmp_path, its.env)
        its.assert_nothing_was_sent()
        for path in its.files.values():
            assert str(path) not in said


@pytest.fixture
def lying(lake: FullLake) -> Iterator[Liar]:
    """A lying server with a file of 2,000 bytes."""
    with liar(lake.authority, b"root" * 500) as server:
        yield server


def reader(lake: FullLake, url: str, **settings: object) -> Reader:
    known = {"ca": str(lake.authority.ca), **settings}
    return replicas.open_replica(
        Replica("RSE", url, url), instance_of(lake, storage=StorageSettings(**known)), 2000, silence=3
    )


def test_a_server_that_asks_to_wait_is_waited_for(lake: FullLake, lying: Liar) -> None:
    lying.busy = [1, 1]
    with within(6):
        its = reader(lake, lying.url())
        lying.busy = [1]
        assert its.read([(0, 4)], 3) == [b"root"]
        its.close()
    lying.busy = [100]
    with within(6), pytest.raises(StorageFailed, match="did not answer") as caught:
        reader(lake, lying.url("/other"))
    assert caught.value.slow


def test_a_redirect_to_a_local_file_is_refused(lake: FullLake, lying: Liar, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"mine" * 500)
    lying.on_open = lambda _: f"file://localhost/{local}"
    with pytest.raises(StorageFailed, match="file on this machine"):
        reader(lake, lying.url())
    lying.on_open, lying.on_read = lambda _: "", lambda _: f"file://localhost/{local}"
    its = reader(lake, lying.url("/later"))
    with pytest.raises(StorageFailed) as caught:
        its.read([(0, 100)], 3)
    assert str(local) not in caught.value.message
    its.close()


def test_a_redirect_to_a_local_pipe_ends_at_the_time_limit(lake: FullLake, lying: Liar, tmp_path: Path) -> None:
    """In a new process, because XRootD's client never stops waiting."""
    os.mkfifo(tmp_path / "pipe")
    lying.on_open = lambda _: f"file://localhost/{tmp_path / 'pipe'}"
    code = (
        "import os, sys; from rucio_lab.core import errors, model\n"
        "from rucio_lab.core.config import instances; from rucio_lab.core.reading import replicas\n"
        "replica, instance = model.Replica('RSE', sys.argv[1]), instances.load_instances().get(None)\n"
        "try: replicas.open_replica(replica, instance, 2000, silence=2)\n"
        "except errors.StorageFailed as error: print(error, flush=True)\n"
        "os._exit(0)"
    )
    command = [sys.executable, "-c", code, lying.url()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert "did not answer within 2 s" in done.stdout


def test_the_signature_of_an_address_is_kept_but_not_shown(
    lake: FullLake, monkeypatch: pytest.MonkeyPatch, lying: Liar
) -> None:
    with middle_of(lake) as middle:
        middle.change = addresses([lying.url("/f") + "?authz=Bearer%20abc&xrd.ztn=/etc/passwd&x=1"])
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config(test={"url": middle.url, "auth_url": middle.url})))
        files = rucio_lab.attach(DID_TEXT)
    assert files.urls == [lying.url("/f") + "?authz=Bearer%20abc&x=1"]
    shown = repr(files) + repr(files[0]) + repr(files.explain()) + files._repr_html_() + repr(files[0].replicas)
    assert "abc" not in shown


def test_options_of_a_file_in_an_archive_are_not_obeyed(
    lake: FullLake, monkeypatch: pytest.MonkeyPatch, lying: Liar
) -> None:
    lying.content = b"no archive"
    with middle_of(lake) as middle:
        middle.change = addresses([lying.url("/a.zip") + "?xrdcl.unzip=other&xrd.ztn=/etc/passwd"], domain="zip")
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config(test={"url": middle.url, "auth_url": middle.url})))
        files = rucio_lab.attach(DID_TEXT)
        assert files[0].scheme == "rucio"
        with pytest.raises(OSError, match="is not a zip archive that can be read"), fsspec.open(files[0]) as file:
            file.read(1)
    assert lying.paths
    assert not any("unzip" in path or "passwd" in path for path in lying.paths)


# ------------------------------------------------------------------------------------------------ tokens


def shown(server: Liar, lake: FullLake, **settings: object) -> str:
    """Read from a server that requests a token, and give the one it received."""
    server.tls, server.asks = True, ZTN
    url = server.url("/t", "roots", user=f"u{os.urandom(4).hex()}")
    with suppress(StorageFailed):
        reader(lake, url, **settings).close()
    said = [one[26:].partition(b"\0")[0].decode() for one in server.credentials]
    server.credentials.clear()
    return "".join(said)


def test_a_token_of_the_environment_is_never_sent_instead_of_ours(
    lake: FullLake, lying: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XRootD's client looks in the environment first."""
    (tmp_path / "token").write_text("ours")
    (tmp_path / "token").chmod(0o600)
    ours = {"token_file": str(tmp_path / "token")}
    assert shown(lying, lake, **ours) == "ours"
    assert shown(lying, lake) == ""
    monkeypatch.setenv("BEARER_TOKEN", "theirs")
    assert shown(lying, lake, **ours) == ""
    assert shown(lying, lake) == ""
    assert shown(lying, lake, wlcg_token=True) == "theirs"
    monkeypatch.setenv("BEARER_TOKEN", "ours")
    assert shown(lying, lake, **ours) == "ours"


def test_protocols_that_the_user_has_chosen_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(xrootd.PROTOCOLS, "sss,ztn")
    xrootd.prepare()
    assert os.environ[xrootd.PROTOCOLS] == "sss,ztn"
    assert "xrd.wantprot=sss,ztn&" in xrootd.with_options("root://a//f")


def test_the_protocol_for_tokens_is_enabled_only_with_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a token, the protocol that sends one is not needed; Kerberos and shared secrets stay enabled."""
    monkeypatch.delenv(xrootd.PROTOCOLS, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    xrootd.prepare()
    assert os.environ[xrootd.PROTOCOLS] == "krb5,gsi,sss,unix,host"
    monkeypatch.setenv("BEARER_TOKEN", "mine")
    xrootd.prepare()
    assert xrootd.PROTOCOLS not in os.environ
    monkeypatch.delenv("BEARER_TOKEN")
    assert "ztn" not in xrootd.with_usual_options("root://a//f").partition("xrd.ztn")[0]


def test_the_configured_credentials_are_set_in_the_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    odd = tmp_path / "a file & more"
    odd.write_text("x")
    monkeypatch.setenv("XrdSecSSSKT", str(odd))
    monkeypatch.setenv("KRB5CCNAME", "KEYRING:persistent:1000")
    xrootd._kerberos_cache.cache_clear()
    options = dict(
        option.split("=", 1) for option in xrootd.with_options("root://a//f?x=1").partition("?")[2].split("&")
    )
    xrootd._kerberos_cache.cache_clear()
    assert set(OPTIONS) <= options.keys()
    assert Path(options["xrd.sss"]).resolve() == odd
    assert options["xrd.k5ccname"] == "KEYRING:persistent:1000"
    assert xrootd.with_options(xrootd.with_options("root://a//f")) == xrootd.with_options("root://a//f")


# ------------------------------------------------------------------------------------------------ files for XRootD


def option(url: str, name: str) -> str:
    return dict(each.split("=", 1) for each in url.partition("?")[2].split("&"))[name]


def test_addresses_contain_no_path_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (".globus/usercert.pem", ".globus/userkey.pem", ".xrd/sss.keytab", "krb5cc", "token"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path / 'krb5cc'}")
    xrootd._kerberos_cache.cache_clear()
    url = xrootd.with_options("root://a//f", token_file=xrootd._file(tmp_path / "token"))
    xrootd._kerberos_cache.cache_clear()
    assert str(tmp_path) not in url
    assert Path(option(url, "xrd.gsiusrkey")).resolve() == tmp_path / ".globus/userkey.pem"
    assert Path(option(url, "xrd.k5ccname")).resolve() == tmp_path / "krb5cc"


def test_a_private_folder_that_was_deleted_or_taken_over_is_replaced(tmp_path: Path) -> None:
    old = xrootd._private_folder()
    shutil.rmtree(old)
    new = xrootd._private_folder()
    assert new != old
    assert stat.S_IMODE(new.stat().st_mode) == 0o700
    new.chmod(0o777)
    assert xrootd._private_folder() != new
    shutil.rmtree(new)
    new.symlink_to(tmp_path)
    assert xrootd._private_folder() not in (old, new)
    new.unlink()


def test_without_a_private_folder_the_error_is_clear(
    lake: FullLake, lying: Liar, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(xrootd, "_folders", {})
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(StorageFailed, match="no private folder could be created"):
        reader(lake, lying.url())


def test_the_addresses_that_fsspec_passes_on_have_no_options(lying: Liar) -> None:
    """They are sent to other processes and machines, for example by uproot.dask."""
    xrootd.prepare()
    fs, path = fsspec.url_to_fs(lying.url("/f"), skip_instance_cache=True)
    assert isinstance(fs, RootFileSystem)
    assert fs.unstrip_protocol(path) == lying.url("/f")
    assert fsspec.open(lying.url("/f")).full_name == lying.url("/f")
    assert fs.cat_file(path, start=0, end=4) == b"root"
    assert fs.cat_ranges([path, path], [0, 4], [4, 8]) == [b"root", b"root"]
    assert all("xrd.wantprot=" in each for each in lying.paths)


def test_a_redirect_with_a_question_mark_removes_none_of_our_options(
    lake: FullLake, lying: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a second question mark, XRootD does not recognise the first option."""
    monkeypatch.setenv("BEARER_TOKEN", "mine")
    monkeypatch.setenv(xrootd.PROTOCOLS, "unix")
    lying.tls, lying.asks = True, ZTN
    with suppress(StorageFailed):
        reader(lake, lying.url("/trusted", "roots", user="t"))  # so that XRootD trusts the CA
    hidden = xrootd.with_options("//f")
    status, _ = File().open(lying.url(f"/x?xrd.wantprot=ztn&y={hidden}", "roots", user="r"), timeout=5)
    assert not status.ok
    assert lying.credentials == []


def test_the_description_of_a_source_is_not_taken_for_a_token_file(
    lake: FullLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The working folder can contain a file of any name."""
    (tmp_path / "the command printf").write_text("planted")
    (tmp_path / "the command printf").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    instance = instance_of(lake, storage=StorageSettings(token_command=("printf", "ours")))
    url = xrootd.xrootd_url(Replica("RSE", "roots://a//f", "roots://a//f"), instance)
    assert Path(option(url, "xrd.ztn")).read_text() == "ours"
