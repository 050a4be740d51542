"""A job: a download in a process of its own, its state and its progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["queued", "running", "waiting", "done", "failed", "cancelled", "killed"]
"""``queued`` (waits for its turn), ``running`` or ``waiting`` (for what `Job.waits_for` says); at the end ``done``,
``failed`` (some files or all), ``cancelled`` or ``killed`` (its process ended unexpectedly)."""

ACTIVE = ("queued", "running", "waiting")


@dataclass(frozen=True, slots=True)
class Job:
    """A job at one moment.

    Attributes
    ----------
    id
        Identifier of the job, the same for the same DIDs and target.
    dids, instance, folder
        What is downloaded, and into which folder.
    created, started, updated
        Seconds since 1970 (UTC): when it was requested, when its process started (None before), last sign of life.
    state, message
        The state, and a sentence about it.
    waits_for
        While it waits: ``sign_in`` (to Rucio), ``credentials`` (for storages) or ``server`` (for Rucio to answer).
    files, bytes
        The totals; None until they are known.
    files_done, bytes_done, files_failed
        The progress.
    rate
        Bytes per second, lately.
    seconds_left
        Time left at that rate; None if it cannot be estimated.
    pid, host
        Its process, and the machine on which it runs.
    """

    id: str
    dids: tuple[str, ...]
    instance: str
    folder: str
    created: float
    started: float | None = None
    updated: float = 0.0
    state: State = "queued"
    message: str = ""
    waits_for: Literal["", "sign_in", "credentials", "server"] = ""
    files: int | None = None
    bytes: int | None = None
    files_done: int = 0
    bytes_done: int = 0
    files_failed: int = 0
    rate: float = 0.0
    seconds_left: float | None = None
    pid: int | None = None
    host: str = ""

    @property
    def active(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in ACTIVE
