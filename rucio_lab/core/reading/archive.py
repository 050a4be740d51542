"""A file in a zip archive. Its archive's index and its own bytes are read by ranges, never the whole archive.

A stored member is a range of the archive. A deflated one is unpacked from its beginning, as far as it is read, into a
temporary file without a name.
"""

from __future__ import annotations

import io
import os
import struct
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.reading.reader import Reader, Span

_TAIL = 66_000  # bytes at the end of an archive that hold the end of its index, whatever its comment
_MOST_INDEX = 16 << 20  # bytes; an index of 100,000 files has about 10 MB
_CHUNK = 4 << 20  # bytes to unpack at a time
_HEADER = struct.Struct("<4s22xHH")  # in front of each member: its magic number, and the lengths of name and extra data
_ENCRYPTED = 0x1
_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, ValueError, EOFError)

_REMEMBER = 300.0  # seconds
_MOST_INDEXES = 4
_indexes: dict[tuple[str, str, int], tuple[dict[str, zipfile.ZipInfo], float]] = {}  # RSE, address, size -> members


class MemberReader(Reader):
    """Reads a member of an archive.

    Parameters
    ----------
    archive
        The open archive. Its own reader closes when nobody uses it any longer.
    name
        Name of the member.
    size
        Its size in bytes, as registered in Rucio.
    silence
        How long the storage may send nothing, in seconds.
    """

    _unpacked: IO[bytes] | None = None

    def __init__(self, archive: Reader, name: str, size: int, silence: float) -> None:
        super().__init__(archive.replica, size)
        self._archive = archive
        self._lock = threading.Lock()
        self._bytes = _Ranges(archive, silence)
        with _reading_zip():
            member = _checked(_index_of(self._bytes, archive), name, size)
            self._start = self._start_of(member)
        self._stored = member.compress_type == zipfile.ZIP_STORED
        self._stop = self._start + member.compress_size
        self._expected, self._found = member.CRC, 0
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._at = 0

    def _start_of(self, member: zipfile.ZipInfo) -> int:
        self._bytes.seek(member.header_offset)
        magic, name, extra = _HEADER.unpack(self._bytes.read(_HEADER.size))
        start: int = member.header_offset + _HEADER.size + name + extra
        if magic != b"PK\3\4" or start + member.compress_size > self._bytes.size:
            raise zipfile.BadZipFile("its index is wrong")
        return start

    def read(self, spans: Sequence[Span], silence: float) -> list[bytes]:
        """Read parts of a stored member as ranges of the archive; unpack a deflated one as far as necessary."""
        if self._stored:
            return self._archive.read([(self._start + start, self._start + stop) for start, stop in spans], silence)
        with self._lock, _reading_zip():
            self._bytes.silence = silence
            try:
                handle = self._unpack(max(stop for _, stop in spans))
                return [os.pread(handle, stop - start, start) for start, stop in spans]
            except OSError as error:
                raise StorageFailed(f"cannot be unpacked on this machine ({error.strerror})") from None

    def _unpack(self, stop: int) -> int:
        """Unpack the member up to a byte, and never more than its size. Gives the open temporary file."""
        if self._unpacked is None:
            self._bytes.seek(self._start)
            self._unpacked = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this reader
        while self._at < stop:
            packed = self._inflate.unconsumed_tail or self._bytes.read(min(_CHUNK, self._stop - self._bytes.tell()))
            some = self._inflate.decompress(packed, min(_CHUNK, self.size - self._at))
            if not some and (self._inflate.eof or not packed):
                raise zipfile.BadZipFile(f"the file in it ends after {self._at:,} of {self.size:,} bytes")
            self._unpacked.write(some)
            self._at += len(some)
            self._found = zlib.crc32(some, self._found)
        self._unpacked.flush()
        if self._at == self.size and self._found != self._expected:
            raise zipfile.BadZipFile("the file in it has another CRC-32 than its index says")
        return self._unpacked.fileno()

    def close(self) -> None:
        """Remove what was unpacked."""
        if self._unpacked is not None:
            self._unpacked.close()


def _index_of(content: _Ranges, archive: Reader) -> dict[str, zipfile.ZipInfo]:
    """Read the index of an archive. It is kept for a while, because many files are often in the same archive."""
    key = archive.replica.rse, archive.replica.url, content.size
    members, read = _indexes.get(key, ({}, 0.0))
    if not members or read < time.monotonic() - _REMEMBER:
        content.fetch_tail()
        members = {member.filename: member for member in zipfile.ZipFile(content).infolist()}
        if len(_indexes) >= _MOST_INDEXES:
            _indexes.clear()
        _indexes[key] = members, time.monotonic()
    return members


def _checked(members: dict[str, zipfile.ZipInfo], name: str, size: int) -> zipfile.ZipInfo:
    """Find a member by exactly its name; refuse one that cannot be what Rucio has registered."""
    member = members.get(name)
    if member is None:
        raise StorageFailed("is an archive without this file")
    stored = member.compress_type == zipfile.ZIP_STORED
    if member.flag_bits & _ENCRYPTED:
        raise StorageFailed("is an archive with this file encrypted")
    if not (stored or member.compress_type == zipfile.ZIP_DEFLATED):
        raise StorageFailed("is an archive with this file packed by a method that cannot be read (not deflate)")
    if member.file_size != size or (stored and member.compress_size != size):
        found = f"{member.file_size:,} bytes"
        raise StorageFailed(f"is an archive with {found} of this file, but Rucio has registered {size:,}")
    return member


@contextmanager
def _reading_zip() -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise StorageFailed(f"is not a zip archive that can be read ({error})") from None


class _Ranges(io.RawIOBase):
    """An archive as a file, for zipfile."""

    def __init__(self, reader: Reader, silence: float) -> None:
        super().__init__()
        self.silence = silence
        self._reader = reader
        if reader.size < 0:
            reader.read([(0, 1)], silence)  # a web server says the size with its first answer
        self.size = reader.size
        self._position = 0
        self._tail = self.size, b""

    def fetch_tail(self) -> None:
        """Read the last bytes ahead, where zipfile looks several times."""
        start = max(0, self.size - _TAIL)
        self._tail = start, self._part(start, self.size)

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence])
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        begin = min(self._position, self.size)
        end = self.size if size is None or size < 0 else min(begin + size, self.size)
        if end - begin > _MOST_INDEX:
            raise StorageFailed(f"is an archive with an index of more than {_MOST_INDEX >> 20} MB")
        self._position = end
        start, tail = self._tail
        return tail[begin - start : end - start] if begin >= start else self._part(begin, end)

    def _part(self, begin: int, end: int) -> bytes:
        return self._reader.read([(begin, end)], self.silence)[0] if end > begin else b""
