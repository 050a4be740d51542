"""A download as a job: what is known of it, and the states that it goes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["queued", "running", "waiting", "done", "failed", "cancelled", "killed"]
"""``queued`` (waits for its turn), ``running``, ``waiting`` (for what `Job.waits_for` says), and how it ended:
``done``, ``failed`` (some files, or all), ``cancelled``, ``killed`` (its process ended without a word)."""

ACTIVE = ("queued", "running", "waiting")


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was when somebody looked.

    Attributes
    ----------
    id
        Of the job: the same for the same DIDs and target.
    dids, instance, folder
        What is downloaded, and where to.
    created, started, updated
        Seconds since 1970 (UTC): when it was asked for, when its process began (None before), last sign of life.
    state, message
        How it is, and a sentence on it.
    waits_for
        While it waits: ``sign_in`` (to Rucio), ``credentials`` (what storages are shown) or ``server`` (Rucio itself).
    files, bytes
        All of it; None as long as that is not known.
    files_done, bytes_done, files_failed
        How far it is.
    rate
        Bytes a second, lately.
    seconds_left
        At that rate; None where that cannot be said.
    pid, host
        Its process, and the machine that it runs on.
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
        """Whether it has not ended."""
        return self.state in ACTIVE
