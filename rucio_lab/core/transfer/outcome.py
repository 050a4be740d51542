"""The outcome of downloading a file, and the progress of a download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rucio_lab.core.model import Replica, ResolvedFile


@dataclass(frozen=True, slots=True)
class Fault:
    """A replica that could not be used, and why."""

    rse: str
    reason: str
    concerns: str = "file"
    """What is affected; see `rucio_lab.core.errors.StorageFailed`."""

    def __str__(self) -> str:
        return f"{self.rse}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of downloading one file.

    Attributes
    ----------
    file
        The file.
    path
        The target on this machine.
    state
        ``there`` (it already existed and is correct), ``fetched``, ``failed``, or ``stopped`` (the partial file is
        kept).
    replica
        The replica that gave the last part of it.
    reason
        Why it failed.
    faults
        Replicas that could not be used, even if another one worked.
    """

    file: ResolvedFile
    path: Path
    state: Literal["there", "fetched", "failed", "stopped"]
    replica: Replica | None = None
    reason: str = ""
    faults: tuple[Fault, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether its checksum was compared with Rucio's, and not only its size."""
        return self.state in ("there", "fetched") and bool(self.file.adler32 or self.file.md5)


@dataclass(slots=True)
class Progress:
    """The progress of a download.

    Attributes
    ----------
    files, bytes
        Everything that was requested.
    files_done, bytes_done
        What is on this machine: verified files, for the bytes also partial files.
    files_failed
        Number of files that failed.
    fetched
        Bytes that were read from storages, over the network or from a mounted folder.
    """

    files: int = 0
    bytes: int = 0
    files_done: int = 0
    bytes_done: int = 0
    files_failed: int = 0
    fetched: int = 0
