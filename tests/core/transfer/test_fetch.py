"""Downloads from real storages: verified, resumed, from the next replica where one breaks, and never elsewhere."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, ConfigurationError, FilesUnavailable, NoSpace
from rucio_lab.core.model import Replica, Request, Resolution, ResolvedFile
from rucio_lab.core.resolve.resolution import resolve
from rucio_lab.core.storage import known_schemes, shown
from rucio_lab.core.transfer.download import Target, bring, download, transfer_of
from rucio_lab.core.transfer.fetch import Progress, Transfer
from rucio_lab.core.transfer.places import component, empty, place, places, usage
from rucio_lab.demo.samples import file_names
from tests.lake.content import ESCAPING_NAMES, HOSTILE, HOSTILE_NAMES
from tests.lake.files import LARGE
from tests.lake.lake import FullLake
from tests.lake.storages import Nginx
from tests.support.checks import assert_clear, within

SCOPE = "opendata13TeV"
Configure = Callable[..., None]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "downloads"


@pytest.fixture(autouse=True)
def configure(lake: FullLake, base: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Download into a folder of the test; set more settings of the instance."""

    def write(**settings: Any) -> None:
        path = lake.config(test=settings)
        path.write_text(path.read_text() + f'\n[downloads]\nfolder = "{base}"\n')
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(path))

    write()
    return write


def fetch(*names: str, scope: str = SCOPE, **how: Any) -> Resolution:
    return download(Request(tuple(f"{scope}:{name}" for name in names), "", access="download", **how))


def unavailable(*names: str, **how: Any) -> FilesUnavailable:
    with pytest.raises(FilesUnavailable) as caught:
        fetch(*names, **how)
    assert_clear(caught.value)
    return caught.value


def assert_whole(resolution: Resolution) -> None:
    """Check that each file is there with the bytes that Rucio has registered."""
    for file in resolution.files:
        content = Path(file.url).read_bytes()
        assert len(content) == file.bytes
        assert f"{zlib.adler32(content):08x}" == file.adler32


def gets(lake: FullLake, storage: str) -> int:
    """Count the answers of a storage that were more than a probe's."""
    server = lake.storages[shown]
    assert isinstance(server, Nginx)
    return sum(line["method"] == "GET" and line["sent"] > 1 for line in server.requests())


# ------------------------------------------------------------------------------------------------ what comes, and where


@pytest.mark.parametrize("scheme", ["root", "https", "http"])
def test_a_container_is_downloaded_once(lake: FullLake, base: Path, scheme: str) -> None:
    shown = {"root": "root", "https": "https", "http": "http"}[scheme]
    resolution = fetch("GamGam", schemes=(scheme,))
    assert_whole(resolution)
    assert resolution.total == len(resolution.files) == len(list(base.rglob("*.root")))
    for file in resolution.files:
        assert Path(file.url) == base / "test" / SCOPE / file.datasets[0].name / file.did.name
    sent = lake.storages[shown].sent()
    with within(2):
        assert [file.url for file in fetch("GamGam", schemes=(scheme,)).files] == [f.url for f in resolution.files]
    assert lake.storages[shown].sent() == sent
    assert not [path for path in base.rglob("*") if path.suffix == ".part"]


def test_a_mounted_file_is_copied(lake: FullLake, configure: Configure) -> None:
    configure(mounts={"NOTEBOOK-POSIX": lake.mount("NOTEBOOK-POSIX")})
    assert_whole(fetch("posix"))


def test_a_folder_of_the_users_choice_has_datasets_and_names(tmp_path: Path, base: Path) -> None:
    resolution = fetch("web", folder=str(tmp_path / "elsewhere"))
    assert_whole(resolution)
    assert resolution.files[0].url == str(tmp_path / "elsewhere" / "web" / "web._0001.root")
    assert not base.exists()


def test_storage_without_parts_of_files(lake: FullLake) -> None:
    assert_whole(fetch("no.range"))


def test_storage_that_wants_a_certificate(lake: FullLake, tmp_path: Path, configure: Configure) -> None:
    error = unavailable("certificate")
    assert "asks for credentials (HTTP 403)" in error.message
    alice, both = lake.users["alice"], tmp_path / "alice.pem"
    both.touch(0o600)
    both.write_bytes(alice.cert.read_bytes() + alice.key.read_bytes())
    configure(storage={"proxy": str(both)})
    assert_whole(fetch("certificate"))


@pytest.mark.parametrize("dataset", ["token", "door", "roots"])
def test_storages_that_want_a_token_and_who_is_shown_it(
    lake: FullLake, tmp_path: Path, configure: Configure, dataset: str
) -> None:
    assert "no storage token is configured" in unavailable(dataset).message
    (tmp_path / "token").write_text(lake.issuer.token())
    configure(storage={"token_file": str(tmp_path / "token"), "ca": str(lake.authority.ca)})
    behind = lake.storages["https"]
    assert isinstance(behind, Nginx)
    before = len(behind.requests())
    assert_whole(fetch(dataset))
    redirected = behind.requests()[before:]
    assert bool(redirected) is (dataset == "door")
    assert {line["authorized"] for line in redirected} <= {"no"}


def test_other_schemes_are_left_to_rucios_own_tools(lake: FullLake, gfal2: None, tmp_path: Path) -> None:
    path = lake.path("CERN-EOS", SCOPE, "closed._0001.root")
    content = path.read_bytes()
    pfn = f"gsiftp://127.0.0.1:{lake.storages['root'].port}//{path.relative_to(lake.store)}"
    replica = Replica("CERN-EOS", pfn, pfn)
    did = DID(SCOPE, "closed._0001.root")
    file = ResolvedFile(did, (), len(content), f"{zlib.adler32(content):08x}", (replica,))
    (outcome,) = Transfer(load_instances().get(), [(file, ("f",))], tmp_path / "d", parallel=1).run()
    assert outcome.state == "fetched", outcome
    assert (tmp_path / "d" / "f").read_bytes() == content
    other = replace(file, replicas=(replace(replica, pfn="gsiftp://127.0.0.1:1/f"),))
    (outcome,) = Transfer(load_instances().get(), [(other, ("g",))], tmp_path / "d", parallel=1).run()
    assert outcome.state == "failed"
    assert "was not read over gsiftp:// by rucio-clients" in outcome.reason
    assert "Traceback" not in outcome.reason


@pytest.mark.parametrize("how", ["interrupted", "killed"])
def test_rucios_own_tools_end_with_the_download(
    lake: FullLake, gfal2: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = lake.path("CERN-EOS", SCOPE, "closed._0001.root")
    pfn = f"gsiftp://127.0.0.1:{lake.faulty['root'].port}//{path.relative_to(lake.store)}"
    lake.faulty["root"].silent()
    replica = Replica("CERN-EOS", pfn, pfn)
    file = ResolvedFile(DID(SCOPE, "closed._0001.root"), (), path.stat().st_size, "00000001", (replica,))
    seen: list[float] = []

    def running() -> list[str]:
        folders = [it.info["cmdline"][-1] for it in psutil.process_iter(["cmdline"]) if it.info["cmdline"]]
        return [folder for folder in folders if folder.startswith(f"{tmp_path}/rucio-lab-")]

    def run() -> None:
        Transfer(load_instances().get(), [(file, ("f",))], tmp_path / "d", parallel=1).run(end_it)

    def end_it(progress: Progress) -> None:
        seen.extend([time.monotonic()] if running() else [])
        if seen and time.monotonic() > seen[0] + 1:  # by then it has begun
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt

    if how == "killed":
        os.waitpid(_forked(run), 0)
    else:
        with pytest.raises(KeyboardInterrupt):
            run()
    end = time.monotonic() + 5
    while running() or list(tmp_path.glob("rucio-lab-*")):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_tool_that_is_missing_is_named() -> None:
    assert known_schemes.not_downloadable("gsiftp") == "gsiftp:// needs the package gfal2, which is not installed"
    assert known_schemes.not_downloadable("mock") == "nothing here knows mock://"
    assert not any(map(known_schemes.not_downloadable, ("root", "roots", "xroot", "https", "davs", "http")))


def test_a_certificate_that_is_not_trusted(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setattr(shown, "_contexts", {})
    error = unavailable("https")
    assert "has a certificate that is not trusted here" in error.message


def test_a_file_that_was_changed_is_fetched_again_and_the_others_are_not(lake: FullLake) -> None:
    resolution = fetch("data_A.GamGam", schemes=("http",))
    changed = Path(resolution.files[0].url)
    before = changed.read_bytes()
    changed.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    asked = gets(lake, "http")
    assert_whole(fetch("data_A.GamGam", schemes=("http",)))
    assert gets(lake, "http") == asked + 1


def test_a_right_file_without_a_stamp_is_read_and_not_fetched(lake: FullLake, tmp_path: Path) -> None:
    (tmp_path / "mine" / "web").mkdir(parents=True)
    target = tmp_path / "mine" / "web" / "web._0001.root"
    shutil.copyfile(lake.path("WEB-DISK", SCOPE, "web._0001.root"), target)
    asked = gets(lake, "http")
    assert_whole(fetch("web", folder=str(tmp_path / "mine")))
    assert gets(lake, "http") == asked


def test_a_file_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "mine" / "web" / "web._0001.root"
    target.parent.mkdir(parents=True)
    target.write_text("my thesis")
    error = unavailable("web", folder=str(tmp_path / "mine"))
    assert "is another file, and was not downloaded by us" in error.message
    assert target.read_text() == "my thesis"


def test_a_file_that_somebody_puts_there_meanwhile_is_not_replaced(lake: FullLake, tmp_path: Path) -> None:
    proxy, target = lake.faulty["http"], tmp_path / "d" / "meanwhile"
    (file,) = _served(lake, {"meanwhile": bytes(500_000)}, proxy.port)
    proxy.hold(100_000)

    def put(progress: Progress) -> None:
        if progress.fetched and not target.exists():
            target.write_text("my thesis")
            proxy.forward()

    (outcome,) = Transfer(load_instances().get(), [(file, ("meanwhile",))], tmp_path / "d", parallel=1).run(put)
    assert "is another file, and was not downloaded by us" in outcome.reason
    assert target.read_text() == "my thesis"


def test_verified_files_are_not_read_again(tmp_path: Path) -> None:
    source, content = tmp_path / "source", b"abc" * 10
    source.write_bytes(content)
    adler = f"{zlib.adler32(content):08x}"
    files = [ResolvedFile(DID("s", f"f{n}"), (), len(content), adler, (Replica("R", str(source)),)) for n in range(9)]
    wanted = [(file, (file.did.name,)) for file in files]
    instance, folder = load_instances().get(), tmp_path / "d"
    assert {o.state for o in Transfer(instance, wanted, folder, parallel=4).run()} == {"fetched"}
    status = (folder / "f3").stat()
    (folder / "f3").write_bytes(b"xyz" * 10)
    os.utime(folder / "f3", ns=(status.st_atime_ns, status.st_mtime_ns))  # what a stamp cannot see, reading would
    assert {o.state for o in Transfer(instance, wanted, folder, parallel=4).run()} == {"there"}
    os.utime(folder / "f3")
    again = Transfer(instance, wanted, folder, parallel=4).run()
    assert [o.file.did.name for o in again if o.state == "fetched"] == ["f3"]


@pytest.mark.parametrize(("md5", "found"), [("right", True), ("0" * 32, False), (None, True)])
def test_md5_where_there_is_no_adler32_and_the_size_alone_where_there_is_none(
    tmp_path: Path, md5: str | None, found: bool
) -> None:
    import hashlib

    (tmp_path / "source").write_bytes(b"bytes")
    known = hashlib.md5(b"bytes").hexdigest() if md5 == "right" else md5
    file = ResolvedFile(DID("s", "f"), (), 5, None, (Replica("R", str(tmp_path / "source")),), md5=known)
    (outcome,) = Transfer(load_instances().get(), [(file, ("f",))], tmp_path / "d", parallel=1).run()
    assert (outcome.state == "fetched") is found
    if not found:
        assert f"md5:{'0' * 32}" in outcome.reason
        assert not list((tmp_path / "d").iterdir())


@pytest.mark.parametrize("parallel", [1, 3])
def test_no_more_requests_at_a_time_than_were_asked_for(lake: FullLake, tmp_path: Path, parallel: int) -> None:
    proxy = lake.faulty["http"]
    files = _served(lake, {f"few{n}": bytes(50_000) for n in range(30)}, proxy.port)
    wanted = [(file, (file.did.name,)) for file in files]
    proxy.drop()
    proxy.forget()
    outcomes = Transfer(load_instances().get(), wanted, tmp_path / "d", parallel=parallel).run()
    assert {outcome.state for outcome in outcomes} == {"fetched"}
    assert proxy.connections <= parallel


def test_progress_moves_on_a_slow_line(lake: FullLake, tmp_path: Path) -> None:
    large = lake.path("CERN-EOS", SCOPE, file_names(LARGE)[0])
    proxy = lake.faulty["https"]
    url = f"https://127.0.0.1:{proxy.port}/{large.relative_to(lake.store)}"
    file = ResolvedFile(DID(SCOPE, "large"), (), large.stat().st_size, "0" * 8, (Replica("FAR", url),))
    moves: dict[int, float] = {}
    begin = time.monotonic()

    def look(progress: Progress) -> None:
        moves.setdefault(progress.fetched, time.monotonic() - begin)
        if time.monotonic() - begin > 3:
            raise KeyboardInterrupt

    proxy.far(0, 200_000)
    with pytest.raises(KeyboardInterrupt):
        Transfer(load_instances().get(), [(file, ("large",))], tmp_path / "d", parallel=1).run(look)
    assert len(moves) > 5, moves
    (part,) = (tmp_path / "d").glob(".large*.part")
    assert part.stat().st_size > 300_000


def test_references_that_xrootd_takes_are_given_back(lake: FullLake, tmp_path: Path) -> None:
    path = lake.path("CERN-EOS", SCOPE, "closed._0001.root")
    content = path.read_bytes()
    url = f"root://127.0.0.1:{lake.storages['root'].port}//{path.relative_to(lake.store)}"
    adler = f"{zlib.adler32(content):08x}"
    file = ResolvedFile(DID(SCOPE, "closed"), (), len(content), adler, (Replica("CERN-EOS", url),))
    before = sys.getrefcount(True)
    outcomes = Transfer(load_instances().get(), [(file, (f"f{n}",)) for n in range(200)], tmp_path, parallel=2).run()
    assert {outcome.state for outcome in outcomes} == {"fetched"}
    assert sys.getrefcount(True) > before - 100  # at 0, which some thousand files were enough for, Python aborts


# ------------------------------------------------------------------------------------------------ what breaks


def test_it_goes_on_where_it_stopped(lake: FullLake, base: Path) -> None:
    whole = lake.path("FAULTY-HTTP", SCOPE, "faulty.http._0001.root").stat().st_size
    proxy = lake.faulty["http"]
    proxy.cut(whole // 2)
    assert "broke off after" in unavailable("faulty.http").message
    (part,) = base.rglob("*.part")
    kept = part.stat().st_size
    assert 0 < kept < whole
    proxy.forward()
    proxy.forget()
    assert_whole(fetch("faulty.http"))
    assert whole - kept <= proxy.sent < whole - kept + 2000  # and the head of the answer, and the probe's
    assert not list(base.rglob("*.part"))


@pytest.mark.parametrize("scheme", ["root", "http"])
def test_a_flipped_byte_the_good_replica_is_taken_and_the_bad_one_named(lake: FullLake, scheme: str) -> None:
    name = "faulty.and.alive._0001.root"
    bad = lake.path("FAULTY-ROOT", SCOPE, name)
    content = bad.read_bytes()
    bad.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    try:
        resolution = fetch("faulty.and.alive", schemes=("root", "http"))
        assert_whole(resolution)
        (note,) = resolution.notes
        assert note.startswith("FAULTY-ROOT: root://127.0.0.1:")
        assert "has wrong bytes: their checksum is adler32:" in note
        assert f"{SCOPE}:{name}" in note
    finally:
        bad.write_bytes(content)


def test_a_replica_that_breaks_in_the_middle_is_replaced_by_the_next(lake: FullLake, tmp_path: Path) -> None:
    large = lake.path("CERN-EOS", SCOPE, file_names(LARGE)[0])
    content = large.read_bytes()
    http, root = lake.storages["http"], lake.faulty["root"]
    path = str(large.relative_to(lake.store))
    replicas = (
        Replica("FIRST", f"root://127.0.0.1:{root.port}//{path}"),
        Replica("SECOND", f"http://127.0.0.1:{http.port}/{path}"),
    )
    file = ResolvedFile(DID(SCOPE, "large"), (), len(content), f"{zlib.adler32(content):08x}", replicas)
    root.cut(4_500_000)
    sent = http.sent()
    (outcome,) = Transfer(load_instances().get(), [(file, ("large",))], tmp_path / "d", parallel=1).run()
    assert outcome.state == "fetched"
    assert outcome.replica is not None
    assert outcome.replica.rse == "SECOND"
    assert [fault.rse for fault in outcome.faults] == ["FIRST"]
    assert (tmp_path / "d" / "large").read_bytes() == content
    assert http.sent() - sent < len(content)  # went on from what the first gave


def test_a_dead_and_a_silent_rse_first_in_line(lake: FullLake) -> None:
    with within(4):
        assert_whole(fetch("dead.and.alive", "silent.and.alive", schemes=("root", "http")))


def test_the_only_storage_falters_and_comes_back(lake: FullLake) -> None:
    fetch("web")  # warm
    proxy = lake.faulty["https"]
    resolution = resolve(Request((f"{SCOPE}:faulty.https",), "", access="download"))
    proxy.reset()
    threading.Timer(0.3, proxy.forward).start()
    assert_whole(bring(resolution))


def test_a_failed_file_fails_alone(lake: FullLake, base: Path) -> None:
    error = unavailable("unavailable", "web", "posix")
    assert "4 of 5 files could not be downloaded" in error.message
    assert set(error.reasons) == {f"{SCOPE}:unavailable._000{n}.root" for n in (1, 2, 3)} | {
        f"{SCOPE}:posix._0001.root"
    }
    assert (base / "test" / SCOPE / "web" / "web._0001.root").is_file()
    rest = fetch("unavailable", "web", allow_missing=True)
    assert [file.did.name for file in rest.files] == ["web._0001.root"]
    assert len(rest.missing) == 3


# ------------------------------------------------------------------------------------------------ the disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of three megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_the_disk_is_looked_at_first(small_disk: Path) -> None:
    with pytest.raises(NoSpace) as caught:
        fetch("GamGam", folder=str(small_disk))
    assert_clear(caught.value)
    assert "are to be downloaded, and" in caught.value.message
    assert not list(small_disk.rglob("*.root"))


def test_a_disk_that_fills_up_in_the_middle_is_said_and_what_came_is_kept(small_disk: Path) -> None:
    resolution = resolve(Request((f"{SCOPE}:data_D.GamGam",), "", access="download", folder=str(small_disk)))
    assert sum(file.bytes for file in resolution.files) > 1_000_000

    def fill(progress: Progress) -> None:
        if not (small_disk / "other").exists():
            with suppress(OSError):
                (small_disk / "other").write_bytes(bytes(2_900_000))

    with pytest.raises(NoSpace) as caught:
        bring(resolution, fill)
    assert_clear(caught.value)
    assert "is full" in caught.value.message
    (small_disk / "other").unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert_whole(bring(resolution))


def test_a_limit_on_the_size_of_files(lake: FullLake) -> None:
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n" + _DOWNLOAD
    done = subprocess.run([sys.executable, "-c", code, f"{SCOPE}:web"], capture_output=True, text=True, check=False)
    assert "FilesUnavailable" in done.stdout
    assert "File too large" in done.stdout
    assert "Traceback" not in done.stderr


_DOWNLOAD = """
import sys
from rucio_lab.core.transfer.download import download
from rucio_lab.core.errors import RucioLabError
from rucio_lab.core.model import Request
try:
    print("whole", *(file.url for file in download(Request(tuple(sys.argv[1:]), "", access="download")).files))
except RucioLabError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("folder", ["x" * 300, "x/" * 3000])
def test_a_folder_with_too_long_a_name(tmp_path: Path, folder: str) -> None:
    with pytest.raises(BadRequest) as caught:
        fetch("web", folder=str(tmp_path / folder))
    assert_clear(caught.value)
    assert "File name too long" in caught.value.message


def test_a_mark_that_cannot_be_written(base: Path) -> None:
    (base / ".rucio-lab-downloads").mkdir(parents=True)
    with pytest.raises(ConfigurationError) as caught:
        fetch("web")
    assert_clear(caught.value)
    assert "cannot be written: Is a directory" in caught.value.message


def test_a_folder_that_one_may_only_read_serves_what_is_there(lake: FullLake, base: Path) -> None:
    files, instance = fetch("web").files, load_instances().get()
    for path in (base, *base.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    base.parent.chmod(0o777)
    for folder in base.parent.parents[:2]:
        folder.chmod(0o755)

    def by_somebody_else() -> None:
        if os.geteuid() == 0:  # who is not root may not write there anyway
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        (outcome,) = transfer_of(files, instance, Target(base, own=True)).run()
        (base.parent / "came").write_text(outcome.state)

    os.waitpid(_forked(by_somebody_else), 0)
    assert (base.parent / "came").read_text() == "there"


# ------------------------------------------------------------------------------------------------ names


def test_hostile_names_stay_in_the_folder(lake: FullLake, base: Path) -> None:
    resolution = fetch("all", scope=HOSTILE, schemes=("root",), allow_missing=True)
    names = {file.did.name.removesuffix(".root") for file in resolution.files}
    assert names >= {name for name in HOSTILE_NAMES if "?" not in name and "#" not in name}
    assert_whole(resolution)
    for file in resolution.files:
        assert Path(file.url).resolve().parent == base / "test" / HOSTILE / "all"
    assert not Path("/tmp/escape").exists()
    assert not Path("/tmp/escape.root").exists()
    assert {did.name for did in resolution.missing} >= {f"{name}.root" for name in ESCAPING_NAMES}


_NASTY = [
    *(
        "..",
        ".",
        "/",
        "//",
        "",
        "../x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "nul\0x",
        "line\nend",
        "\x1b[31m",
        "~root",
        "-rf",
    ),
    *(
        ".hidden",
        "x" * 300,
        "x" * 300 + "y",
        "é" * 200,
        "\ud800",
        "%2F",
        "%252F",
        "a:b",
        "*",
        "[a]",
        "\u202egnp",
        "." * 300,
    ),
    *("con", "A", "a", " ", "a ", ".rucio-lab-verified", ".rucio-lab-downloads", ".a~5-adler32-00000001.part"),
]


def test_each_name_is_one_component_of_its_own() -> None:
    made = [component(name) for name in _NASTY if name]
    assert len(set(made)) == len(made)
    for each in made:
        assert "/" not in each
        assert "\0" not in each
        assert not each.startswith(".")
        assert 0 < len(os.fsencode(each)) <= 200
        assert each.isprintable()
    assert component("data_A.GamGam._0001.root") == "data_A.GamGam._0001.root"
    assert component("two words, Ünïcödé-粒子.root") == "two words, Ünïcödé-粒子.root"


def test_every_nasty_name_can_be_downloaded(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"bytes")
    adler = f"{zlib.adler32(b'bytes'):08x}"
    dids = [DID("s", name) for name in _NASTY if name]
    files = [ResolvedFile(did, (), 5, adler, (Replica("R", str(tmp_path / "source")),)) for did in dids]
    wanted = [(file, place(file.did, DID("s", "../.."), "i")) for file in files]
    outcomes = Transfer(load_instances().get(), wanted, tmp_path / "d", parallel=4).run()
    assert {outcome.state for outcome in outcomes} == {"fetched"}
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} == {
        tmp_path,
        tmp_path / "d" / "i" / "s" / component("../.."),
    }


def test_names_that_a_disk_does_not_tell_apart() -> None:
    dids = [DID("s", name) for name in ("A.root", "a.root", "b.root", "Straße", "STRASSE", "e\u0301", "\u00e9")]
    wanted = [(did, place(did, None)) for did in dids]
    kept = places(wanted, case_sensitive=False)
    assert len({where[-1].casefold() for where in kept.values()}) == len(dids)
    assert kept[dids[2]] == ("b.root",)
    assert places(wanted)[dids[0]] == ("A.root",)


@pytest.mark.parametrize("planted", ["folder", "file", "part", "stamps", "hard link"])
def test_links_that_were_planted_lead_nowhere(tmp_path: Path, planted: str) -> None:
    victim, target = tmp_path / "victim", tmp_path / "d" / "ds"
    victim.mkdir()
    (victim / "thesis").write_text("my thesis")
    (tmp_path / "source").write_bytes(b"bytes")
    adler = f"{zlib.adler32(b'bytes'):08x}"
    file = ResolvedFile(DID("s", "f"), (), 5, adler, (Replica("R", str(tmp_path / "source")),))
    part = f".f~5-adler32-{adler}.part"
    if planted == "folder":
        target.parent.mkdir()
        target.symlink_to(victim)
    else:
        target.mkdir(parents=True)
        name = {"file": "f", "part": part, "stamps": ".rucio-lab-verified", "hard link": part}[planted]
        make = (target / name).hardlink_to if planted == "hard link" else (target / name).symlink_to
        make(victim / "thesis")
    (outcome,) = Transfer(load_instances().get(), [(file, ("ds", "f"))], tmp_path / "d", parallel=1).run()
    assert [path.name for path in victim.iterdir()] == ["thesis"]
    assert (victim / "thesis").read_text() == "my thesis"
    assert (outcome.state == "fetched") is (planted in ("stamps", "hard link"))
    if planted == "folder":
        assert "is a symbolic link" in outcome.reason


# ------------------------------------------------------------------------------------------------ more than one process


def _forked(work: Callable[[], None]) -> int:
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def test_two_processes_that_want_the_same_files_fetch_them_once(lake: FullLake, base: Path) -> None:
    resolution = resolve(Request((f"{SCOPE}:GamGam.MC",), "", access="download", schemes=("http",)))
    asked = gets(lake, "http")
    children = [_forked(lambda: bring(resolution) and None) for _ in range(3)]
    for child in children:
        os.waitpid(child, 0)
    assert gets(lake, "http") - asked == len(resolution.files)
    assert_whole(bring(resolution))
    assert gets(lake, "http") - asked == len(resolution.files)


def test_a_process_that_was_forked_meanwhile_keeps_nothing_locked(lake: FullLake, tmp_path: Path) -> None:
    proxy = lake.faulty["http"]
    (file,) = _served(lake, {"forked": bytes(500_000)}, proxy.port)
    wanted = [(file, ("forked",))]
    proxy.hold(100_000)
    children: list[int] = []

    def interrupt(progress: Progress) -> None:
        if progress.fetched:
            children.append(_forked(lambda: time.sleep(60)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Transfer(load_instances().get(), wanted, tmp_path / "d", parallel=1).run(interrupt)
    proxy.forward()
    end = time.monotonic() + 5

    def in_time(progress: Progress) -> None:
        assert time.monotonic() < end, "it waits for the lock"

    try:
        (outcome,) = Transfer(load_instances().get(), wanted, tmp_path / "d", parallel=1).run(in_time)
    finally:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)
    assert outcome.state == "fetched"


def test_killed_200_times_nothing_is_lost_wrong_or_fetched_twice(tmp_path: Path, lake: FullLake) -> None:
    chance = random.Random(5)
    contents = {f"f{n}": chance.randbytes(chance.choice((0, 10, 5_000, 100_000, 600_000))) for n in range(40)}
    wanted = [(file, ("ds", file.did.name)) for file in _served(lake, contents)]
    instance, target = load_instances().get(), tmp_path / "d"
    shown.tls_context(instance)  # takes a while, and is kept
    whole: dict[str, int] = {}  # name of a file -> its inode, from when all of its bytes were here

    def look() -> None:
        for path in (target / "ds").glob("*f*") if target.exists() else ():
            name = path.name.removeprefix(".").partition("~")[0]
            if name in contents and path.stat().st_size == len(contents[name]) > 0:
                assert path.read_bytes() == contents[name]
                assert whole.setdefault(name, path.stat().st_ino) == path.stat().st_ino

    def work() -> None:
        transfer = Transfer(instance, wanted, target, parallel=4)
        os.write(begun[1], b".")
        transfer.run()

    begun = os.pipe()
    start = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(_forked(work), 0)[1]) == 0
    takes = min(0.1, time.monotonic() - start)
    os.read(begun[0], 1)
    shutil.rmtree(target)
    deaths = finished = 0
    while deaths < 200:
        child = _forked(work)
        os.read(begun[0], 1)
        time.sleep(chance.uniform(0, takes))
        os.kill(child, signal.SIGKILL)
        died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        deaths += died
        look()
        if not died or len(whole) > 20:
            outcomes = Transfer(instance, wanted, target, parallel=4).run()
            assert {outcome.state for outcome in outcomes} <= {"there", "fetched"}
            look()
            assert {path.name: path.read_bytes() for path in (target / "ds").glob("f*")} == contents
            assert not list(target.rglob("*.part"))
            shutil.rmtree(target)
            whole.clear()
            finished += 1
    assert finished > 5


def _served(lake: FullLake, contents: dict[str, bytes], port: int = 0) -> list[ResolvedFile]:
    """Put files where a web server serves them, at its own port or a proxy's, without telling Rucio."""
    folder = lake.store / "web" / "served"
    folder.mkdir(exist_ok=True)
    address = f"http://127.0.0.1:{port or lake.storages['http'].port}/web/served"
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [
        ResolvedFile(
            DID("s", name), (), len(content), f"{zlib.adler32(content):08x}", (Replica("WEB", f"{address}/{name}"),)
        )
        for name, content in contents.items()
    ]


# ------------------------------------------------------------------------------------------------ how it is left


def test_an_interrupt_leaves_soon_and_loses_nothing(lake: FullLake, base: Path) -> None:
    proxy = lake.faulty["http"]
    resolution = resolve(Request((f"{SCOPE}:faulty.http",), "", access="download"))
    proxy.silent()

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with within(2), pytest.raises(KeyboardInterrupt):
        bring(resolution, interrupt)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    proxy.forward()
    assert_whole(bring(resolution))


def test_an_interrupt_leaves_no_file_waiting_for_another(lake: FullLake, tmp_path: Path) -> None:
    proxy = lake.faulty["http"]
    files = _served(lake, {f"wait{n}": bytes(50_000) for n in range(5)}, proxy.port)
    wanted = [(file, (file.did.name,)) for file in files]

    def parts() -> int:
        return len(list((tmp_path / "d").glob("*.part")))

    def interrupt(progress: Progress) -> None:
        if parts() == 2:  # one waits for the storage, the next for it
            raise KeyboardInterrupt

    proxy.silent()
    with within(3), pytest.raises(KeyboardInterrupt):
        Transfer(load_instances().get(), wanted, tmp_path / "d", parallel=1).run(interrupt)
    assert parts() <= 1


def test_all_is_counted_and_emptied_and_nothing_else(base: Path, tmp_path: Path) -> None:
    fetch("GamGam.MC", "web")
    used = usage(base)
    assert used.files == len(list(base.rglob("*.root")))
    assert used.bytes == sum(path.stat().st_size for path in base.rglob("*.root"))
    (base / "notes.txt").write_text("mine")
    assert empty(base).files == used.files + 1
    assert [path.name for path in base.iterdir()] == ["notes.txt"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis").write_text("mine")
    with pytest.raises(ConfigurationError) as caught:
        empty(mine)
    assert_clear(caught.value)
    assert (mine / "thesis").exists()
