"""Reading over root and roots, with XRootD's own client."""

from __future__ import annotations

import asyncio
import ctypes
import math
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswerYet
from contextlib import suppress
from functools import partial
from typing import Any

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.model import Replica
from rucio_lab.core.reading import xrootd, xrootd_calls
from rucio_lab.core.reading.http import wait_for
from rucio_lab.core.reading.reader import SLOWEST, UNKNOWN, Reader, Span, wrong_size
from rucio_lab.core.reasons import Reason
from rucio_lab.core.storage import http_status
from rucio_lab.core.storage.shown import why_refused
from rucio_lab.core.storage.tls import authority_paths

# Limits for one vector read; the first two are the defaults of XRootD servers.
_MOST_PARTS = 1024
_LARGEST_PART = 2097136  # bytes
_LARGEST_REQUEST = 32 << 20  # bytes

_NOT_AUTHORIZED = (3010, 3030, 3031)  # errors of a server: not authorized, authentication failed

_LOGIN_FAILED = (203, 204)  # errors of the client: login or authentication failed

_OVERLOADED = 3024  # error of a server

_NO_CONNECTION = 108  # error of the client

_EXPIRED = 206  # error of the client: the time limit of a request

_CLOSE = 10  # seconds

_SERVER_FAILED = range(101, 304)  # errors of the client: sockets, connections, time limits, invalid answers


class RootReader(Reader):
    """Reads through XRootD's own client, in threads that are abandoned if an answer takes too long."""

    _file: Any = None  # an interrupt can come before it is set

    def __init__(self, replica: Replica, instance: Instance, size: int, silence: float) -> None:
        from XRootD.client import File
        from XRootD.client.flags import OpenFlags

        self._file = File()
        super().__init__(replica, size)
        self._instance = instance
        xrootd.prepare()
        xrootd.trust(tuple(authority_paths(instance)))
        _set_property(self._file, "ReadRecovery", "false")  # we try other replicas ourselves
        try:
            url = xrootd.xrootd_url(replica, instance)
        except OSError as error:
            words = f"was not asked: no private folder could be created for its credentials ({error.strerror})"
            raise StorageFailed(words, "Check TMPDIR, and whether the disk is full.") from None
        self._call(self._file.open, url, OpenFlags.READ, silence=silence)
        _set_property(self._file, "FollowRedirects", "false")  # or a later one could lead to a local file
        if not self._file.get_property("LastURL").startswith(("root", "xroot")):
            self.close()
            raise StorageFailed("redirects to a file on this machine, which is not allowed")
        status = self._call(self._file.stat, silence=silence)  # no request: it came with the answer to open
        if status is not None and size not in (UNKNOWN, status.size):
            self.close()
            raise wrong_size(status.size, size)
        self.size = size if status is None else status.size

    def read(self, spans: Sequence[Span], silence: float) -> list[bytes]:
        """Read one part directly, or several by vector reads."""
        wanted = [span for span in spans if span[1] > span[0]]
        if len(wanted) == 1 and wanted[0][1] - wanted[0][0] <= _LARGEST_REQUEST:
            start, stop = wanted[0]
            content = self._call(self._file.read, start, stop - start, silence=silence, size=stop - start)
            read = [_whole(content, stop - start)]
        else:
            read = self._vector(wanted, silence)
        parts = iter(read)
        return [next(parts) if stop > start else b"" for start, stop in spans]

    def _vector(self, spans: Sequence[Span], silence: float) -> list[bytes]:
        buffers: list[bytes] = []
        for request in _requests(spans):
            size = sum(length for _, length in request)
            answer = self._call(self._file.vector_read, request, silence=silence, size=size)
            buffers += [
                _whole(chunk["buffer"] if isinstance(chunk, dict) else chunk.buffer, length)
                for chunk, (_, length) in zip(answer, request, strict=True)
            ]
        pieces = iter(buffers)
        return [b"".join(next(pieces) for _ in _pieces(start, stop)) for start, stop in spans]

    def _call(self, method: Callable[..., Any], *args: Any, silence: float, size: int = 0) -> Any:
        """Call XRootD, and wait for its answer within the time limit.

        XRootD reports nothing while a request is running. So after a while without an answer, we greet the server on a
        new connection: only if it greets back may a large request take longer.
        """
        most = silence + size / SLOWEST
        answer = xrootd_calls.start(partial(self._ask, method, args, math.ceil(most) + 1))
        try:
            status, response = self._wait(answer, most, silence)
        except ValueError:  # another thread's request found the connection broken
            raise StorageFailed("closed the connection", concerns="server", retry_after=0) from None
        if not status.ok:
            raise self._failure(status)
        return response

    def _ask(self, method: Callable[..., Any], args: tuple[Any, ...], seconds: int) -> Any:
        """Block until XRootD answers. This keeps the reader alive, so that it closes a file that opens too late."""
        return method(*args, timeout=seconds)

    def _wait(self, answer: Future[Any], most: float, silence: float) -> Any:
        with suppress(NoAnswerYet):
            return answer.result(0.75 * silence)
        there = _greets(self.replica, 0.25 * silence)
        try:
            return answer.result(most - 0.75 * silence if there else 0)
        except NoAnswerYet:
            if there:  # on a new connection; the old one may be dead
                xrootd.leave_connection(self.replica)
            again = 0 if there else None
            words = f"did not answer within {silence:g} s"
            raise StorageFailed(words, concerns="server", slow=there, retry_after=again) from None

    def _failure(self, status: Any) -> StorageFailed:
        said = " ".join(status.message.split())[:200].rstrip(".")
        if status.errno in _NOT_AUTHORIZED or status.code in _LOGIN_FAILED:
            return StorageFailed(why_refused(self.replica, self._instance, _brief(said)), concerns="credentials")
        if status.errno == 3011 or status.code == 304:
            return StorageFailed(f"has no such file ({_brief(said)})")
        if status.errno == _OVERLOADED:
            return http_status.busy(_brief(said))
        if status.code in _SERVER_FAILED:
            return _broken(status.code, said)
        return StorageFailed(f"answers with an error ({_brief(said)})")

    def close(self) -> None:
        """Close the file without waiting for an answer."""
        file = self._file
        if file is not None and file.is_open():
            with suppress(RuntimeError):  # at exit, when no thread can be started, XRootD closes all files
                xrootd_calls.start(lambda: file.close(timeout=_CLOSE))


def _broken(code: int, said: str) -> StorageFailed:
    """Say what happened to a connection."""
    if code == 110:
        return StorageFailed("has no TLS certificate, or one that is not trusted here", concerns="server")
    if code == _EXPIRED:  # or the server asked to wait beyond the time limit
        return StorageFailed("did not answer in time", concerns="server", slow=True)
    words = "cannot be reached" if code == _NO_CONNECTION else f"broke off ({_brief(said)})"
    return StorageFailed(words, concerns="server", retry_after=0)


def _set_property(file: Any, name: str, value: str) -> None:
    """Set a property of an XRootD file, and restore the reference that this loses.

    XRootD (at least 6.2) returns True without counting the reference. Before Python 3.12, where True can be freed, this
    would abort the process after some thousand files. One reference too many is harmless.
    """
    answer = file.set_property(name, value)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(answer))


def _brief(said: str) -> str:
    """Remove XRootD's prefixes, and anything that could be an address with secrets in it."""
    return re.sub(r"\S+[?]\S+", "...", re.sub(r"^\[(ERROR|FATAL)\]\s*", "", said)) or "no reason given"


def _whole(content: bytes | None, length: int) -> bytes:
    content = content or b""
    if len(content) != length:
        raise StorageFailed(f"sent {len(content):,} of {length:,} bytes")
    return bytes(content)


def _pieces(start: int, stop: int) -> list[tuple[int, int]]:
    """Cut a part of a file into pieces that a vector read accepts, as (offset, length)."""
    return [(offset, min(_LARGEST_PART, stop - offset)) for offset in range(start, stop, _LARGEST_PART)]


def _requests(spans: Sequence[Span]) -> list[list[tuple[int, int]]]:
    """Pack the pieces into as few vector reads as servers allow."""
    requests: list[list[tuple[int, int]]] = []
    room = 0
    for start, stop in spans:
        for offset, length in _pieces(start, stop):
            if not requests or length > room or len(requests[-1]) == _MOST_PARTS:
                requests.append([])
                room = _LARGEST_REQUEST
            requests[-1].append((offset, length))
            room -= length
    return requests


def _greets(replica: Replica, seconds: float) -> bool:
    """Whether the server of a replica responds at all."""

    async def ask() -> Reason | None:
        return await asyncio.wait_for(xrootd.greet(replica.url), seconds)

    try:
        return wait_for(ask()) is None
    except (OSError, TimeoutError, NoAnswerYet, ValueError):
        return False
