"""Wait for conditions, and find the processes that a test started."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import psutil


def wait_until(what: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not true after {seconds:g} s"
        time.sleep(0.05)


def descendants(pid: int) -> list[psutil.Process]:
    """Return all descendants of a process."""
    return psutil.Process(pid).children(recursive=True)


def alive(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return the processes that are still running after a number of seconds; a zombie is not."""
    return [
        process
        for process in psutil.wait_procs(processes, timeout=seconds)[1]
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]
