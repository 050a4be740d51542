"""The process of a job: it downloads, waits for what it needs, and records how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rucio_lab.core.jobs.registry import Jobs
from rucio_lab.core.model import Request
from tests.lake.lake import FullLake
from tests.support.checks import within
from tests.support.jobs import SCOPE, Configure, request, until
from tests.support.put import put


def test_a_job_downloads_its_files_and_reports_it(jobs: Jobs, base: Path) -> None:
    begun = jobs.start(request("GamGam.MC"))
    assert begun.state == "queued"
    job = until(jobs, begun.id, "done")
    files = list(base.rglob("*.root"))
    assert job.files == job.files_done == len(files) > 1
    assert job.bytes == job.bytes_done == sum(path.stat().st_size for path in files)
    assert job.files_failed == 0
    assert f"{len(files)} files downloaded." in jobs.log(job.id)
    assert jobs.all() == [job]
    modes = {path.stat().st_mode & 0o077 for path in (jobs.folder, jobs.folder / job.id)}
    assert modes == {0}
    jobs.forget(job.id)
    assert jobs.all() == []
    assert list(base.rglob("*.root")) == files


def test_a_job_calls_nothing_verified_without_a_checksum(jobs: Jobs, lake: FullLake, base: Path) -> None:
    name = put(lake, b"bytes", "WEB-DISK", adler32=None)
    job = until(jobs, jobs.start(request(name)).id, "done")
    assert job.message == "1 file downloaded. Rucio has no checksum of it, so only the size was checked."


def test_cancel_while_rucio_hangs(jobs: Jobs, lake: FullLake, configure: Configure) -> None:
    address = f"https://127.0.0.1:{lake.faulty['rucio'].port}"
    configure(url=address, auth_url=address)
    lake.faulty["rucio"].silent()
    job = until(jobs, jobs.start(request("web")).id, "running")
    with within(5):
        assert jobs.cancel(job.id).state == "cancelled"


def test_a_job_waits_when_its_sign_in_expires(
    jobs: Jobs, lake: FullLake, configure: Configure, base: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(lake.token())
    cfg = str(lake.rucio_cfg(auth="token"))
    configure(auth="token", token_file=str(token), rucio_cfg=cfg, storage={"timeout": 1.0, "patience": 1.0})
    lake.faulty["http"].refuse()
    job = until(jobs, jobs.start(request("web", "faulty.http")).id, "running")
    end = time.monotonic() + 30
    while not list(base.rglob("*.root")) and time.monotonic() < end:
        time.sleep(0.02)
    token.write_text("ended")  # Rucio will be asked again for the files that failed
    waiting = until(jobs, job.id, "waiting")
    assert "does not accept the token" in waiting.message
    assert waiting.waits_for == "sign_in"
    first, second, third = waits(jobs, job.id, 3)
    assert third - second > second - first + 1  # Rucio is asked less and less often
    assert jobs.log(job.id).count("waiting: ") == 1
    assert waiting.files_done == 1
    lake.faulty["http"].forward()
    token.write_text(lake.token())
    assert until(jobs, job.id, "done").files_done == 2
    assert "waiting: " in jobs.log(job.id)


def waits(jobs: Jobs, id: str, number: int) -> list[float]:
    """Wait until a job has noted several times that it waits, and give the times."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        lines = map(json.loads, (jobs.folder / id / "journal.ndjson").read_text().splitlines())
        times = [line["updated"] for line in lines if line["state"] == "waiting"]
        if len(times) >= number:
            return times
        time.sleep(0.1)
    raise AssertionError(jobs.log(id))


def test_a_job_waits_for_a_dead_rucio_while_others_run(
    jobs: Jobs, lake: FullLake, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"https://127.0.0.1:{lake.faulty['rucio'].port}"
    path = lake.config(
        test={"url": address, "auth_url": address, "storage": {"timeout": 1.0, "patience": 1.0}}, other={}
    )
    path.write_text(path.read_text() + f'\n[downloads]\nfolder = "{base}"\njobs = 1\n')
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(path))
    lake.faulty["http"].refuse()
    job = until(jobs, jobs.start(request("web", "faulty.http")).id, "running")
    end = time.monotonic() + 30
    while not list(base.rglob("*.root")) and time.monotonic() < end:
        time.sleep(0.02)
    lake.faulty["rucio"].refuse()  # it will be asked again for the files that failed
    waiting = until(jobs, job.id, "waiting")
    assert (waiting.waits_for, waiting.files_done) == ("server", 1)
    assert "Rucio will be asked again." in waiting.message
    other = jobs.start(Request((f"{SCOPE}:https",), "other", access="download"))
    assert until(jobs, other.id, "done").files_failed == 0
    assert jobs.get(job.id).state == "waiting"
    lake.mend()
    done = until(jobs, job.id, "done")
    assert (done.files_done, done.waits_for) == (2, "")


def test_a_storage_that_refuses_connections_is_named(jobs: Jobs, lake: FullLake) -> None:
    lake.faulty["http"].refuse()
    job = jobs.start(request("faulty.http"))
    end = time.monotonic() + 40
    while jobs.get(job.id).active and time.monotonic() < end:
        time.sleep(0.05)
    failed = jobs.get(job.id)
    assert failed.state == "failed"
    assert failed.message.startswith("1 file failed. Why: FAULTY-HTTP: http://127.0.0.1:")
    assert "refuses connections" in failed.message


def test_a_failed_job_says_why_and_keeps_the_other_files(jobs: Jobs, base: Path) -> None:
    job = jobs.start(request("partly", "certificate"))
    end = time.monotonic() + 40
    while (job := jobs.get(job.id)).active and time.monotonic() < end:
        time.sleep(0.05)
    assert job.state == "failed"
    assert "2 of 3 files failed" in job.message
    assert (job.files, job.files_done, job.files_failed) == (3, 1, 2)
    log = jobs.log(job.id)
    assert "tape" in log
    assert "asks for credentials" in log
    assert len(list(base.rglob("*.root"))) == 1


def test_no_such_did(jobs: Jobs) -> None:
    job = jobs.start(request("nothing"))
    end = time.monotonic() + 40
    while (job := jobs.get(job.id)).active and time.monotonic() < end:
        time.sleep(0.05)
    assert job.state == "failed"
    assert f"no DID {SCOPE}:nothing" in job.message
    assert "Traceback" not in jobs.log(job.id)


_WITH_THE_CLOCK_SET_BACK = """
import sys, time
real, begun = time.time, time.time()
time.time = lambda: real() - (3600 if real() > begun + 2 else 0)
from rucio_lab.core.jobs.run import main
main()
"""


def test_the_clock_is_set_back(jobs: Jobs, lake: FullLake) -> None:
    lake.faulty["http"].silent()
    job = until(jobs, jobs.start(request("faulty.http")).id, "running")
    assert job.pid is not None
    os.kill(job.pid, signal.SIGKILL)
    until_killed = time.monotonic() + 5
    while jobs.get(job.id).active and time.monotonic() < until_killed:
        time.sleep(0.02)
    with subprocess.Popen([sys.executable, "-c", _WITH_THE_CLOCK_SET_BACK, job.id]):
        end = time.monotonic() + 10
        while jobs.get(job.id).updated > time.time() - 3000:
            assert time.monotonic() < end, "it writes no snapshots any longer"
            time.sleep(0.05)
        jobs.cancel(job.id)
