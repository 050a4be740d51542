"""Reading one replica: byte ranges over http(s), root(s) or from a mounted folder, with short time limits.

`open_replica` gives a `Reader`. What goes wrong is a `StorageFailed` that says what happened, and whether it speaks
for the whole server, the credentials, or only this file; nothing here tries another replica.
"""

from __future__ import annotations

import abc
import asyncio
import atexit
import ctypes
import math
import os
import re
import ssl
import threading
from collections.abc import Callable, Collection, Coroutine, Sequence
from concurrent.futures import TimeoutError as NoAnswerYet
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from rucio_lab.core.config.instances import Instance
from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.model import Replica
from rucio_lab.core.reading import xrootd
from rucio_lab.core.storage import redirects
from rucio_lab.core.storage.shown import why_refused
from rucio_lab.core.storage.storage_token import authorization
from rucio_lab.core.storage.tls import authority_paths, tls_context

if TYPE_CHECKING:
    import aiohttp

Span = tuple[int, int]
"""First byte, and the byte after the last."""

_T = TypeVar("_T")

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


def open_replica(replica: Replica, instance: Instance, size: int, *, silence: float | None = None) -> Reader:
    """Open a replica for reading.

    Parameters
    ----------
    replica
        What to read.
    instance
        Whose it is; gives the credentials and time limits.
    size
        Of the file in bytes, as registered in Rucio; a replica of another size is refused.
    silence
        How long the storage may be silent, in seconds; by default the instance's time limit.

    Raises
    ------
    StorageFailed
        If it cannot be opened. Over http nothing is asked before the first read.
    """
    limit = silence or instance.storage.timeout
    if replica.scheme in ("http", "https"):
        return _HttpReader(replica, instance, size)
    if replica.scheme in ("root", "roots"):
        return _RootReader(replica, instance, size, limit)
    return _LocalReader(replica, size, limit)


# ------------------------------------------------------------------------------------------------ http, https


def wait_for(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in fsspec's loop; when the wait for it is interrupted, it is cancelled."""
    from fsspec.asyn import get_loop

    future = asyncio.run_coroutine_threadsafe(coroutine, get_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def http_session(instance: Instance) -> aiohttp.ClientSession:
    """Give the session for an instance's storages, with their CAs and certificate; runs in fsspec's loop.

    It follows no cookies, environment or netrc.
    """
    import aiohttp

    context = tls_context(instance)
    loop = asyncio.get_running_loop()
    known = _sessions.get(context)
    if known is None or known[0] is not loop:
        connector = aiohttp.TCPConnector(ssl=context, limit=0, limit_per_host=_CONNECTIONS)
        jar = aiohttp.DummyCookieJar()
        known = _sessions[context] = loop, aiohttp.ClientSession(connector=connector, cookie_jar=jar)
    return known[1]


_CONNECTIONS = 64
_REDIRECTS = (301, 302, 303, 307, 308)
_sessions: dict[ssl.SSLContext, tuple[asyncio.AbstractEventLoop, aiohttp.ClientSession]] = {}


async def http_get(
    session: aiohttp.ClientSession, url: str, headers: dict[str, str], silence: float, allowed: Collection[str]
) -> aiohttp.ClientResponse:
    """Ask for something, and follow redirects.

    Parameters
    ----------
    session, url, headers
        As aiohttp has them.
    silence
        How long the server may be silent, in seconds.
    allowed
        Hosts from which it may go on without TLS (``redirects_to_http``).

    Raises
    ------
    StorageFailed
        If it is sent where it may not go.
    """
    import aiohttp
    import yarl

    limits = aiohttp.ClientTimeout(total=None, sock_connect=silence, sock_read=silence)
    for _ in range(redirects.MOST + 1):
        where = yarl.URL(url, encoded="?" in url)  # a signature holds for what was signed
        response = await session.get(where, headers=headers, timeout=limits, allow_redirects=False)
        if response.status not in _REDIRECTS or "Location" not in response.headers:
            return response
        response.close()
        target = redirects.sent_on(url, response.headers["Location"], allowed)
        url, headers = target, redirects.without_credentials(headers, url, target)
    raise StorageFailed("sends the reader on from one address to the next")


def http_words(error: Exception) -> StorageFailed:
    """Say what is wrong with a web server that gives no answer."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        remedy = "Let ca in [instances.NAME.storage] of rucio_lab.toml name its CA."
        return StorageFailed("has a certificate that is not trusted here", remedy, concerns="server")
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        words = "refuses the TLS connection (it may want a client certificate, or another one)"
        return StorageFailed(words, concerns="credentials")
    if isinstance(error, aiohttp.ClientConnectorError):
        return http_words(error.os_error)
    if isinstance(error, TimeoutError):
        return StorageFailed("did not answer in time", concerns="server", slow=True)
    for kind, words in (
        (ConnectionRefusedError, "refuses connections"),
        (aiohttp.ClientPayloadError, "stopped in the middle of its answer"),
        ((ConnectionError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError), "closed the connection"),
    ):
        if isinstance(error, kind):
            return StorageFailed(words, concerns="server")
    unknown = f"does not answer as a web server ({type(error).__name__})"
    words = f"cannot be reached ({error.strerror or error})" if isinstance(error, OSError) else unknown
    return StorageFailed(words, concerns="server")


class _HttpReader(Reader):
    def __init__(self, replica: Replica, instance: Instance, size: int) -> None:
        super().__init__(replica, size)
        self._instance = instance
        self._serves_parts = False

    def read(self, spans: Sequence[Span], silence: float) -> list[bytes]:
        authorized = authorization(self.replica, self._instance)
        headers = {"Accept-Encoding": "identity", **({"Authorization": authorized} if authorized else {})}
        return wait_for(self._all(spans, headers, silence))

    async def _all(self, spans: Sequence[Span], headers: dict[str, str], silence: float) -> list[bytes]:
        """Ask for all parts side by side (but for one before it is known what the server does)."""
        import aiohttp

        session = http_session(self._instance)
        first = [] if self._serves_parts else spans[:1]
        try:
            done = [await self._one(session, span, headers, silence) for span in first]
            async with asyncio.TaskGroup() as group:
                others = spans[len(first) :]
                tasks = [group.create_task(self._one(session, span, headers, silence)) for span in others]
            return [*done, *(task.result() for task in tasks)]
        except ExceptionGroup as several:
            error = _first(several)
        except (StorageFailed, aiohttp.ClientError, OSError, ValueError) as only:
            error = only
        if isinstance(error, aiohttp.ClientError | OSError | ValueError):  # ValueError: an address that makes no sense
            error = http_words(error)
            if error.concerns == "credentials":
                error = StorageFailed(why_refused(self.replica, self._instance, "TLS"), concerns="credentials")
        raise error from None

    async def _one(self, session: aiohttp.ClientSession, span: Span, headers: dict[str, str], silence: float) -> bytes:
        start, stop = span
        if stop <= start:
            return b""
        asked, allowed = {**headers, "Range": f"bytes={start}-{stop - 1}"}, self._instance.storage.redirects_to_http
        async with asyncio.timeout(3 * silence + (stop - start) / SLOWEST):
            async with await http_get(session, self.replica.url, asked, silence, allowed) as response:
                self._judge(response, start, stop)
                content = await response.content.read(stop - start)
                while len(content) < stop - start and (more := await response.content.read(stop - start)):
                    content += more
        if len(content) != stop - start:
            raise StorageFailed(f"sent {len(content):,} of {stop - start:,} bytes", concerns="server")
        return content

    def _judge(self, response: aiohttp.ClientResponse, start: int, stop: int) -> None:
        """Look at the head of an answer, before anything of its body is read."""
        status = response.status
        if status == 206:
            span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
            if span and span[3] not in ("*", str(self.size)):
                raise _wrong_size(int(span[3]), self.size)
            if not span or (int(span[1]), int(span[2])) != (start, stop - 1):
                raise StorageFailed("sends another part of the file than it was asked for", concerns="server")
            self._serves_parts = True
        elif status == 200:
            length = response.content_length
            if length is not None and length != self.size:
                raise _wrong_size(length, self.size)
            if (start, stop) != (0, self.size):
                words = "does not serve parts of files (no Range requests), so it cannot be streamed from"
                raise StorageFailed(words, concerns="server")
        elif status in (404, 410):
            raise StorageFailed(f"has no such file (HTTP {status})")
        elif status == 416:
            raise StorageFailed(f"has a shorter file than the {self.size:,} bytes that Rucio has registered")
        elif status in (400, 401, 403):  # 400 is how nginx asks for a client certificate
            words = why_refused(self.replica, self._instance, f"HTTP {status}")
            raise StorageFailed(words, "", concerns="credentials")
        else:
            raise StorageFailed(f"answers with an error (HTTP {status})")

    def close(self) -> None:
        """Do nothing: connections belong to the session."""


def _first(several: ExceptionGroup[Any]) -> Exception:
    error: Exception = several
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _wrong_size(found: int, registered: int) -> StorageFailed:
    return StorageFailed(f"has {found:,} bytes, but Rucio has registered {registered:,}")


# ------------------------------------------------------------------------------------------------ root, roots

_MOST_PARTS = 1024  # of one vector read, and the most bytes of each: the defaults of XRootD servers
_LARGEST_PART = 2097136
_LARGEST_REQUEST = 32 << 20

_XROOTD_WORDS = {3010: "credentials", 3030: "credentials", 3031: "credentials"}  # not authorized, authentication failed
_XROOTD_CREDENTIALS = (203, 204)  # login or authentication failed
_XROOTD_SERVER = range(101, 304)  # sockets, connections, time limits, invalid answers


class _RootReader(Reader):
    """Reads through XRootD's own client, always by callback: its waits can neither be limited nor interrupted."""

    _file: Any = None  # an interrupt can come before there is one

    def __init__(self, replica: Replica, instance: Instance, size: int, silence: float) -> None:
        from XRootD.client import File
        from XRootD.client.flags import OpenFlags

        self._file = File()
        super().__init__(replica, size)
        self._instance = instance
        xrootd.prepare()
        xrootd.trust(tuple(authority_paths(instance)))
        _set_property(self._file, "ReadRecovery", "false")  # we know of other replicas than XRootD does
        try:
            url = xrootd.xrootd_url(replica, instance)
        except OSError as error:
            words = f"was not asked: no private folder could be made for its credentials ({error.strerror})"
            raise StorageFailed(words, "Check TMPDIR, and whether its disk is full.") from None
        self._call(self._file.open, url, OpenFlags.READ, silence=silence)
        _set_property(self._file, "FollowRedirects", "false")  # or one could lead to a file of this machine later
        if not self._file.get_property("LastURL").startswith(("root", "xroot")):
            self.close()
            raise StorageFailed("sends the reader on to a file of this machine, which is not trusted")
        status = self._call(self._file.stat, silence=silence)  # came with the answer to open
        if status is not None and status.size != size:
            self.close()
            raise _wrong_size(status.size, size)

    def read(self, spans: Sequence[Span], silence: float) -> list[bytes]:
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
        """Ask XRootD, and wait for its answer no longer than one should.

        XRootD tells nothing while a request is under way. So, when it has been silent for a while, its server is
        greeted on a new connection: if that is answered, a large request may take its time.
        """
        answered = threading.Event()
        answer: list[Any] = []
        file = self._file  # must outlive what is under way

        def callback(status: Any, response: Any, _hosts: Any) -> None:
            answer.extend((status, response))
            answered.set()
            _under_way.discard(file)

        most = silence + size / SLOWEST
        _under_way.add(file)
        try:
            submitted = method(*args, timeout=math.ceil(most) + 1, callback=callback)
        except ValueError:  # another thread's request has found the connection broken
            _under_way.discard(file)
            raise StorageFailed("closed the connection", concerns="server") from None
        if not submitted.ok:
            _under_way.discard(file)
            raise self._failure(submitted)
        if not answered.wait(0.75 * silence):
            there = _greets(self.replica, 0.25 * silence)
            if not answered.wait(most - 0.75 * silence if there else 0):
                raise StorageFailed(f"did not answer within {silence:g} s", concerns="server", slow=there)
        status, response = answer
        if not status.ok:
            raise self._failure(status)
        return response

    def _failure(self, status: Any) -> StorageFailed:
        said = " ".join(status.message.split())[:200].rstrip(".")
        if status.errno in _XROOTD_WORDS or status.code in _XROOTD_CREDENTIALS:
            return StorageFailed(why_refused(self.replica, self._instance, _brief(said)), concerns="credentials")
        if status.errno == 3011 or status.code == 304:
            return StorageFailed(f"has no such file ({_brief(said)})")
        if status.code == 108:
            return StorageFailed("cannot be connected to", concerns="server")
        if status.code == 110:
            return StorageFailed("has a TLS certificate that is not trusted here, or none", concerns="server")
        if status.code in _XROOTD_SERVER:
            return StorageFailed(f"broke off ({_brief(said)})", concerns="server")
        return StorageFailed(f"answers with an error ({_brief(said)})")

    def close(self) -> None:
        file = self._file
        if file is not None and file.is_open():
            _under_way.add(file)
            file.close(callback=lambda *_: _under_way.discard(file))


_under_way: set[Any] = set()


def _set_property(file: Any, name: str, value: str) -> None:
    """Set a property of an XRootD file, and give back the reference that it takes.

    XRootD (6.2 at least) returns True without counting the reference: where True can die, which is before Python 3.12,
    the process is aborted after some thousand files. One reference too many does no harm.
    """
    answer = file.set_property(name, value)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(answer))


def _brief(said: str) -> str:
    """Strip XRootD's own markings, and whatever could be an address with secrets in it."""
    return re.sub(r"\S+[?]\S+", "...", re.sub(r"^\[(ERROR|FATAL)\]\s*", "", said)) or "no reason given"


def _whole(content: bytes | None, length: int) -> bytes:
    content = content or b""
    if len(content) != length:
        raise StorageFailed(f"sent {len(content):,} of {length:,} bytes")
    return bytes(content)


def _pieces(start: int, stop: int) -> list[tuple[int, int]]:
    """Cut a part of a file into pieces, as (offset, length), that a vector read may have."""
    return [(offset, min(_LARGEST_PART, stop - offset)) for offset in range(start, stop, _LARGEST_PART)]


def _requests(spans: Sequence[Span]) -> list[list[tuple[int, int]]]:
    """Distribute the pieces over as few vector reads as servers allow."""
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
    """Whether the server of a replica answers at all."""

    async def ask() -> str:
        return await asyncio.wait_for(xrootd.greet(replica.url), seconds)

    try:
        return not wait_for(ask())
    except (OSError, TimeoutError, NoAnswerYet, ValueError):
        return False


# ------------------------------------------------------------------------------------------------ mounted folders


class _LocalReader(Reader):
    """Reads a file on a mount, which may be dead: in threads of its own that are left behind if they never return."""

    _handle = -1

    def __init__(self, replica: Replica, size: int, silence: float) -> None:
        super().__init__(replica, size)
        self._handle = _in_thread(lambda: os.open(replica.url, os.O_RDONLY), silence)
        found = _in_thread(lambda: os.fstat(self._handle).st_size, silence)
        if found != size:
            self.close()
            raise _wrong_size(found, size)

    def read(self, spans: Sequence[Span], silence: float) -> list[bytes]:
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
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with suppress(OSError):
                os.close(handle)


def _in_thread(work: Callable[[], _T], seconds: float) -> _T:
    """Do something that may never return; after some seconds, go on without it."""
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


# ------------------------------------------------------------------------------------------------ the end of a process


def _close_sessions() -> None:
    """Close what is still open, quietly."""
    if not _sessions:  # fsspec cannot be imported any more, where it was not
        return
    from fsspec import asyn

    async def close() -> None:
        for _, session in list(_sessions.values()):
            await session.close()

    if asyn.loop[0] is not None and asyn.loop[0].is_running():
        with suppress(NoAnswerYet, RuntimeError):
            asyncio.run_coroutine_threadsafe(close(), asyn.loop[0]).result(1)


atexit.register(_close_sessions)

_inherited: list[Any] = []


def _after_fork() -> None:
    """Start anew in a forked child; what belongs to the parent is kept out of use, not closed."""
    global _sessions, _under_way
    _inherited.extend((_sessions, _under_way))
    _sessions, _under_way = {}, set()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
