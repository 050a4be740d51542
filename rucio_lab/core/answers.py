"""Answers of untrusted web servers: limited in time and memory, and stopped when nobody waits for them.

requests and urllib3 limit only the silence of a server. A server that sends a byte now and then could keep them waiting
forever, and a well compressed answer could fill the memory. Here a connection checks several times a second whether its
time is over or its reader has left, and counts the bytes it receives; an answer counts them after decompression.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

MOST_BYTES = 64 << 20
"""Longest answer that is not a list of rows, in bytes after decompression."""

MOST_LINE = 1 << 20
"""Longest line of a list, in bytes."""

MOST_ERROR = 1 << 20
"""Longest answer that is an error, in bytes."""

MOST_HEAD = 256 << 10
"""Longest headers of an answer, in bytes."""

MOST_SECONDS = 3600.0
"""Longest time for one answer in total, in seconds, however steadily it arrives."""

_LOOK = 0.1  # seconds between two checks whether its reader has left
_CHUNK = 65536


class Left(BaseException):
    """Nobody waits for the answer any more. Not an Exception, so that nothing catches it, as for a cancelled task."""


class TooLong(ValueError):  # noqa: N818
    """An answer is longer than allowed."""


# ------------------------------------------------------------------------------------------------ readers that leave


class _OfThread(threading.local):
    events: tuple[threading.Event, ...] = ()


_of_thread = _OfThread()


@contextmanager
def until(*left: threading.Event) -> Iterator[None]:
    """Stop the requests of this thread with `Left` as soon as one of the events is set."""
    before = _of_thread.events
    _of_thread.events = (*before, *left)
    try:
        yield
    finally:
        _of_thread.events = before


def reasons_to_leave() -> tuple[threading.Event, ...]:
    """Give the events that stop the requests of this thread, to pass them on to other threads."""
    return _of_thread.events


def _check_left() -> None:
    if any(event.is_set() for event in _of_thread.events):
        raise Left


# ------------------------------------------------------------------------------------------------ connections


class _Wire(io.RawIOBase):
    """The bytes of one answer as they arrive.

    Each step (the headers, the body, the next row) has a limit in bytes, and may take as long as silence may last.
    """

    def __init__(self, connected: socket.socket, file: io.RawIOBase) -> None:
        super().__init__()
        self._socket = connected
        self._file = file  # keeps the socket open
        self._silence = connected.gettimeout() or MOST_SECONDS
        self._spent = 0.0
        self.allow(MOST_HEAD)

    def allow(self, size: int) -> None:
        """Start the next step."""
        self._room = size
        self._until = time.monotonic() + min(self._silence, MOST_SECONDS - self._spent)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        begin = time.monotonic()
        try:
            count = self._receive(buffer)
        finally:
            self._spent += time.monotonic() - begin
            self._socket.settimeout(self._silence)
        self._room -= count
        if self._room < 0:
            raise TooLong("it is too long")
        return count

    def _receive(self, buffer: Any) -> int:
        while (seconds := self._until - time.monotonic()) > 0:
            _check_left()
            self._socket.settimeout(min(_LOOK, seconds))
            try:
                return self._socket.recv_into(buffer)
            except TimeoutError:
                continue
        raise TimeoutError("timed out")

    def close(self) -> None:
        self._file.close()
        super().close()


class _Received(http.client.HTTPResponse):
    wire: _Wire

    def __init__(self, connected: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(connected, *args, **kwargs)
        self.wire = _Wire(connected, self.fp.detach())
        self.fp = io.BufferedReader(self.wire, _CHUNK)


class _Connection(urllib3.connection.HTTPConnection):
    response_class = _Received


class _SecureConnection(urllib3.connection.HTTPSConnection):
    response_class = _Received


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


POOLS: dict[str, type[urllib3.HTTPConnectionPool]] = {"http": _Pool, "https": _SecurePool}
"""The ``pool_classes_by_scheme`` for urllib3's pool managers."""


# ------------------------------------------------------------------------------------------------ answers


class Answer(requests.Response):
    """An answer of limited length, however it is read."""

    def iter_content(self, chunk_size: int | None = 1, decode_unicode: bool = False) -> Iterator[Any]:
        """Give the body in pieces, at most `MOST_BYTES` in total."""
        most = MOST_BYTES if self.status_code < requests.codes.bad_request else MOST_ERROR
        self._allow(2 * most)  # before decompression, with the overhead of chunks
        left = most
        for chunk in super().iter_content(chunk_size, decode_unicode):
            left -= len(chunk)
            if left < 0:
                self.close()
                raise TooLong(f"it is longer than {most >> 20} MB")
            yield chunk

    def rows(self) -> Iterator[bytes]:
        """Give the lines of a list as they arrive, without empty ones."""
        parts: list[bytes] = []  # of an incomplete line
        size = 0
        self._allow(2 * MOST_LINE)
        while chunk := self.raw.read1(_CHUNK, decode_content=True):
            first, *lines = chunk.split(b"\n")
            parts.append(first)
            size += len(first)
            if size > MOST_LINE:
                raise TooLong(f"one of its lines is longer than {MOST_LINE >> 20} MB")
            if not lines:
                continue
            whole, parts = [b"".join(parts), *lines[:-1]], [lines[-1]]
            size = len(lines[-1])
            if rows := [line for line in whole if not line.isspace() and line]:
                yield from rows
                self._allow(2 * MOST_LINE)
        if (last := b"".join(parts)) and not last.isspace():
            yield last

    def _allow(self, size: int) -> None:
        wire = getattr(getattr(self.raw, "_original_response", None), "wire", None)
        if wire is not None:  # there is none with a SOCKS proxy
            wire.allow(size)


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = POOLS
        return manager

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        answer = super().build_response(req, resp)
        answer.__class__ = Answer
        answer.encoding = answer.encoding or "utf-8"  # guessing it is slow for long answers
        return answer


class Session(requests.Session):
    """A session with limited answers, which sends no request when nobody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.max_redirects = 5
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter())

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send one request."""
        _check_left()
        answer = super().send(request, **kwargs)
        if answer.status_code == requests.codes.proxy_authentication_required:
            raise requests.exceptions.ProxyError("the proxy asks for credentials (HTTP 407)", request=request)
        return answer
