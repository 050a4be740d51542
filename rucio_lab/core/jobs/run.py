"""The process of a job: waits for its turn, for a sign-in and for Rucio; downloads, and keeps the journal."""

from __future__ import annotations

import fcntl
import math
import os
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TypeVar

from rucio_lab.core.config.instances import load_downloads, load_instances
from rucio_lab.core.errors import Conflict, LakeBroken, LakeTooSlow, LakeUnreachable, RucioLabError, SignInNeeded
from rucio_lab.core.jobs.registry import Job, Jobs, holds_lock, write_snapshot
from rucio_lab.core.model import Request
from rucio_lab.core.text import printable
from rucio_lab.core.transfer.fetch import Outcome, Progress, Transfer

T = TypeVar("T")

_TICK = 0.2  # seconds between two looks at whether it was cancelled
_GRACE = 3.0  # seconds in which a question to Rucio may end by itself then
_SECONDS = 1.0  # between two snapshots, at first
_MOST_SECONDS = 5.0
_RATE_SECONDS = 15.0  # over which the rate is taken
_MOST_FAILURES = 1000  # files that are named in the log
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0  # seconds before a Rucio is asked again that does not answer
_LONGEST_LOOK = 30.0  # seconds before it is asked again with a sign-in that looks as the one it refused
_PATIENCE = 86400.0  # seconds for which that is tried
_PATIENCE_BROKEN = 600.0  # the same where it answers, with an error of its own: perhaps to this question alone


class _Cancelled(Exception):  # noqa: N818 - never leaves this module
    """Somebody cancelled the job."""


def run(jobs: Jobs, id: str) -> int:
    """Run a job to its end, in this process.

    Returns
    -------
    int
        Exit status: 0 if all files are there.

    Raises
    ------
    NotFound
        If there is no such job.
    Conflict
        If another process runs it.
    """
    job = jobs.get(id)
    folder = jobs.folder / id
    with (folder / "lock").open("ab") as lock:
        given = holds_lock(folder)
        if not given:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(f"The job {id} is under way.", "`rucio-lab jobs` shows how far it is.") from None
        (folder / "queued").unlink(missing_ok=True)  # where who started it was killed before
        try:
            return _Run(jobs, job, jobs.request(id)).run()
        finally:  # Python takes a while to end
            fcntl.flock(lock if not given else 0, fcntl.LOCK_UN)
            jobs.start_next()


class _Run:
    """A job while it runs."""

    def __init__(self, jobs: Jobs, job: Job, request: Request) -> None:
        self._jobs = jobs
        self._job = job
        self._folder = jobs.folder / job.id
        self._request = request
        self._begun = time.monotonic()  # the time of day can jump
        self._snapshot: dict[str, Any] = {"pid": os.getpid(), "host": os.uname().nodename, "started": _process_start()}
        self._written = -math.inf
        self._rates: deque[tuple[float, int]] = deque()
        self._ended = threading.Event()
        self._turn: IO[bytes] | None = None

    def run(self) -> int:
        """Do all of it, and write down how it ended."""
        threading.Thread(target=self._watch_for_cancel, daemon=True).start()
        try:
            self._take_turn()
            self._note(state="running", message="Rucio is asked for the files.")
            outcomes = self._download()
            return self._finish(outcomes)
        except _Cancelled:
            self._end("cancelled", "It was cancelled; what came is kept.")
        except RucioLabError as error:
            self._end("failed", str(error))
        except BaseException as error:
            traceback.print_exc()  # to the log
            self._end("failed", f"It broke: {type(error).__name__}. The log has more.")
            raise
        return 1

    def _download(self) -> list[Outcome]:
        """Bring the files; those that failed a second time, with what Rucio says of them then."""
        again = False
        while True:
            outcomes = self._bring(self._request)
            failed = [outcome for outcome in outcomes if outcome.state == "failed"]
            concerns = {fault.concerns for outcome in failed for fault in outcome.faults}
            if "credentials" in concerns and self._wait_for_credentials():
                continue
            if not failed or again:
                return outcomes
            self._say("Some files failed; Rucio is asked again.")
            again = True

    def _bring(self, request: Request) -> list[Outcome]:
        from rucio_lab.core.resolve.resolution import resolve
        from rucio_lab.core.transfer.download import Target, remote_files, transfer_of

        instance = load_instances().get(request.instance)
        target = Target(Path(self._job.folder), own=not request.folder)  # whatever is configured since, and from where
        wanted = replace(request, access="download", allow_missing=True)
        resolution = self._asked(lambda: resolve(wanted))
        files = self._asked(lambda: remote_files(resolution.files, instance))
        transfer: Transfer = transfer_of(files, instance, target)
        total = transfer.progress.bytes
        self._say(f"{len(resolution.files):,} files, {total:,} bytes, to {target.base}")
        outcomes = transfer.run(lambda progress: self._tell(progress, len(resolution.missing)))
        self._written = -math.inf
        self._tell(transfer.progress, len(resolution.missing))
        return [*outcomes, *(_lost(did, reason) for did, reason in resolution.missing.items())]

    # ---------------------------------------------------------------------------------------- waiting

    def _take_turn(self) -> None:
        """Wait for the turn of this job, unless it has it: the oldest that waits takes what is free."""
        folder = self._jobs.folder / "slots"
        folder.mkdir(exist_ok=True)
        if self._turn is None:
            self._note(state="queued", message="It waits for its turn.")
        while self._turn is None:
            self._check_cancelled()
            if _has_free_slot(folder) and not any(  # the others are looked at only then
                job.state == "queued" and job.pid and job.created < self._job.created for job in self._jobs.all()
            ):
                self._turn = _free_slot(folder)
            if self._turn is None:
                time.sleep(2 * _TICK)
        self._jobs.start_next()  # which then waits for its turn

    def _wait(self, waits_for: str, message: str) -> None:
        """Say that it waits, and for what; others may have their turn meanwhile."""
        self._note(state="waiting", message=message, waits_for=waits_for)
        if self._turn is not None:
            self._turn.close()
            self._turn = None
            self._jobs.start_next()

    def _asked(self, ask: Callable[[], T]) -> T:
        """Ask Rucio; where nobody is signed in, or it does not answer, say so and ask again until that is mended."""
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
                self._wait("server", f"{error.message} It is asked again.")
                self._pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._take_turn()
                return answer

    def _wait_for_sign_in(self, refusal: SignInNeeded, seconds: float) -> None:
        """Wait until it makes sense to ask again: a password that was refused is not tried over and over."""
        from rucio_lab.core.identity.client import signed_in

        instance = load_instances().get(self._request.instance)
        refused = refusal.rucio is not None and instance.auth in ("userpass", "x509", "x509_proxy", "ssh", "gss")
        before = None if refused else signed_in(instance)
        until = time.monotonic() + (_LONGEST_PAUSE if refused else seconds)
        while time.monotonic() < until and signed_in(instance) == before:
            self._check_cancelled()
            time.sleep(2 * _TICK)

    def _wait_for_credentials(self) -> bool:
        """Wait until what is shown to storages is of use again; False if nothing is wrong with it."""
        from rucio_lab.core.identity.x509 import find_proxy
        from rucio_lab.core.storage.storage_token import find_token

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
        """End the process though it waits for Rucio, which cannot be interrupted."""
        while not self._ended.wait(_TICK):
            try:
                self._check_cancelled()
            except _Cancelled:
                if self._ended.wait(_GRACE):
                    return
                self._end("cancelled", "It was cancelled; what came is kept.")
                os._exit(1)

    # ---------------------------------------------------------------------------------------- journal and log

    def _tell(self, progress: Progress, missing: int) -> None:
        """Write down how far it is, more seldom the longer it takes."""
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

    def _finish(self, outcomes: Sequence[Outcome]) -> int:
        """Write down what came of it."""
        from rucio_lab.core.transfer.download import notes_of

        failed = [outcome for outcome in outcomes if outcome.state == "failed"]
        here = [outcome for outcome in outcomes if outcome.state in ("there", "fetched")]
        for note in notes_of(outcomes):
            self._say(note)
        for outcome in failed[:_MOST_FAILURES]:
            self._say(f"{outcome.file.did} failed: {outcome.reason}")
        size = sum(outcome.file.bytes for outcome in here)
        self._snapshot |= _numbers(len(outcomes), sum(outcome.file.bytes for outcome in outcomes), len(here), size)
        self._snapshot["files_failed"] = len(failed)
        if not failed:
            self._end("done", f"All {len(outcomes):,} files are there.")
            return 0
        why = Counter(outcome.reason for outcome in failed).most_common(1)[0][0]
        self._end("failed", f"{len(failed):,} of {len(outcomes):,} files failed. Why: {why}.")
        return 1

    def _end(self, state: str, message: str) -> None:
        self._note(state=state, message=message, rate=0.0, seconds_left=None)
        self._ended.set()

    def _note(self, **changed: Any) -> None:
        """Write a snapshot; what changed in words goes to the log, too."""
        if (changed.get("state"), changed.get("message")) != (
            self._snapshot.get("state"),
            self._snapshot.get("message"),
        ):
            self._say(f"{changed['state']}{': ' if changed.get('message') else ''}{changed.get('message', '')}")
        self._written = time.monotonic()
        self._snapshot |= {"waits_for": "", **changed, "updated": time.time()}
        with suppress(OSError):  # a full disk keeps nobody from downloading to another
            write_snapshot(self._folder, self._snapshot)

    def _say(self, words: str) -> None:
        now = datetime.now().astimezone().isoformat(" ", "seconds")
        with suppress(OSError):  # as above
            print(f"{now}  {printable(words)}", flush=True)  # noqa: T201 - standard output is the log


def _free_slot(folder: Path) -> IO[bytes] | None:
    """Take the lock of one of those who work at a time; None if all are taken."""
    for number in range(load_downloads().jobs):
        slot = (folder / str(number)).open("ab")
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


def _lost(did: Any, reason: str) -> Outcome:
    from rucio_lab.core.model import ResolvedFile

    return Outcome(ResolvedFile(did, (), 0, None, ()), Path(), "failed", None, reason)


def _process_start() -> float:
    import psutil

    return float(psutil.Process().create_time())


def main() -> int:
    """Run the job that the command line names, as its own process does."""
    try:
        return run(Jobs(), sys.argv[1])
    except RucioLabError as error:
        print(error, flush=True)  # noqa: T201 - standard output is the log
        return 1


if __name__ == "__main__":
    sys.exit(main())
