"""The folder of a job: its journal, and the lock that shows whether its process is alive.

``job.json`` says what to download. Each line of ``journal.ndjson`` is a complete snapshot of the progress; a line that
was cut by a crash is skipped. ``log.txt`` is a log for people. The process holds a lock on the file ``lock`` from
before it starts until it ends, however it ends. So others see whether it is alive, even if its process
id was given to another process. If the disk has no locks, the lock is on a file of this machine
(`rucio_lab.core.locks`), and what runs on other machines is only known from the journal.

A job that waits for its turn is a file ``queued`` in its folder.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from rucio_lab.core.jobs.job import Job
from rucio_lab.core.locks import lock_path, work_in
from rucio_lab.core.private import is_own

_TAIL = 65536  # bytes at the end of a journal that contain the last snapshot
_LONGEST_SILENCE = 86400.0  # seconds after which a job on another machine counts as ended
_MOST_JOURNAL = 1_000_000  # bytes; the journal of a job that waits for days is then started again


class Forgotten(Exception):  # noqa: N818 - never leaves the registry
    """The job was removed from the list meanwhile."""


def is_ours(folder: Path) -> bool:
    """Whether the folder of a job exists, and belongs to this user."""
    try:
        return is_own(folder.lstat())
    except OSError:
        return False


def is_queued(folder: Path) -> bool:
    """Whether a job waits in the queue, without a process."""
    return (folder / "queued").exists()


# ------------------------------------------------------------------------------------------------ the lock


def is_alive(folder: Path) -> bool:
    """Whether somebody holds the lock of a job."""
    try:
        with lock_path(folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return _runs_elsewhere(folder)


def _runs_elsewhere(folder: Path) -> bool:
    """Whether a job seems to run on another machine, if its lock cannot tell."""
    if work_in(folder):
        return False
    last = last_snapshot(folder)
    active = last.get("state") in ("queued", "running", "waiting") and last.get("pid")
    recent = time.time() - last.get("updated", 0.0) < _LONGEST_SILENCE
    return bool(active) and recent and last.get("host") != os.uname().nodename


def holds_lock(folder: Path) -> bool:
    """Whether this process inherited the lock of a job as its standard input."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(0), lock_path(folder / "lock").stat())
    return False


@contextmanager
def locked(folder: Path) -> Iterator[IO[bytes] | None]:
    """Hold the lock of a job; None if its process is alive."""
    try:
        file = (folder / "lock").open("ab")
    except FileNotFoundError:
        raise Forgotten from None
    with file, lock_path(folder / "lock").open("ab") as lock:
        if not take_lock(lock) or _runs_elsewhere(folder):
            yield None
            return
        try:
            same = os.path.samestat(os.fstat(file.fileno()), (folder / "lock").stat())
        except FileNotFoundError:
            same = False
        if not same:
            raise Forgotten
        yield lock


def take_lock(lock: IO[bytes], tries: int = 10) -> bool:
    """Take a lock. `is_alive` holds it only for a moment, so a few tries are enough."""
    for _ in range(tries):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False


# ------------------------------------------------------------------------------------------------ the journal


def write_snapshot(folder: Path, snapshot: dict[str, Any]) -> None:
    """Append a snapshot to the journal of a job, in one piece. If there is no room, it replaces the earlier ones."""
    journal, line = folder / "journal.ndjson", json.dumps(snapshot).encode() + b"\n"
    if journal_size(folder) > _MOST_JOURNAL:
        with suppress(OSError):
            write_file(journal, line.decode())
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


def last_snapshot(folder: Path) -> dict[str, Any]:
    """Read the last complete snapshot of a job."""
    try:
        with (folder / "journal.ndjson").open("rb") as file:
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


def journal_size(folder: Path) -> int:
    """Give the size of a job's journal in bytes; 0 if there is none."""
    try:
        return (folder / "journal.ndjson").stat().st_size
    except OSError:
        return 0


def write_file(path: Path, text: str) -> None:
    """Write a file completely or not at all."""
    temporary = path.with_suffix(".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
