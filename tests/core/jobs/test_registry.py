"""The list of jobs and their queue: start, retry, cancel and remove jobs, in several processes at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from rucio_lab.core.errors import BadRequest, Conflict, NotFound
from rucio_lab.core.jobs.registry import Jobs
from tests.lake.lake import FullLake
from tests.support.checks import assert_clear, within
from tests.support.jobs import SCOPE, Configure, processes, request, until


def test_a_job_started_several_times_runs_once(jobs: Jobs, lake: FullLake) -> None:
    lake.faulty["http"].silent()
    code = (
        "from rucio_lab.core.jobs.registry import Jobs; from rucio_lab.core.model import Request;"
        f"print(Jobs().start(Request(('{SCOPE}:faulty.http',), 'test')).id)"
    )
    tabs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    ids = {tab.communicate(timeout=60)[0] for tab in tabs}
    assert len(ids) == 1
    name = ids.pop().strip()
    job = until(jobs, name, "running")
    assert jobs.start(request("faulty.http")).pid in (job.pid, None)
    running = [p for p in psutil.process_iter(["cmdline"]) if (p.info["cmdline"] or [])[-1:] == [name]]
    assert len(running) == 1
    assert jobs.start(request("faulty.http", folder=str(jobs.folder.parent / "x"))).id != name
    assert jobs.cancel(name).state == "cancelled"


def test_a_killed_job_is_noticed_at_once_and_a_retry_continues_it(jobs: Jobs, lake: FullLake, base: Path) -> None:
    lake.faulty["http"].silent()
    job = until(jobs, jobs.start(request("GamGam.MC", "faulty.http")).id, "running")
    end = time.monotonic() + 30
    while not jobs.get(job.id).files_done and time.monotonic() < end:
        time.sleep(0.05)
    assert job.pid is not None
    os.kill(job.pid, signal.SIGKILL)
    with within(0):
        while (killed := jobs.get(job.id)).active:
            time.sleep(0.01)
    assert killed.state == "killed"
    assert "ended unexpectedly" in killed.message
    lake.faulty["http"].forward()
    came = {path: path.stat().st_ino for path in base.rglob("*.root")}
    assert came
    again = jobs.retry(job.id)
    assert again.state == "queued"
    done = until(jobs, job.id, "done")
    assert done.files_failed == 0
    assert came.items() <= {path: path.stat().st_ino for path in base.rglob("*.root")}.items()


def test_jobs_wait_for_their_turn(jobs: Jobs, lake: FullLake, configure: Configure) -> None:
    configure(jobs=1)
    lake.faulty["http"].silent()
    first = until(jobs, jobs.start(request("faulty.http")).id, "running")
    second, third = (jobs.start(request(name)) for name in ("web", "https"))
    time.sleep(2)
    assert [jobs.get(job.id).state for job in (first, second, third)] == ["running", "queued", "queued"]
    assert "waits for its turn" in jobs.get(third.id).message
    assert len((jobs.folder / third.id / "journal.ndjson").read_text().splitlines()) <= 3  # it could wait for days
    jobs.cancel(first.id)
    until(jobs, second.id, "done")
    until(jobs, third.id, "done")
    ends = [jobs.get(job.id).updated for job in (second, third)]
    assert ends == sorted(ends)


def test_only_the_next_job_in_the_queue_has_a_process(
    jobs: Jobs, lake: FullLake, configure: Configure, tmp_path: Path
) -> None:
    configure(jobs=1)
    lake.faulty["http"].silent()
    first = until(jobs, jobs.start(request("faulty.http")).id, "running")
    wanted = [request("web", folder=str(tmp_path / f"to{number}")) for number in range(6)]
    others = [jobs.start(each).id for each in wanted]
    time.sleep(1)
    assert {job.state for job in jobs.all() if job.id != first.id} == {"queued"}
    assert len(processes(jobs)) == 2  # the running job and the next one
    last = jobs.get(others[-1])
    assert (last.message, last.pid) == ("It waits for its turn.", None)
    assert jobs.start(wanted[-1]) == jobs.retry(last.id) == last
    with pytest.raises(Conflict) as caught:
        jobs.forget(last.id)
    assert_clear(caught.value)
    before = jobs.stamp()
    with within(0):
        assert jobs.cancel(last.id).state == "cancelled"
    assert jobs.stamp() != before
    jobs.forget(last.id)
    assert jobs.cancel(others[-2]).state == "cancelled"
    assert jobs.retry(others[-2]).state == "queued"
    jobs.cancel(first.id)
    for name in others[:-1]:
        until(jobs, name, "done")
    assert len(list(tmp_path.glob("to*/**/*.root"))) == 5


def test_the_number_of_jobs_is_limited(
    jobs: Jobs, lake: FullLake, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rucio_lab.core.jobs.registry.MOST_ACTIVE", 2)
    lake.faulty["http"].silent()
    done = until(jobs, jobs.start(request("web")).id, "done")
    first = jobs.start(request("faulty.http"))
    jobs.start(request("faulty.http", "web"))
    for ask in (lambda: jobs.start(request("https")), lambda: jobs.retry(done.id)):
        with pytest.raises(Conflict, match="2 downloads") as caught:
            ask()
        assert_clear(caught.value)
    assert jobs.start(request("faulty.http")).id == first.id
    jobs.cancel(first.id)
    assert jobs.retry(done.id).active


def test_no_job_is_lost_or_runs_twice_when_processes_are_killed(
    jobs: Jobs, configure: Configure, tmp_path: Path
) -> None:
    configure(jobs=2)
    wanted = {jobs.start(request("web", folder=str(tmp_path / f"to{number}"))).id for number in range(8)}
    killed, end = set(), time.monotonic() + 60
    while any(job.active for job in jobs.all()):
        assert time.monotonic() < end, jobs.all()
        running = processes(jobs)
        assert all(len(pids) == 1 for pids in running.values())
        if running and len(killed) < 4:
            name, (pid,) = sorted(running.items())[0]
            os.kill(pid, signal.SIGKILL)
            killed.add(name)
        time.sleep(0.3)
    states = {job.id: job.state for job in jobs.all()}
    assert states.keys() == wanted
    assert {name for name, state in states.items() if state != "done"} <= killed
    for name in killed:
        jobs.retry(name)
        until(jobs, name, "done")
    assert len(list(tmp_path.glob("to*/**/*.root"))) == 8


@pytest.mark.parametrize("id", ["", "..", "../../tokens", "0" * 16, "x" * 16, "0" * 15 + "/"])
def test_no_such_job(jobs: Jobs, id: str) -> None:
    for call in (jobs.get, jobs.log, jobs.cancel, jobs.retry, jobs.forget):
        with pytest.raises(NotFound) as caught:
            call(id)
        assert_clear(caught.value)
    assert jobs.all() == []


def test_an_active_job_cannot_be_removed(jobs: Jobs, lake: FullLake) -> None:
    lake.faulty["http"].silent()
    job = jobs.start(request("faulty.http"))
    with pytest.raises(Conflict) as caught:
        jobs.forget(job.id)
    assert_clear(caught.value)
    with pytest.raises(BadRequest):
        jobs.start(request("web", folder="a\0b"))
    jobs.cancel(job.id)


def test_a_job_is_removed_in_several_tabs_at_once(jobs: Jobs) -> None:
    job = until(jobs, jobs.start(request("web")).id, "done")
    odd: list[OSError] = []

    def act(what: str, name: str) -> None:
        together.wait()
        try:
            getattr(Jobs(), what)(name)
        except NotFound:
            pass
        except OSError as error:
            odd.append(error)

    for number in range(40):
        copy = shutil.copytree(jobs.folder / job.id, jobs.folder / f"{number:016x}")
        together = threading.Barrier(4)
        tabs = [
            threading.Thread(target=act, args=(what, copy.name)) for what in ("forget", "forget", "forget", "cancel")
        ]
        for tab in tabs:
            tab.start()
        for tab in tabs:
            tab.join()
    assert not odd
    assert {path.name for path in jobs.folder.iterdir()} == {job.id, "slots"}


def test_a_retry_uses_the_original_folder(jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    monkeypatch.chdir(one)
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")  # as in some locales
    job = until(jobs, jobs.start(request("web", folder="粒子")).id, "done")
    assert f"1 file, {job.bytes:,} bytes, to {one / '粒子'}" in jobs.log(job.id)
    assert job.message == "1 file downloaded."
    (file,) = one.rglob("*.root")
    file.unlink()
    monkeypatch.chdir(two)
    jobs.retry(job.id)
    assert until(jobs, job.id, "done").folder == str(one / "粒子")
    assert file.exists()
    assert not list(two.iterdir())


def test_a_job_in_the_queue_of_another_machine_can_be_started_here(
    jobs: Jobs, lake: FullLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A restarted container has another host name."""
    monkeypatch.setattr(Jobs, "start_next", lambda _: False)
    begun = jobs.start(request("web", folder=str(tmp_path / "to")))
    journal = jobs.folder / begun.id / "journal.ndjson"
    journal.write_text(journal.read_text().replace(os.uname().nodename, "old-container"))
    monkeypatch.undo()
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config()))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(jobs.folder.parents[1]))
    monkeypatch.setenv("SSL_CERT_FILE", str(lake.authority.bundle))
    assert [job.state for job in jobs.all()] == ["queued"]
    jobs.retry(begun.id)
    assert until(jobs, begun.id, "done").files_done == 1


def test_jobs_that_wait_for_one_rucio_do_not_block_others(
    jobs: Jobs, lake: FullLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    down = {"url": "https://127.0.0.1:9", "auth_url": "https://127.0.0.1:9"}
    path = lake.config("test", test={}, down=down)
    path.write_text(path.read_text() + "\n[downloads]\njobs = 1\n")
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(path))
    for number in range(11):
        jobs.start(replace(request("web", folder=str(tmp_path / f"to{number}")), instance="down"))
    end = time.monotonic() + 60
    while sum(job.state == "waiting" for job in jobs.all()) < 8 and time.monotonic() < end:
        time.sleep(0.1)
    assert until(jobs, jobs.start(request("web", folder=str(tmp_path / "other"))).id, "done")
    states = [job.state for job in jobs.all() if job.instance == "down"]
    assert set(states) == {"waiting", "queued"}
