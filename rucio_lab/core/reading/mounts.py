"""Reading from a mounted folder, which may be dead."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.model import Replica
from rucio_lab.core.reading.reader import SLOWEST, UNKNOWN, Reader, Span, wrong_size

_T = TypeVar("_T")


class LocalReader(Reader):
    """Reads a file on a mount, in separate threads, which are abandoned if the mount is dead and never answers."""

    _handle = -1

    def __init__(self, replica: Replica, size: int, silence: float) -> None:
        super().__init__(replica, size)
        self._handle = _in_thread(lambda: os.open(replica.url, os.O_RDONLY), silence)
        found = _in_thread(lambda: os.fstat(self._handle).st_size, silence)
        if size not in (UNKNOWN, found):
            self.close()
            raise wrong_size(found, size)
        self.size = found

    def read(self, spans: Sequence[Span], silence: float) -> list[bytes]:
        """Read the parts one after another."""
        size = sum(stop - start for start, stop in spans)
        return _in_thread(lambda: [self._part(*span) for span in spans], silence + size / SLOWEST)

    def _part(self, start: int, stop: int) -> bytes:
        content = b""
        while len(content) < stop - start:
            more = os.pread(self._handle, stop - start - len(content), start + len(content))
            if not more:
                raise StorageFailed(f"ends after {start + len(content):,} of {self.size:,} bytes")
            content += more
        return content

    def close(self) -> None:
        """Close the file."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with suppress(OSError):
                os.close(handle)


def _in_thread(work: Callable[[], _T], seconds: float) -> _T:
    """Run a function that may never return; give up after some seconds."""
    done: list[_T] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(work())
        except (OSError, ValueError, StorageFailed) as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True, name="rucio-lab-mount")
    thread.start()
    thread.join(seconds)
    if failed:
        error = failed[0]
        raise error if isinstance(error, StorageFailed) else StorageFailed(f"cannot be read ({_strerror(error)})")
    if not done:
        raise StorageFailed(f"did not answer within {seconds:g} s", concerns="server")
    return done[0]


def _strerror(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
