"""What a reader of one replica does, whatever the protocol."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.model import Replica

Span = tuple[int, int]
"""First byte, and the byte after the last."""


SLOWEST = 200_000.0
"""A storage that sends fewer bytes a second than this, on the whole of a request, counts as silent."""


class Reader(abc.ABC):
    """One replica, open for reading. Can be used by several threads at once; close it when done."""

    def __init__(self, replica: Replica, size: int) -> None:
        self.replica = replica
        self.size = size

    @abc.abstractmethod
    def read(self, spans: Sequence[Span], silence: float) -> list[bytes]:
        """Read some parts of the file, all at once where the protocol can.

        Parameters
        ----------
        spans
            Which bytes; all within the file.
        silence
            How long the storage may be silent, in seconds.

        Raises
        ------
        StorageFailed
            If any of them cannot be had, whole.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Give up what it holds. Does not wait."""

    def __del__(self) -> None:
        self.close()


def wrong_size(found: int, registered: int) -> StorageFailed:
    """Say that a replica has not the size that Rucio has registered."""
    return StorageFailed(f"has {found:,} bytes, but Rucio has registered {registered:,}")
