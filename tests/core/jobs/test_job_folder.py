"""The journal and the lock of a job, after crashes and on a full disk."""

from __future__ import annotations

import json
import os
import resource

import pytest

from rucio_lab.core.jobs.registry import Jobs
from tests.lake.lake import FullLake
from tests.support.jobs import Configure, request, until


def test_another_process_with_the_same_id_is_not_mistaken_for_the_job(jobs: Jobs) -> None:
    job = until(jobs, jobs.start(request("web")).id, "done")
    line = {"state": "running", "pid": os.getpid(), "started": 1.0, "host": os.uname().nodename}
    with (jobs.folder / job.id / "journal.ndjson").open("a") as journal:
        journal.write(json.dumps(line) + "\n")
    assert jobs.get(job.id).state == "killed"
    assert jobs.cancel(job.id).state == "killed"  # and this process survived


@pytest.mark.parametrize("rest", ['{"state": "run', "\0\0\0\0", "[1]\n", '"x"\n'])
def test_a_journal_cut_by_a_crash(jobs: Jobs, rest: str) -> None:
    job = until(jobs, jobs.start(request("web")).id, "done")
    with (jobs.folder / job.id / "journal.ndjson").open("a") as journal:
        journal.write(rest)
    assert jobs.get(job.id) == job


def test_the_disk_of_the_jobs_is_full(jobs: Jobs, lake: FullLake, configure: Configure) -> None:
    job = until(jobs, jobs.start(request("web")).id, "done")
    address = f"https://127.0.0.1:{lake.faulty['rucio'].port}"
    configure(url=address, auth_url=address)
    lake.faulty["rucio"].silent()
    jobs.retry(job.id)
    running = until(jobs, job.id, "running")
    assert running.pid is not None
    log = jobs.folder / job.id / "log.txt"
    with log.open("a") as file:
        file.write("x" * (1000 - log.stat().st_size))
    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (1000, 1000))  # a longer write is cut, the next one refused
    lake.faulty["rucio"].forward()
    assert until(jobs, job.id, "done").files_done == 1


def test_a_journal_does_not_grow_forever(jobs: Jobs) -> None:
    job = until(jobs, jobs.start(request("web")).id, "done")
    journal = jobs.folder / job.id / "journal.ndjson"
    journal.write_text(20_000 * f"{json.dumps({'state': 'waiting', 'message': 'again and again, for days'})}\n")
    jobs.retry(job.id)
    assert until(jobs, job.id, "done").files_done == 1
    assert journal.stat().st_size < 10_000


def test_an_invalid_job_file_hides_only_this_job(jobs: Jobs, lake: FullLake) -> None:
    lake.faulty["http"].silent()
    good, bad = (jobs.start(request(name)) for name in ("faulty.http", "web"))
    jobs.cancel(bad.id)
    file = jobs.folder / bad.id / "job.json"
    for change in ({"created": "yesterday"}, {"folder": 5}, {"request": {"dids": [1], "instance": "test"}}):
        known = json.loads(file.read_text())
        file.write_text(json.dumps({**known, **change}))
        assert [job.id for job in jobs.all()] == [good.id]
        file.write_text(json.dumps(known))
    with (jobs.folder / bad.id / "journal.ndjson").open("a") as journal:
        journal.write('{"id": "../..", "dids": ["x:y"], "state": "cancelled"}\n')
    assert {job.id for job in jobs.all()} == {good.id, bad.id}
