"""The interface of all readers, whatever the protocol."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.model import Replica

Span = tuple[int, int]
"""The first byte, and the byte after the last."""

UNKNOWN = -1
"""The size of a file that Rucio's answer does not say: that of an archive."""

SLOWEST = 200_000.0
"""A storage that sends fewer bytes per second than this, on average over a request, counts as silent."""


class Reader(abc.ABC):
    """A replica that is open for reading. Several threads can use it at once. Close it when done."""

    def __init__(self, replica: Replica, size: int) -> None:
        self.replica = replica
        self.size = size

    @abc.abstractmethod
    def read(self, spans: Sequence[Span], silence: float) -> list[bytes]:
        """Read some parts of the file, all at once if the protocol allows it.

        Parameters
        ----------
        spans
            The bytes to read, all within the file.
        silence
            How long the storage may send nothing, in seconds.

        Raises
        ------
        StorageFailed
            If any part cannot be read completely.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Release its resources without waiting."""

    def __del__(self) -> None:
        self.close()


def wrong_size(found: int, registered: int) -> StorageFailed:
    """Say that the size of a replica differs from the one that Rucio has registered."""
    return StorageFailed(f"has {found:,} bytes, but Rucio has registered {registered:,}")
