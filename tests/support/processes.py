"""Processes in tests: wait for them, and see which are left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import psutil


def wait_until(what: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def descendants(pid: int) -> list[psutil.Process]:
    """Return all processes below one."""
    return psutil.Process(pid).children(recursive=True)


def alive(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return which processes still live after a while; a zombie does not."""
    return [
        process
        for process in psutil.wait_procs(processes, timeout=seconds)[1]
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]
