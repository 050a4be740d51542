"""Long downloads as processes of their own, which outlive the Jupyter server, and what is known of them.

Each job has a folder below Jupyter's data folder: ``job.json`` says what is wanted, ``journal.ndjson`` how far it is
(each line is a whole snapshot: one that was cut by a crash is passed over), ``log.txt`` what happened, for people. Its
process holds a lock on the file ``lock`` from before it is started until it ends, however it ends: so it is known at
once whether it lives, whatever its process id was given to since.

A job that waits for its turn is a file ``queued`` in its folder, and no process; but for the next one, which is started
ahead, so that one turn follows the other though a process is killed. Whoever starts, ends or lists a job looks whether
another one is to be started.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
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
from rucio_lab.core.errors import ConfigurationError, Conflict, NotFound
from rucio_lab.core.jobs.job import Job
from rucio_lab.core.jobs.job_folder import (
    _alive,
    _Gone,
    _held,
    _in_queue,
    _is_id,
    _is_ours,
    _last,
    _size,
    _take,
    _write,
    write_snapshot,
)
from rucio_lab.core.model import Request
from rucio_lab.core.private import lab_folder, own_folder
from rucio_lab.core.text import printable
from rucio_lab.core.transfer.base_folder import checked_base

MOST_ACTIVE = 50
"""Most jobs that have not ended."""

_QUEUED = "It waits for its turn."
_MOST_WAITING = 8  # processes of jobs of an instance that wait for a sign-in and the like; others have their turn
_KEPT = 100  # jobs that ended; older ones are forgotten
_LOG = 200_000  # bytes of a log that are shown
_KILL = 10.0  # seconds in which a job that is cancelled ends by itself


class Jobs:
    """All jobs of the user.

    Parameters
    ----------
    folder
        Where they are kept; by default below Jupyter's data folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or lab_folder("jobs")

    # ---------------------------------------------------------------------------------------- what is known

    def all(self) -> list[Job]:
        """Give all jobs, the newest first."""
        self.start_next()  # where the processes that should have were killed
        return self._known()

    def _known(self) -> list[Job]:
        found = [self._look(folder) for folder in self._folders()]
        return sorted((job for job in found if job is not None), key=lambda job: (-job.created, job.id))

    def get(self, id: str) -> Job:
        """Give one job.

        Raises
        ------
        NotFound
            If there is none.
        """
        job = self._look(self._folder(id))
        if job is None:
            raise NotFound(f"There is no job {id!r}.", "`rucio-lab jobs` lists them.")
        return job

    def request(self, id: str) -> Request:
        """Give what a job is to download."""
        wanted = json.loads((self._folder(id) / "job.json").read_text(encoding="utf-8"))["request"]
        return msgspec.convert(wanted, Request)

    def log(self, id: str) -> str:
        """Give the end of the log of a job, without what a terminal would act on: its tools write there, too."""
        self.get(id)
        try:
            with (self._folder(id) / "log.txt").open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG))
                return "\n".join(map(printable, file.read().decode(errors="replace").split("\n")))
        except FileNotFoundError:
            return ""

    def stamp(self) -> dict[str, tuple[int, bool, bool]]:
        """Say cheaply how each job looks: if that has not changed, neither has the job."""
        return {
            folder.name: (_size(folder / "journal.ndjson"), _alive(folder), _in_queue(folder))
            for folder in self._folders()
        }

    def _folders(self) -> list[Path]:
        try:
            own_folder(self.folder, make=False)
            return [path for path in self.folder.iterdir() if _is_id(path.name) and _is_ours(path)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigurationError(
                f"The jobs in {self.folder} cannot be read: {error.strerror}.",
                "Let JUPYTER_DATA_DIR name a folder of your own.",
            ) from None

    def _folder(self, id: str) -> Path:
        if not _is_id(id):
            raise NotFound(f"There is no job {id!r}.", "`rucio-lab jobs` lists them.")
        return self.folder / id

    def _look(self, folder: Path) -> Job | None:
        if not _is_ours(folder):
            return None
        alive = _in_queue(folder) or _alive(folder)  # before its last words are read, or they could be missed
        try:
            wanted = json.loads((folder / "job.json").read_text(encoding="utf-8"))
            request = wanted["request"]
            asked = {"dids": request["dids"], "instance": request["instance"], "folder": wanted["folder"]}
            known = {**_last(folder / "journal.ndjson"), **asked, "id": folder.name, "created": wanted["created"]}
            job = msgspec.convert(known, Job)
        except (OSError, ValueError, KeyError, TypeError):  # a ValidationError is a ValueError
            return None
        if job.active and not (alive or _in_queue(folder) or _alive(folder)):  # it may just have been started again
            words = "Its process ended without a word: it was killed, or the machine was restarted."
            return dataclasses.replace(job, state="killed", message=words, waits_for="", rate=0.0, seconds_left=None)
        return job

    # ---------------------------------------------------------------------------------------- what is done

    def start(self, request: Request) -> Job:
        """Start a job, unless the same is under way.

        Parameters
        ----------
        request
            What to download; its instance is named.

        Returns
        -------
        Job
            The new one, or the one that is under way for the same DIDs and target.

        Raises
        ------
        ConfigurationError
            If nothing can be written where jobs are kept.
        Conflict
            If there are too many that have not ended.
        """
        base = checked_base(request.folder or load_downloads().folder)
        what = [request.instance, sorted(request.dids), str(base), bool(request.folder), *request.schemes, request.rse]
        name = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
        self._prune()
        folder = self._folder(name)
        while True:
            # when it is removed from the list just now, it begins anew
            with self._kept(), suppress(_Gone), self._then_next():
                own_folder(self.folder)
                folder.mkdir(mode=0o700, exist_ok=True)
                with _held(folder) as lock:
                    if lock is None or _in_queue(folder):
                        return self._here(name, lock)
                    self._check_room()
                    wanted = {"request": dataclasses.asdict(request), "folder": str(base), "created": time.time()}
                    _write(folder / "job.json", json.dumps(wanted))
                    return self._queue(name)

    def retry(self, id: str) -> Job:
        """Start a job again that ended; what came is kept, and is not fetched again."""
        self.get(id)
        folder = self._folder(id)
        with self._kept(), suppress(_Gone), self._then_next(), _held(folder) as lock:
            if lock is not None and not _in_queue(folder):
                self._check_room()
                return self._queue(id)
            return self._here(id, lock)
        return self.get(id)

    def cancel(self, id: str) -> Job:
        """End a job that is under way; what came is kept. Returns when it has ended.

        Raises
        ------
        Conflict
            If it runs on another machine, and does not end by itself.
        """
        job = self.get(id)
        folder = self._folder(id)
        if not job.active:
            return job
        with suppress(OSError):  # where it cannot be told, it is killed
            (folder / "cancel").touch()
        if _in_queue(folder):
            self._take_out(folder)
        until = time.monotonic() + _KILL
        while time.monotonic() < until and _alive(folder):
            time.sleep(0.05)
        if _alive(folder):
            self._kill(self.get(id))
        self.start_next()
        return self.get(id)

    def forget(self, id: str) -> None:
        """Remove a job that ended from the list; what it downloaded stays."""
        folder = self._folder(id)
        self.get(id)
        with self._kept(), suppress(_Gone), _held(folder) as lock:
            if lock is None or _in_queue(folder):
                raise Conflict(f"The job {id} is under way.", "Cancel it first.")
            gone = tempfile.mkdtemp(dir=self.folder)
            folder.replace(gone)  # in one step, or who starts it again could do so in what is half removed
            shutil.rmtree(gone, ignore_errors=True)

    # ---------------------------------------------------------------------------------------- the queue

    def _check_room(self) -> None:
        if sum(job.active for job in self._known()) >= MOST_ACTIVE:
            raise Conflict(
                f"There are {MOST_ACTIVE} downloads under way, or waiting for their turn, and there can be no more.",
                "Wait until one has ended, or cancel one.",
            )

    def _queue(self, id: str) -> Job:
        """Let a job wait for its turn; for who holds its lock."""
        folder = self._folder(id)
        (folder / "cancel").unlink(missing_ok=True)
        now = {"updated": time.time(), "pid": None, "host": os.uname().nodename}
        write_snapshot(folder, {"state": "queued", "message": _QUEUED, **now})
        (folder / "queued").touch()
        return self.get(id)

    def _here(self, id: str, lock: IO[bytes] | None) -> Job:
        """Let a job that waits for its turn on another machine do so on this one, where it is asked for now."""
        job = self.get(id)
        return self._queue(id) if lock is not None and job.host != os.uname().nodename else job

    def _take_out(self, folder: Path) -> None:
        """Cancel a job that has no process yet."""
        with self._kept(), suppress(_Gone), _held(folder) as lock:
            if lock is not None and _in_queue(folder):
                (folder / "queued").unlink()
                write_snapshot(folder, {"state": "cancelled", "message": "It was cancelled.", "updated": time.time()})

    @contextmanager
    def _then_next(self) -> Iterator[None]:
        """See to the queue when what is done with one job is done."""
        yield
        self.start_next()

    def start_next(self) -> bool:
        """Start what is next in the queue, if there is room and nobody did; give whether something was started."""
        if not any(map(_in_queue, self._folders())):
            return False
        with suppress(OSError, ConfigurationError), _alone(self.folder / "slots"):
            return self._start_queued()
        return False

    def _start_queued(self) -> bool:
        """Start jobs of the queue until there is one process more than may work at a time: that one waits."""
        active = [job for job in reversed(self._known()) if job.active]
        alive = [job for job in active if _alive(self._folder(job.id))]
        room = load_downloads().jobs + 1 - sum(job.state != "waiting" for job in alive)
        waiting = Counter(job.instance for job in alive if job.state == "waiting")
        here = [job for job in active if job not in alive and job.host == os.uname().nodename]
        here = [job for job in here if waiting[job.instance] < _MOST_WAITING]
        for job in here[: max(room, 0)]:
            with suppress(_Gone), _held(self._folder(job.id)) as lock:
                if lock is not None and _in_queue(self._folder(job.id)):
                    self._spawn(job.id, lock)
        return bool(here) and room > 0

    def _spawn(self, id: str, lock: IO[bytes]) -> None:
        """Start the process of a job; it inherits the lock as its standard input."""
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
                    "PYTHONIOENCODING": "utf-8:backslashreplace",  # the log can hold any name, in every locale
                },
            )
        (folder / "queued").unlink(missing_ok=True)  # not before: a job is never without queue and process

    def _kill(self, job: Job) -> None:
        """Kill a job that does not end by itself, if it is sure which process it is."""
        import psutil

        if job.host != os.uname().nodename or job.pid is None or job.started is None:
            raise Conflict(f"The job runs on {job.host or 'another machine'} and does not end.", "End it there.")
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(job.pid)
            if abs(process.create_time() - job.started) < 5:  # another may have its number by now
                os.kill(job.pid, signal.SIGKILL)
                process.wait(5)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Say what is wrong where nothing can be written."""
        try:
            yield
        except OSError as error:
            raise ConfigurationError(
                f"No job can be kept in {self.folder}: {error.strerror}.",
                "Let JUPYTER_DATA_DIR name a folder that can be written to.",
            ) from error

    def _prune(self) -> None:
        for job in [job for job in self.all() if not job.active][_KEPT:]:
            with suppress(Conflict, NotFound):
                self.forget(job.id)


# ------------------------------------------------------------------------------------------------ files and locks


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep others from starting what is next; where one of them hangs, a process too many is started, no job twice."""
    folder.mkdir(exist_ok=True)
    with (folder / "queue").open("ab") as lock:
        _take(lock, tries=100)
        yield
