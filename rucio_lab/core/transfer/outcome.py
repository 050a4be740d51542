"""What became of files that were to be downloaded, and how far a download is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rucio_lab.core.model import Replica, ResolvedFile


@dataclass(frozen=True, slots=True)
class Fault:
    """A replica that was of no use, and why."""

    rse: str
    reason: str
    concerns: str = "file"
    """What it speaks for; see `rucio_lab.core.errors.StorageFailed`."""

    def __str__(self) -> str:
        return f"{self.rse}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    Attributes
    ----------
    file
        The file.
    path
        Where it lies, or would lie.
    state
        ``there`` (it was there already, and right), ``fetched``, ``failed``, or ``stopped`` (its part is kept).
    replica
        Where it was fetched from, at the end.
    reason
        Why it failed, in words.
    faults
        Replicas that were of no use, also where another one was.
    """

    file: ResolvedFile
    path: Path
    state: Literal["there", "fetched", "failed", "stopped"]
    replica: Replica | None = None
    reason: str = ""
    faults: tuple[Fault, ...] = ()


@dataclass(slots=True)
class Progress:
    """How far a transfer is.

    Attributes
    ----------
    files, bytes
        All that is asked for.
    files_done, bytes_done
        What is here, verified files and parts of others.
    files_failed
        How many files cannot be had.
    fetched
        Bytes that came over the network, or from a mounted folder.
    """

    files: int = 0
    bytes: int = 0
    files_done: int = 0
    bytes_done: int = 0
    files_failed: int = 0
    fetched: int = 0
