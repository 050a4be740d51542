"""All jobs of the user: list, start, cancel and remove them, and start the next one in the queue.

Each job has a folder below Jupyter's data folder; `rucio_lab.core.jobs.job_folder` says what is in it. A queued job has
no process, except for the next one: it is started before its turn, so that it follows even if the process before it is
killed. Whoever starts, ends or lists a job also checks whether another one can start.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from rucio_lab.core.config.instances import load_downloads
from rucio_lab.core.copies.base_folder import checked_base
from rucio_lab.core.errors import ConfigurationError, Conflict, NotFound
from rucio_lab.core.jobs.job import Job
from rucio_lab.core.jobs.job_folder import (
    Forgotten,
    is_alive,
    is_ours,
    is_queued,
    journal_size,
    last_snapshot,
    locked,
    take_lock,
    write_file,
    write_snapshot,
)
from rucio_lab.core.locks import lock_path
from rucio_lab.core.model import Request
from rucio_lab.core.private import lab_folder, own_folder
from rucio_lab.core.text import printable

MOST_ACTIVE = 50
"""The most jobs that are queued, running or waiting."""

_QUEUED = "It waits for its turn."
_MOST_WAITING = 8  # processes per instance that wait for a sign-in or the like; more would only wait, too
_KEPT = 100  # jobs that ended; older ones are removed from the list
_LOG = 200_000  # bytes at the end of a log that are shown
_KILL = 10.0  # seconds after which a cancelled job is killed


class Jobs:
    """All jobs of the user.

    Parameters
    ----------
    folder
        The folder of all jobs; by default below Jupyter's data folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or lab_folder("jobs")

    # ---------------------------------------------------------------------------------------- reading

    def all(self) -> list[Job]:
        """Give all jobs, the newest first."""
        self.start_next()  # in case the processes were killed that should have done so
        return self._known()

    def _known(self) -> list[Job]:
        found = [self._look(folder) for folder in self._folders()]
        return sorted((job for job in found if job is not None), key=lambda job: (-job.created, job.id))

    def get(self, id: str) -> Job:
        """Give one job.

        Raises
        ------
        NotFound
            If it does not exist.
        """
        job = self._look(self._folder(id))
        if job is None:
            raise NotFound(f"There is no job {id!r}.", "`rucio-lab jobs` lists them.")
        return job

    def request(self, id: str) -> Request:
        """Give the request of a job."""
        wanted = json.loads((self._folder(id) / "job.json").read_text(encoding="utf-8"))["request"]
        return msgspec.convert(wanted, Request)

    def log(self, id: str) -> str:
        """Give the end of a job's log, with control characters escaped, since external tools write to it, too."""
        self.get(id)
        try:
            with (self._folder(id) / "log.txt").open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG))
                return "\n".join(map(printable, file.read().decode(errors="replace").split("\n")))
        except FileNotFoundError:
            return ""

    def stamp(self) -> dict[str, tuple[int, bool, bool]]:
        """Give a cheap fingerprint of each job: while it stays the same, so does the job."""
        return {folder.name: (journal_size(folder), is_alive(folder), is_queued(folder)) for folder in self._folders()}

    def _folders(self) -> list[Path]:
        try:
            own_folder(self.folder, make=False)
            return [path for path in self.folder.iterdir() if _is_id(path.name) and is_ours(path)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigurationError(
                f"The jobs in {self.folder} cannot be read: {error.strerror}.",
                "Set JUPYTER_DATA_DIR to a folder of your own.",
            ) from None

    def _folder(self, id: str) -> Path:
        if not _is_id(id):
            raise NotFound(f"There is no job {id!r}.", "`rucio-lab jobs` lists them.")
        return self.folder / id

    def _look(self, folder: Path) -> Job | None:
        if not is_ours(folder):
            return None
        alive = is_queued(folder) or is_alive(folder)  # before the journal is read, or its last entry could be missed
        try:
            wanted = json.loads((folder / "job.json").read_text(encoding="utf-8"))
            request = wanted["request"]
            asked = {"dids": request["dids"], "instance": request["instance"], "folder": wanted["folder"]}
            known = {**last_snapshot(folder), **asked, "id": folder.name, "created": wanted["created"]}
            job = msgspec.convert(known, Job)
        except (OSError, ValueError, KeyError, TypeError):  # a ValidationError is a ValueError
            return None
        if job.active and not (alive or is_queued(folder) or is_alive(folder)):  # it may just have been restarted
            why = "Its process ended unexpectedly: it was killed, or the machine was restarted."
            return dataclasses.replace(job, state="killed", message=why, waits_for="", rate=0.0, seconds_left=None)
        return job

    # ---------------------------------------------------------------------------------------- changing

    def start(self, request: Request) -> Job:
        """Start a job, unless the same one is already active.

        Parameters
        ----------
        request
            What to download. It must name the instance.

        Returns
        -------
        Job
            The new job, or the active one for the same DIDs and target.

        Raises
        ------
        ConfigurationError
            If the folder of the jobs is not writable.
        Conflict
            If too many jobs are active.
        """
        base = checked_base(request.folder or load_downloads().folder)
        what = [request.instance, sorted(request.dids), str(base), bool(request.folder), *request.schemes, request.rse]
        name = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
        self._prune()
        folder = self._folder(name)
        while True:
            # if the job is removed from the list meanwhile, try again
            with self._storing(), suppress(Forgotten), self._then_next():
                own_folder(self.folder)
                folder.mkdir(mode=0o700, exist_ok=True)
                with locked(folder) as lock:
                    if lock is None or is_queued(folder):
                        return self._queue_here(name, lock)
                    self._check_room()
                    wanted = {"request": dataclasses.asdict(request), "folder": str(base), "created": time.time()}
                    write_file(folder / "job.json", json.dumps(wanted))
                    return self._queue(name)

    def retry(self, id: str) -> Job:
        """Start a job again that has ended. Files that were downloaded are kept and not fetched again."""
        self.get(id)
        folder = self._folder(id)
        with self._storing(), suppress(Forgotten), self._then_next(), locked(folder) as lock:
            if lock is not None and not is_queued(folder):
                self._check_room()
                return self._queue(id)
            return self._queue_here(id, lock)
        return self.get(id)

    def cancel(self, id: str) -> Job:
        """Cancel an active job, and return when it has ended. Files that were downloaded are kept.

        Raises
        ------
        Conflict
            If it runs on another machine and does not end.
        """
        job = self.get(id)
        folder = self._folder(id)
        if not job.active:
            return job
        with suppress(OSError):  # if this fails, the process is killed below
            (folder / "cancel").touch()
        if is_queued(folder):
            self._take_out(folder)
        until = time.monotonic() + _KILL
        while time.monotonic() < until and is_alive(folder):
            time.sleep(0.05)
        if is_alive(folder):
            self._kill(self.get(id))
        self.start_next()
        return self.get(id)

    def forget(self, id: str) -> None:
        """Remove a job that has ended from the list. Its files are kept."""
        folder = self._folder(id)
        self.get(id)
        with self._storing(), suppress(Forgotten), locked(folder) as lock:
            if lock is None or is_queued(folder):
                raise Conflict(f"The job {id} has not ended yet.", "Cancel it first.")
            gone = tempfile.mkdtemp(dir=self.folder)
            folder.replace(gone)  # in one step, or it could be restarted in a folder that is half removed
            shutil.rmtree(gone, ignore_errors=True)

    # ---------------------------------------------------------------------------------------- the queue

    def _check_room(self) -> None:
        if sum(job.active for job in self._known()) >= MOST_ACTIVE:
            raise Conflict(
                f"{MOST_ACTIVE} downloads are active or waiting for their turn, which is the maximum.",
                "Wait until one has ended, or cancel one.",
            )

    def _queue(self, id: str) -> Job:
        """Put a job into the queue; the caller holds its lock."""
        folder = self._folder(id)
        (folder / "cancel").unlink(missing_ok=True)
        now = {"updated": time.time(), "pid": None, "host": os.uname().nodename}
        write_snapshot(folder, {"state": "queued", "message": _QUEUED, **now})
        (folder / "queued").touch()
        return self.get(id)

    def _queue_here(self, id: str, lock: IO[bytes] | None) -> Job:
        """Move a job from another machine's queue to this one's, because it was now requested here."""
        job = self.get(id)
        return self._queue(id) if lock is not None and job.host != os.uname().nodename else job

    def _take_out(self, folder: Path) -> None:
        """Cancel a job that has no process yet."""
        with self._storing(), suppress(Forgotten), locked(folder) as lock:
            if lock is not None and is_queued(folder):
                (folder / "queued").unlink()
                write_snapshot(folder, {"state": "cancelled", "message": "It was cancelled.", "updated": time.time()})

    @contextmanager
    def _then_next(self) -> Iterator[None]:
        """Start the next job afterwards."""
        yield
        self.start_next()

    def start_next(self) -> bool:
        """Start the next jobs of the queue, if there is room. Returns whether any were started."""
        if not any(map(is_queued, self._folders())):
            return False
        with suppress(OSError, ConfigurationError), _alone(self.folder / "slots"):
            return self._start_queued()
        return False

    def _start_queued(self) -> bool:
        """Start queued jobs until there is one process more than can run at a time; that one waits for its turn."""
        active = [job for job in reversed(self._known()) if job.active]
        alive = [job for job in active if is_alive(self._folder(job.id))]
        room = load_downloads().jobs + 1 - sum(job.state != "waiting" for job in alive)
        waiting = Counter(job.instance for job in alive if job.state == "waiting")
        here = [job for job in active if job not in alive and job.host == os.uname().nodename]
        here = [job for job in here if waiting[job.instance] < _MOST_WAITING]
        for job in here[: max(room, 0)]:
            with suppress(Forgotten), locked(self._folder(job.id)) as lock:
                if lock is not None and is_queued(self._folder(job.id)):
                    self._spawn(job.id, lock)
        return bool(here) and room > 0

    def _spawn(self, id: str, lock: IO[bytes]) -> None:
        """Start the process of a job, which inherits the lock as its standard input."""
        folder = self._folder(id)
        with (folder / "log.txt").open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-P", "-m", "rucio_lab.core.jobs.run", id],
                stdin=lock,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    "JUPYTER_DATA_DIR": str(self.folder.parents[1]),
                    "PYTHONIOENCODING": "utf-8:backslashreplace",  # for any name in any locale
                },
            )
        (folder / "queued").unlink(missing_ok=True)  # last, so that the job is always queued or has a process

    def _kill(self, job: Job) -> None:
        """Kill a job that does not end, if it is certain which process it is."""
        import psutil

        if job.host != os.uname().nodename or job.pid is None or job.started is None:
            raise Conflict(f"The job runs on {job.host or 'another machine'} and does not end.", "Cancel it there.")
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(job.pid)
            if abs(process.create_time() - job.started) < 5:  # the id may belong to another process by now
                os.kill(job.pid, signal.SIGKILL)
                process.wait(5)

    @contextmanager
    def _storing(self) -> Iterator[None]:
        """Explain a folder of jobs that is not writable."""
        try:
            yield
        except OSError as error:
            raise ConfigurationError(
                f"The jobs cannot be stored in {self.folder}: {error.strerror}.",
                "Set JUPYTER_DATA_DIR to a folder that is writable.",
            ) from error

    def _prune(self) -> None:
        for job in [job for job in self.all() if not job.active][_KEPT:]:
            with suppress(Conflict, NotFound):
                self.forget(job.id)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from starting the next job. If one of them hangs, an extra job may start, but none twice."""
    folder.mkdir(exist_ok=True)
    with lock_path(folder / "queue").open("ab") as lock:
        take_lock(lock, tries=100)
        yield


def _is_id(name: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{16}", name) is not None
