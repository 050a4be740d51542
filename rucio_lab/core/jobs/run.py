"""The process of a job: it waits for its turn, a sign-in and Rucio, downloads the files, and writes the journal."""

from __future__ import annotations

import fcntl
import math
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import psutil

from rucio_lab.core.config.instances import load_downloads, load_instances
from rucio_lab.core.errors import Conflict, LakeBroken, LakeTooSlow, LakeUnreachable, RucioLabError, SignInNeeded
from rucio_lab.core.identity.signing_in import signed_in
from rucio_lab.core.identity.x509 import find_proxy
from rucio_lab.core.jobs.job import Job
from rucio_lab.core.jobs.job_folder import holds_lock, write_snapshot
from rucio_lab.core.jobs.registry import Jobs
from rucio_lab.core.locks import lock_path, work_in
from rucio_lab.core.model import Request
from rucio_lab.core.storage.storage_token import find_token
from rucio_lab.core.text import printable
from rucio_lab.core.transfer.download import Download, Result, Target, resolve_for_download
from rucio_lab.core.transfer.outcome import Progress
from rucio_lab.core.words import count

T = TypeVar("T")

_TICK = 0.2  # seconds between two checks whether the job was cancelled
_GRACE = 3.0  # seconds that a request to Rucio may then take to end
_SECONDS = 1.0  # between two snapshots, at first
_MOST_SECONDS = 5.0
_RATE_SECONDS = 15.0  # over which the rate is measured
_MOST_FAILURES = 1000  # failed files to name in the log
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0  # seconds before asking a Rucio again that does not answer
_LONGEST_LOOK = 30.0  # seconds before asking it again with the same sign-in that it refused
_PATIENCE = 86400.0  # seconds after which to give up
_PATIENCE_BROKEN = 600.0  # the same if it answers with an internal error, perhaps only to this request


class _Cancelled(Exception):  # noqa: N818 - never leaves this module
    """The job was cancelled."""


def run(jobs: Jobs, id: str) -> int:
    """Run a job to its end, in this process.

    Returns
    -------
    int
        Exit status: 0 if all files were downloaded.

    Raises
    ------
    NotFound
        If the job does not exist.
    Conflict
        If another process is running it.
    """
    job = jobs.get(id)
    folder = jobs.folder / id
    with lock_path(folder / "lock").open("ab") as lock:
        given = holds_lock(folder)
        if not given:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(f"The job {id} is already running.", "`rucio-lab jobs` shows its progress.") from None
        (folder / "queued").unlink(missing_ok=True)  # who started it may have been killed before that
        try:
            return _Run(jobs, job, jobs.request(id)).run()
        finally:  # before Python exits, which takes a while
            fcntl.flock(lock if not given else 0, fcntl.LOCK_UN)
            jobs.start_next()


class _Run:
    """A running job."""

    def __init__(self, jobs: Jobs, job: Job, request: Request) -> None:
        self._jobs = jobs
        self._job = job
        self._folder = jobs.folder / job.id
        self._request = request
        self._begun = time.monotonic()  # unlike the time of day, this never jumps
        self._snapshot: dict[str, Any] = {"pid": os.getpid(), "host": os.uname().nodename, "started": _process_start()}
        self._written = -math.inf
        self._rates: deque[tuple[float, int]] = deque()
        self._ended = threading.Event()
        self._turn: IO[bytes] | None = None

    def run(self) -> int:
        """Run the job, and record how it ended."""
        threading.Thread(target=self._watch_for_cancel, daemon=True).start()
        try:
            if not work_in(self._folder):
                self._say(f"The disk of {self._folder} has no file locks: only this machine knows if this job runs.")
            self._take_turn()
            self._note(state="running", message="Asking Rucio for the files.")
            return self._finish(self._download())
        except _Cancelled:
            self._end("cancelled", "It was cancelled; the files downloaded so far are kept.")
        except RucioLabError as error:
            self._end("failed", str(error))
        except BaseException as error:
            traceback.print_exc()  # to the log
            self._end("failed", f"It failed with an internal error ({type(error).__name__}); see the log.")
            raise
        return 1

    def _download(self) -> Result:
        """Download the files. If some fail, ask Rucio again and try once more."""
        again = False
        while True:
            result = self._try()
            concerns = {fault.concerns for outcome in result.failed for fault in outcome.faults}
            if "credentials" in concerns and self._wait_for_credentials():
                continue
            if not result.missing or again:
                return result
            self._say("Some files failed. Asking Rucio again.")
            again = True

    def _try(self) -> Result:
        """Resolve the files and fetch them."""
        target = Target(Path(self._job.folder), own=not self._request.folder)  # whatever is configured by now
        resolution = self._asked(lambda: resolve_for_download(self._request))
        download = self._asked(lambda: Download(resolution, target))
        files, size = count(len(resolution.files), "file"), count(download.progress.bytes, "byte")
        self._say(f"{files}, {size}, to {target.base}")
        result = download.run(lambda progress: self._tell(progress, len(resolution.missing)))
        self._written = -math.inf
        self._tell(download.progress, len(resolution.missing))
        return result

    # ---------------------------------------------------------------------------------------- waiting

    def _take_turn(self) -> None:
        """Wait for this job's turn, unless it has it. The oldest job that waits takes a free slot."""
        folder = self._jobs.folder / "slots"
        folder.mkdir(exist_ok=True)
        if self._turn is None:
            self._note(state="queued", message="It waits for its turn.")
        while self._turn is None:
            self._check_cancelled()
            if _has_free_slot(folder) and not any(  # look at the other jobs only if a slot is free
                job.state == "queued" and job.pid and job.created < self._job.created for job in self._jobs.all()
            ):
                self._turn = _free_slot(folder)
            if self._turn is None:
                time.sleep(2 * _TICK)
        self._jobs.start_next()  # start the process that is the next to wait for its turn

    def _wait(self, waits_for: str, message: str) -> None:
        """Record what the job waits for, and give its turn to another job meanwhile."""
        self._note(state="waiting", message=message, waits_for=waits_for)
        if self._turn is not None:
            self._turn.close()
            self._turn = None
            self._jobs.start_next()

    def _asked(self, ask: Callable[[], T]) -> T:
        """Ask Rucio. Without a sign-in, or while Rucio does not answer, record that and ask again later."""
        pause, begun = _FIRST_PAUSE, time.monotonic()
        look = _FIRST_PAUSE
        while True:
            try:
                answer = ask()
            except SignInNeeded as error:
                self._wait("sign_in", str(error))
                self._wait_for_sign_in(error, look)
                look = min(2 * look, _LONGEST_LOOK)
            except (LakeUnreachable, LakeTooSlow, LakeBroken) as error:
                if time.monotonic() - begun > (_PATIENCE_BROKEN if isinstance(error, LakeBroken) else _PATIENCE):
                    raise
                self._wait("server", f"{error.message} Rucio will be asked again.")
                self._pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._take_turn()
                return answer

    def _wait_for_sign_in(self, refusal: SignInNeeded, seconds: float) -> None:
        """Wait until it makes sense to ask again. A password that was refused is not tried over and over."""
        instance = load_instances().get(self._request.instance)
        refused = refusal.rucio is not None and instance.auth in ("userpass", "x509", "x509_proxy", "ssh", "gss")
        before = None if refused else signed_in(instance)
        until = time.monotonic() + (_LONGEST_PAUSE if refused else seconds)
        while time.monotonic() < until and signed_in(instance) == before:
            self._check_cancelled()
            time.sleep(2 * _TICK)

    def _wait_for_credentials(self) -> bool:
        """Wait until the storage credentials are valid again; False if nothing is wrong with them."""
        waited = False
        while True:
            instance = load_instances().get(self._request.instance)
            problem = find_token(instance)[1] or find_proxy(instance)[1]
            if not problem:
                if waited:
                    self._take_turn()
                return waited
            self._wait("credentials", problem)
            waited = True
            self._pause(2.0)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._check_cancelled()
            time.sleep(_TICK)

    # ---------------------------------------------------------------------------------------- being cancelled

    def _check_cancelled(self) -> None:
        if (self._folder / "cancel").exists() or not self._folder.exists():
            raise _Cancelled

    def _watch_for_cancel(self) -> None:
        """End the process even while it waits for Rucio, which cannot be interrupted."""
        while not self._ended.wait(_TICK):
            try:
                self._check_cancelled()
            except _Cancelled:
                if self._ended.wait(_GRACE):
                    return
                self._end("cancelled", "It was cancelled; the files downloaded so far are kept.")
                os._exit(1)

    # ---------------------------------------------------------------------------------------- journal and log

    def _tell(self, progress: Progress, missing: int) -> None:
        """Record the progress, less often the longer the job runs."""
        self._check_cancelled()
        now = time.monotonic()
        if now - self._written < min(_MOST_SECONDS, max(_SECONDS, (now - self._begun) / 200)):
            return
        self._rates.append((now, progress.fetched))
        while self._rates[0][0] < now - _RATE_SECONDS and len(self._rates) > 2:
            self._rates.popleft()
        (then, before), (_, fetched) = self._rates[0], self._rates[-1]
        rate = (fetched - before) / (now - then) if now > then else 0.0
        left = (progress.bytes - progress.bytes_done) / rate if rate > 0 else None
        self._note(
            state="running",
            message="",
            **_numbers(progress.files + missing, progress.bytes, progress.files_done, progress.bytes_done),
            files_failed=progress.files_failed + missing,
            rate=round(rate),
            seconds_left=None if left is None else round(left),
        )

    def _finish(self, result: Result) -> int:
        """Record the result, and give the exit status."""
        for note in result.notes():
            self._say(note)
        for did, reason in list(result.missing.items())[:_MOST_FAILURES]:
            self._say(f"{did} failed: {reason}")
        done = sum(outcome.file.bytes for outcome in result.downloaded)
        failed = sum(outcome.file.bytes for outcome in result.failed)
        self._snapshot |= _numbers(result.total, done + failed, len(result.downloaded), done)
        self._snapshot["files_failed"] = len(result.missing)
        if not result.missing:
            unchecked = len(result.unchecked())
            of = "it" if result.total == 1 else "them" if unchecked == result.total else f"{unchecked:,} of them"
            words = f" Rucio has no checksum of {of}, so only the size was checked." if unchecked else ""
            self._end("done", f"{count(result.total, 'file')} downloaded.{words}")
            return 0
        self._end("failed", f"{result.share_missing()} failed. Why: {result.reasons()[0]}.")
        return 1

    def _end(self, state: str, message: str) -> None:
        self._note(state=state, message=message, rate=0.0, seconds_left=None)
        self._ended.set()

    def _note(self, **changed: Any) -> None:
        """Write a snapshot. A new state or message goes to the log, too."""
        if (changed.get("state"), changed.get("message")) != (
            self._snapshot.get("state"),
            self._snapshot.get("message"),
        ):
            self._say(f"{changed['state']}{': ' if changed.get('message') else ''}{changed.get('message', '')}")
        self._written = time.monotonic()
        self._snapshot |= {"waits_for": "", **changed, "updated": time.time()}
        with suppress(OSError):  # this disk may be full, but not the one that is downloaded to
            write_snapshot(self._folder, self._snapshot)

    def _say(self, words: str) -> None:
        now = datetime.now().astimezone().isoformat(" ", "seconds")
        with suppress(OSError):  # as above
            print(f"{now}  {printable(words)}", flush=True)  # noqa: T201 - standard output is the log


def _free_slot(folder: Path) -> IO[bytes] | None:
    """Take the lock of a free slot; None if all jobs that may run at a time are running."""
    for number in range(load_downloads().jobs):
        slot = lock_path(folder / str(number)).open("ab")
        with suppress(BlockingIOError):
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return slot
        slot.close()
    return None


def _has_free_slot(folder: Path) -> bool:
    slot = _free_slot(folder)
    if slot is not None:
        slot.close()
    return slot is not None


def _numbers(files: int, size: int, files_done: int, bytes_done: int) -> dict[str, int]:
    return {"files": files, "bytes": size, "files_done": files_done, "bytes_done": bytes_done}


def _process_start() -> float:
    return float(psutil.Process().create_time())


def main() -> int:
    """Run the job that is named on the command line, in this process."""
    try:
        return run(Jobs(), sys.argv[1])
    except RucioLabError as error:
        print(error, flush=True)  # noqa: T201 - standard output is the log
        return 1


if __name__ == "__main__":
    sys.exit(main())
