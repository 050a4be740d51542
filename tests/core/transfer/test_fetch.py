"""Fetching files: verification, parallel connections, replicas that fail, full disks and killed processes."""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import NoSpace
from rucio_lab.core.model import Replica, Request, ResolvedFile
from rucio_lab.core.resolve.resolution import resolve
from rucio_lab.core.storage import tls
from rucio_lab.core.transfer.download import download_resolution
from rucio_lab.core.transfer.fetch import Fetcher
from rucio_lab.core.transfer.outcome import Progress
from rucio_lab.demo.samples import file_names
from tests.lake.files import LARGE
from tests.lake.lake import FullLake
from tests.support.checks import assert_clear, within
from tests.support.downloads import SCOPE, assert_whole, fetch, forked, served

pytestmark = pytest.mark.usefixtures("configure")


def test_a_file_that_appears_during_the_download_is_not_replaced(lake: FullLake, tmp_path: Path) -> None:
    proxy, target = lake.faulty["http"], tmp_path / "d" / "meanwhile"
    (file,) = served(lake, {"meanwhile": bytes(500_000)}, proxy.port)
    proxy.hold(100_000)

    def put(progress: Progress) -> None:
        if progress.fetched and not target.exists():
            target.write_text("my thesis")
            proxy.forward()

    (outcome,) = Fetcher(load_instances().get(), [(file, ("meanwhile",))], tmp_path / "d", parallel=1).run(put)
    assert "is another file, and was not downloaded by rucio-lab" in outcome.reason
    assert target.read_text() == "my thesis"


def test_verified_files_are_not_read_again(tmp_path: Path) -> None:
    source, content = tmp_path / "source", b"abc" * 10
    source.write_bytes(content)
    adler = f"{zlib.adler32(content):08x}"
    files = [ResolvedFile(DID("s", f"f{n}"), (), len(content), adler, (Replica("R", str(source)),)) for n in range(9)]
    wanted = [(file, (file.did.name,)) for file in files]
    instance, folder = load_instances().get(), tmp_path / "d"
    assert {o.state for o in Fetcher(instance, wanted, folder, parallel=4).run()} == {"fetched"}
    status = (folder / "f3").stat()
    (folder / "f3").write_bytes(b"xyz" * 10)
    os.utime(folder / "f3", ns=(status.st_atime_ns, status.st_mtime_ns))  # the stamp still matches
    assert {o.state for o in Fetcher(instance, wanted, folder, parallel=4).run()} == {"there"}
    os.utime(folder / "f3")
    again = Fetcher(instance, wanted, folder, parallel=4).run()
    assert [o.file.did.name for o in again if o.state == "fetched"] == ["f3"]


@pytest.mark.parametrize(("md5", "found"), [("right", True), ("0" * 32, False), (None, True)])
def test_md5_is_checked_without_adler32_and_only_the_size_without_both(
    tmp_path: Path, md5: str | None, found: bool
) -> None:
    import hashlib

    (tmp_path / "source").write_bytes(b"bytes")
    known = hashlib.md5(b"bytes").hexdigest() if md5 == "right" else md5
    file = ResolvedFile(DID("s", "f"), (), 5, None, (Replica("R", str(tmp_path / "source")),), md5=known)
    (outcome,) = Fetcher(load_instances().get(), [(file, ("f",))], tmp_path / "d", parallel=1).run()
    assert (outcome.state == "fetched") is found
    if not found:
        assert f"md5:{'0' * 32}" in outcome.reason
        assert not list((tmp_path / "d").iterdir())


@pytest.mark.parametrize("parallel", [1, 3])
def test_no_more_parallel_requests_than_configured(lake: FullLake, tmp_path: Path, parallel: int) -> None:
    proxy = lake.faulty["http"]
    files = served(lake, {f"few{n}": bytes(50_000) for n in range(30)}, proxy.port)
    wanted = [(file, (file.did.name,)) for file in files]
    proxy.drop()
    proxy.forget()
    outcomes = Fetcher(load_instances().get(), wanted, tmp_path / "d", parallel=parallel).run()
    assert {outcome.state for outcome in outcomes} == {"fetched"}
    assert proxy.connections <= parallel


def test_progress_moves_on_a_slow_connection(lake: FullLake, tmp_path: Path) -> None:
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
        Fetcher(load_instances().get(), [(file, ("large",))], tmp_path / "d", parallel=1).run(look)
    assert len(moves) > 5, moves
    (part,) = (tmp_path / "d").glob(".large*.part")
    assert part.stat().st_size > 300_000


def test_references_taken_by_xrootd_are_returned(lake: FullLake, tmp_path: Path) -> None:
    path = lake.path("CERN-EOS", SCOPE, "closed._0001.root")
    content = path.read_bytes()
    url = f"root://127.0.0.1:{lake.storages['root'].port}//{path.relative_to(lake.store)}"
    adler = f"{zlib.adler32(content):08x}"
    file = ResolvedFile(DID(SCOPE, "closed"), (), len(content), adler, (Replica("CERN-EOS", url),))
    gc.collect()  # what other tests left refers to True, too
    before = sys.getrefcount(True)
    outcomes = Fetcher(load_instances().get(), [(file, (f"f{n}",)) for n in range(200)], tmp_path, parallel=2).run()
    assert {outcome.state for outcome in outcomes} == {"fetched"}
    # each file takes two references; Python aborts at none, which a few thousand files used to reach
    assert sys.getrefcount(True) > before - 300


def test_the_next_replica_continues_where_one_broke_off(lake: FullLake, tmp_path: Path) -> None:
    content = os.urandom(12_000_000)  # in three parts, two of them at a time and in any order
    served(lake, {"large": content})
    http, root, path = lake.storages["http"], lake.faulty["root"], "web/served/large"
    replicas = (
        Replica("FIRST", f"root://127.0.0.1:{root.port}//{path}"),
        Replica("SECOND", f"http://127.0.0.1:{http.port}/{path}"),
    )
    file = ResolvedFile(DID(SCOPE, "large"), (), len(content), f"{zlib.adler32(content):08x}", replicas)
    root.cut(9_000_000)
    sent = http.sent()
    (outcome,) = Fetcher(load_instances().get(), [(file, ("large",))], tmp_path / "d", parallel=1).run()
    assert outcome.state == "fetched"
    assert outcome.replica is not None
    assert outcome.replica.rse == "SECOND"
    assert [fault.rse for fault in outcome.faults] == ["FIRST"]
    assert (tmp_path / "d" / "large").read_bytes() == content
    assert http.sent() - sent < len(content)  # it continued after what the first replica gave


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


def test_the_disk_is_checked_before_fetching(small_disk: Path) -> None:
    with pytest.raises(NoSpace) as caught:
        fetch("GamGam", folder=str(small_disk))
    assert_clear(caught.value)
    assert "The download needs " in caught.value.message
    assert not list(small_disk.rglob("*.root"))


def test_a_disk_that_becomes_full_is_reported_and_fetched_files_are_kept(small_disk: Path) -> None:
    resolution = resolve(Request((f"{SCOPE}:data_D.GamGam",), "", access="download", folder=str(small_disk)))
    assert sum(file.bytes for file in resolution.files) > 1_000_000

    def fill(progress: Progress) -> None:
        if not (small_disk / "other").exists():
            with suppress(OSError):
                (small_disk / "other").write_bytes(bytes(2_900_000))

    with pytest.raises(NoSpace) as caught:
        download_resolution(resolution, fill)
    assert_clear(caught.value)
    assert "is full" in caught.value.message
    (small_disk / "other").unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert_whole(download_resolution(resolution))


def test_a_limit_on_the_size_of_files(lake: FullLake) -> None:
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n" + _DOWNLOAD
    done = subprocess.run([sys.executable, "-c", code, f"{SCOPE}:web"], capture_output=True, text=True, check=False)
    assert "FilesUnavailable" in done.stdout
    assert "File too large" in done.stdout
    assert "Traceback" not in done.stderr


_DOWNLOAD = """
import gc
import sys
from rucio_lab.core.transfer.download import download
from rucio_lab.core.errors import RucioLabError
from rucio_lab.core.model import Request
try:
    print("whole", *(file.url for file in download(Request(tuple(sys.argv[1:]), "", access="download")).files))
except RucioLabError as error:
    print(type(error).__name__, error)
"""


def test_a_forked_process_does_not_keep_files_locked(lake: FullLake, tmp_path: Path) -> None:
    proxy = lake.faulty["http"]
    (file,) = served(lake, {"forked": bytes(500_000)}, proxy.port)
    wanted = [(file, ("forked",))]
    proxy.hold(100_000)
    children: list[int] = []

    def interrupt(progress: Progress) -> None:
        if progress.fetched:
            children.append(forked(lambda: time.sleep(60)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Fetcher(load_instances().get(), wanted, tmp_path / "d", parallel=1).run(interrupt)
    proxy.forward()
    end = time.monotonic() + 5

    def in_time(progress: Progress) -> None:
        assert time.monotonic() < end, "it is waiting for the lock"

    try:
        (outcome,) = Fetcher(load_instances().get(), wanted, tmp_path / "d", parallel=1).run(in_time)
    finally:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)
    assert outcome.state == "fetched"


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.soak)])
def test_after_many_kills_no_file_is_lost_wrong_or_fetched_twice(tmp_path: Path, lake: FullLake, kills: int) -> None:
    chance = random.Random(5)
    contents = {f"f{n}": chance.randbytes(chance.choice((0, 10, 5_000, 100_000, 600_000))) for n in range(40)}
    wanted = [(file, ("ds", file.did.name)) for file in served(lake, contents)]
    instance, target = load_instances().get(), tmp_path / "d"
    tls.tls_context(instance)  # slow the first time, then cached
    whole: dict[str, int] = {}  # name -> inode, once the file was complete

    def look() -> None:
        for path in (target / "ds").glob("*f*") if target.exists() else ():
            name = path.name.removeprefix(".").partition("~")[0]
            if name in contents and path.stat().st_size == len(contents[name]) > 0:
                assert path.read_bytes() == contents[name]
                assert whole.setdefault(name, path.stat().st_ino) == path.stat().st_ino

    def work() -> None:
        fetcher = Fetcher(instance, wanted, target, parallel=4)
        os.write(begun[1], b".")
        fetcher.run()

    begun = os.pipe()
    start = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(forked(work), 0)[1]) == 0
    takes = min(0.1, time.monotonic() - start)
    os.read(begun[0], 1)
    shutil.rmtree(target)
    deaths = finished = 0
    while deaths < kills:
        child = forked(work)
        os.read(begun[0], 1)
        time.sleep(chance.uniform(0, takes))
        os.kill(child, signal.SIGKILL)
        died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        deaths += died
        look()
        if not died or len(whole) > 20:
            outcomes = Fetcher(instance, wanted, target, parallel=4).run()
            assert {outcome.state for outcome in outcomes} <= {"there", "fetched"}
            look()
            assert {path.name: path.read_bytes() for path in (target / "ds").glob("f*")} == contents
            assert not list(target.rglob("*.part"))
            shutil.rmtree(target)
            whole.clear()
            finished += 1
    assert finished > kills // 40


def test_an_interrupt_also_ends_files_that_wait_for_a_connection(lake: FullLake, tmp_path: Path) -> None:
    proxy = lake.faulty["http"]
    files = served(lake, {f"wait{n}": bytes(50_000) for n in range(5)}, proxy.port)
    wanted = [(file, (file.did.name,)) for file in files]

    def parts() -> int:
        return len(list((tmp_path / "d").glob("*.part")))

    def interrupt(progress: Progress) -> None:
        if parts() == 2:  # one file waits for the storage, the next for a connection
            raise KeyboardInterrupt

    proxy.silent()
    with within(3), pytest.raises(KeyboardInterrupt):
        Fetcher(load_instances().get(), wanted, tmp_path / "d", parallel=1).run(interrupt)
    assert parts() <= 1
