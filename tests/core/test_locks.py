"""Disks without file locks, as Lustre without ``flock`` and some NFS and FUSE mounts: downloads and jobs work there."""

from __future__ import annotations

import errno
import fcntl
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import rucio_lab
from rucio_lab.core import locks
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.errors import Conflict
from rucio_lab.core.jobs.job_folder import is_alive, write_snapshot
from rucio_lab.core.jobs.registry import Jobs
from rucio_lab.core.transfer import download
from rucio_lab.core.transfer.fetch import Fetcher
from rucio_lab.core.transfer.outcome import Progress
from tests.lake.lake import FullLake
from tests.support.downloads import SCOPE, served
from tests.support.jobs import processes, request, until

NOLOCKS = Path(__file__).parents[1] / "support" / "nolocks"


@pytest.fixture
def disk(
    lake: FullLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """A folder on a disk without locks, with the downloads and the jobs of the test."""
    disk = tmp_path / "disk"
    disk.mkdir()
    path = lake.config(test={})
    path.write_text(path.read_text() + f'\n[downloads]\nfolder = "{disk / "downloads"}"\njobs = 1\n')
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(path))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(disk / "data"))
    monkeypatch.setenv("NO_LOCKS_BELOW", f"{disk}:{getattr(request, 'param', errno.ENOSYS)}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(NOLOCKS), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setattr(fcntl, "flock", fcntl.flock)
    runpy.run_path(str(NOLOCKS / "sitecustomize.py"))
    monkeypatch.setattr(locks, "_works", {})
    monkeypatch.setattr(download, "_said_of_locks", set())
    yield disk
    jobs = Jobs()
    for job in jobs.all():
        with suppress(Conflict):
            jobs.cancel(job.id)


def leftovers(disk: Path) -> list[Path]:
    return list(disk.rglob(".*.part"))


ANSWERS = [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EACCES, errno.EINVAL]


@pytest.mark.parametrize("disk", ANSWERS, indirect=True, ids=errno.errorcode.get)
def test_a_download_works_and_says_so_once(disk: Path) -> None:
    files = rucio_lab.download(f"{SCOPE}:GamGam.MC")
    (note,) = files.notes
    assert note.startswith(f"The disk of {disk / 'downloads'} has no file locks.")
    assert all(Path(file).stat().st_size == file.bytes for file in files)
    assert leftovers(disk) == []
    assert rucio_lab.download(f"{SCOPE}:web").notes == ()
    assert rucio_lab.attach(f"{SCOPE}:web")[0].scheme == "file"


def test_an_interrupted_download_is_continued(lake: FullLake, disk: Path) -> None:
    proxy, content = lake.faulty["http"], os.urandom(500_000)
    (file,) = served(lake, {"continued": content}, proxy.port)
    proxy.hold(200_000)

    def interrupt(progress: Progress) -> None:
        if progress.fetched > 100_000:
            raise KeyboardInterrupt

    fetch = [(file, ("continued",))]
    with pytest.raises(KeyboardInterrupt):
        Fetcher(load_instances().get(), fetch, disk, parallel=1).run(interrupt)
    proxy.forward()
    proxy.forget()
    (outcome,) = Fetcher(load_instances().get(), fetch, disk, parallel=1).run()
    assert outcome.state == "fetched"
    assert (disk / "continued").read_bytes() == content
    assert proxy.sent < 400_000
    assert leftovers(disk) == []


def test_several_downloads_of_the_same_file_at_once(lake: FullLake, disk: Path) -> None:
    proxy, content = lake.faulty["http"], os.urandom(500_000)
    (file,) = served(lake, {"at.once": content}, proxy.port)
    proxy.far(0, 1_000_000)

    def fetch(_: int) -> str:
        (outcome,) = Fetcher(load_instances().get(), [(file, ("at.once",))], disk, parallel=1).run()
        return outcome.reason or outcome.state

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(fetch, range(4))) <= {"fetched", "there"}
    assert (disk / "at.once").read_bytes() == content
    assert leftovers(disk) == []


def test_a_killed_download_is_started_again(lake: FullLake, disk: Path) -> None:
    proxy = lake.faulty["http"]
    proxy.hold(10_000)
    code = f"import rucio_lab; rucio_lab.download('{SCOPE}:faulty.http')"
    child = subprocess.Popen([sys.executable, "-c", code])
    end = time.monotonic() + 30
    while not any(path.stat().st_size for path in leftovers(disk)) and time.monotonic() < end:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    (left,) = leftovers(disk)
    proxy.forward()
    (file,) = rucio_lab.download(f"{SCOPE}:faulty.http")
    assert Path(file).stat().st_size == file.bytes
    assert leftovers(disk) == [left]  # it may be in use on another machine
    os.utime(left, (time.time() - 2 * 86400,) * 2)
    rucio_lab.download(f"{SCOPE}:faulty.http")
    assert leftovers(disk) == []


def test_jobs_run_one_after_the_other(lake: FullLake, disk: Path) -> None:
    jobs = Jobs()
    lake.faulty["http"].hold(10_000)
    first = until(jobs, jobs.start(request("faulty.http")).id, "running")
    assert is_alive(jobs.folder / first.id)
    assert jobs.start(request("faulty.http")).id == first.id
    second = jobs.start(request("web"))
    time.sleep(1)
    assert jobs.get(second.id).state == "queued"
    assert len(processes(jobs)[first.id]) == 1
    lake.faulty["http"].forward()
    until(jobs, first.id, "done")
    until(jobs, second.id, "done")
    assert not is_alive(jobs.folder / first.id)
    assert "has no file locks" in jobs.log(first.id)


def test_a_killed_job_is_noticed_and_a_running_one_cancelled(lake: FullLake, disk: Path) -> None:
    jobs = Jobs()
    lake.faulty["http"].hold(10_000)
    job = until(jobs, jobs.start(request("faulty.http")).id, "running")
    os.kill(processes(jobs)[job.id][0], signal.SIGKILL)
    end = time.monotonic() + 10
    while jobs.get(job.id).state != "killed" and time.monotonic() < end:
        time.sleep(0.05)
    assert jobs.get(job.id).state == "killed"
    jobs.retry(job.id)
    until(jobs, job.id, "running")
    assert jobs.cancel(job.id).state == "cancelled"


def test_a_job_on_another_machine_is_not_started_twice(disk: Path) -> None:
    jobs = Jobs()
    job = until(jobs, jobs.start(request("web")).id, "done")
    folder = jobs.folder / job.id
    end = time.monotonic() + 30
    while processes(jobs) and time.monotonic() < end:  # it is exiting
        time.sleep(0.05)
    now: dict[str, Any] = {"state": "running", "pid": 1, "host": "elsewhere", "updated": time.time()}
    write_snapshot(folder, now)
    assert jobs.get(job.id).state == "running"
    assert jobs.retry(job.id).state == "running"
    assert not processes(jobs)
    with pytest.raises(Conflict):
        jobs.forget(job.id)
    write_snapshot(folder, {**now, "updated": time.time() - 2 * 86400})
    assert jobs.get(job.id).state == "killed"


def test_doctor_says_so(disk: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rucio_lab.cli", "doctor"], capture_output=True, text=True, check=False
    )
    assert f"Downloads are kept in {disk / 'downloads'}, on a disk without file locks." in done.stdout
    assert f"Jobs are kept in {disk / 'data/rucio-lab/jobs'}, on a disk without file locks." in done.stdout


def test_the_folder_of_locks_must_be_our_own(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_OF_THIS_MACHINE", tmp_path)
    folder = tmp_path / f"rucio-lab-locks-{os.geteuid()}"
    folder.symlink_to(disk)
    with pytest.raises(PermissionError, match="is not a private folder"):
        locks.lock_path(disk / "lock")
    folder.unlink()
    assert locks.lock_path(disk / "lock").parent == folder
    folder.chmod(0o755)
    with pytest.raises(PermissionError, match="is not a private folder"):
        locks.lock_path(disk / "lock")
