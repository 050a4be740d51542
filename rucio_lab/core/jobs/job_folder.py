"""The folder of a job: its journal, and the lock by which others see whether its process is alive."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from rucio_lab.core.jobs.job import Job
from rucio_lab.core.private import is_own

_TAIL = 65536  # bytes at the end of a journal in which the last snapshot stands
_MOST_JOURNAL = 1_000_000  # bytes; a job that waits for days begins it anew


def write_snapshot(folder: Path, snapshot: dict[str, Any]) -> None:
    """Add a snapshot to the journal of a job, in one piece; where there is no room for it, instead of those before."""
    journal, line = folder / "journal.ndjson", json.dumps(snapshot).encode() + b"\n"
    if _size(journal) > _MOST_JOURNAL:
        with suppress(OSError):
            _write(journal, line.decode())
            return
    fd = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with suppress(OSError):
            if os.write(fd, line) == len(line):
                return
        os.ftruncate(fd, 0)
        os.write(fd, line)
    finally:
        os.close(fd)


def holds_lock(folder: Path) -> bool:
    """Whether this process was given the lock of a job as its standard input."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(0), (folder / "lock").stat())
    return False


def _is_id(name: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{16}", name) is not None


def _is_ours(folder: Path) -> bool:
    """Whether the folder of a job is there, and nobody else's."""
    try:
        return is_own(folder.lstat())
    except OSError:
        return False


def _alive(folder: Path) -> bool:
    """Whether somebody holds the lock of a job."""
    try:
        with (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _in_queue(folder: Path) -> bool:
    """Whether a job has no process yet, and is to get one."""
    return (folder / "queued").exists()


class _Gone(Exception):  # noqa: N818 - never leaves this module
    """The job was removed from the list meanwhile."""


@contextmanager
def _held(folder: Path) -> Iterator[IO[bytes] | None]:
    """Hold the lock of a job; None if it is under way."""
    try:
        lock = (folder / "lock").open("ab")
    except FileNotFoundError:
        raise _Gone from None
    with lock:
        if not _take(lock):
            yield None
            return
        try:
            same = os.path.samestat(os.fstat(lock.fileno()), (folder / "lock").stat())
        except FileNotFoundError:
            same = False
        if not same:
            raise _Gone
        yield lock


def _take(lock: IO[bytes], tries: int = 10) -> bool:
    """Take a lock; who only looks whether it is taken holds it for no time."""
    for _ in range(tries):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False


def _last(journal: Path) -> dict[str, Any]:
    """Read the last whole snapshot."""
    try:
        with journal.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return {}
    known = {field.name for field in dataclasses.fields(Job)}
    for line in reversed(lines):
        with suppress(ValueError):
            snapshot = json.loads(line)
            if isinstance(snapshot, dict):
                return {key: value for key, value in snapshot.items() if key in known}
    return {}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
