"""Jobs in tests: request them, wait for a state, find their processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil

from rucio_lab.core.jobs.job import Job
from rucio_lab.core.jobs.registry import Jobs
from rucio_lab.core.model import Request

SCOPE = "opendata13TeV"
Configure = Callable[..., None]


def request(*names: str, **how: Any) -> Request:
    """Make a request to download DIDs."""
    return Request(tuple(f"{SCOPE}:{name}" for name in names), "test", access="download", **how)


def until(jobs: Jobs, id: str, *states: str, seconds: float = 40) -> Job:
    """Wait until a job has one of some states."""
    end = time.monotonic() + seconds
    while (job := jobs.get(id)).state not in states:
        assert time.monotonic() < end, f"{job}\n{jobs.log(id)}"
        assert job.active, f"{job}\n{jobs.log(id)}"
        time.sleep(0.05)
    return job


def processes(jobs: Jobs) -> dict[str, list[int]]:
    """Give the processes of all jobs: id -> process ids."""
    ids = {job.id for job in jobs.all()}
    found: dict[str, list[int]] = {}
    for process in psutil.process_iter(["cmdline", "pid", "status"]):
        command = process.info["cmdline"] or []
        if (
            command[-3:-1] == ["-m", "rucio_lab.core.jobs.run"]
            and command[-1] in ids
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ):
            found.setdefault(command[-1], []).append(process.info["pid"])
    return found
