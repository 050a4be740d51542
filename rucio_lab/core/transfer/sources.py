"""The sources of a download: https and http, root://, a mounted folder, or Rucio's own tools.

Each gives a `Stream`, which starts at an offset and can be aborted by another thread. All failures are `StorageFailed`,
in the words of `rucio_lab.core.reading.replicas`, and nothing here tries another replica. Over http, unlike there, one
request covers the rest of the file, so the server need not support byte ranges.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import urllib3

from rucio_lab.core import proxies
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.model import Replica, ResolvedFile
from rucio_lab.core.reading.reader import Reader
from rucio_lab.core.reading.replicas import open_replica
from rucio_lab.core.storage import http_status, redirects
from rucio_lab.core.storage.shown import why_refused
from rucio_lab.core.storage.storage_token import authorization
from rucio_lab.core.storage.tls import tls_context

CHUNK = 1 << 20
"""The most bytes of one read over http or from a disk."""

CONNECT = 5.0
"""The longest time to wait for a connection to a storage, in seconds."""

_LOOK = 1.0  # seconds between two checks whether the certificate or the CAs were renewed
_FIRST = 16 << 10  # bytes of the first read over http, and the least; the size follows the speed of the connection
_BRISK = 0.25  # seconds that one read should take at most, so that the progress moves on a slow connection
_PART = 4 << 20  # bytes of one read over root://
_AHEAD = 2  # such reads at a time, which hides the latency


class Stream(Protocol):
    """The bytes of one replica, from an offset to the end of the file."""

    start: int
    """The first byte: the requested offset, or 0 if the server does not support byte ranges."""

    def read(self) -> bytes:
        """Give more bytes; none at the end of the file.

        Raises
        ------
        StorageFailed
            If the rest cannot be read.
        """

    def abort(self) -> None:
        """Abort a read in another thread, if that is possible."""

    def close(self) -> None:
        """Close the connection, or return it to its pool."""


class Sources:
    """Opens replicas, and keeps the connections of one download.

    Parameters
    ----------
    instance
        The instance, for the credentials and CAs of its storages.
    connections
        The number of connections to keep open to each server.
    """

    def __init__(self, instance: Instance, connections: int) -> None:
        self._instance = instance
        self._connections = connections
        self._pools: dict[tuple[ssl.SSLContext, str], urllib3.PoolManager] = {}
        self._context, self._looked = tls_context(instance), time.monotonic()
        self._tools = _Tools()
        self._readers = ThreadPoolExecutor(_AHEAD * connections, "rucio-lab-read")

    def open(self, file: ResolvedFile, replica: Replica, offset: int, silence: float) -> Stream:
        """Open a replica.

        Parameters
        ----------
        file, replica
            The file, and the replica to read.
        offset
            The first byte to read.
        silence
            How long the storage may stay silent, in seconds.

        Raises
        ------
        StorageFailed
            If it cannot be read, or does not have the registered size.
        """
        if replica.scheme in ("https", "http") and replica.domain != "zip":
            return _open_http(self._pool, self._instance, replica, (offset, file.bytes), silence)
        if replica.scheme in ("root", "roots", "file", "https", "http"):
            reader = open_replica(replica, self._instance, file.bytes, name=file.did.name, silence=silence)
            return _Parts(reader, offset, silence, self._readers)
        return _through_rucio(file, replica, self._instance, offset, self._tools)

    def _pool(self, proxy: str) -> urllib3.PoolManager:
        """Give the connections to all servers, through a proxy unless it is empty."""
        if time.monotonic() - self._looked > _LOOK:
            self._context, self._looked = tls_context(self._instance), time.monotonic()
        key = (self._context, proxy)
        if key not in self._pools:
            self._pools[key] = (
                urllib3.ProxyManager(
                    proxy, proxy_headers=_who(proxy), ssl_context=self._context, maxsize=self._connections
                )
                if proxy
                else urllib3.PoolManager(ssl_context=self._context, maxsize=self._connections)
            )
        return self._pools[key]

    def close(self) -> None:
        """Close all connections, and end Rucio's own tools."""
        self._tools.end()
        for pool in self._pools.values():
            pool.clear()
        self._readers.shutdown(wait=False, cancel_futures=True)


# ------------------------------------------------------------------------------------------------ https, http


def _who(proxy: str) -> dict[str, str]:
    """Give the header with the user and password in the address of a proxy, if there are any."""
    from requests.utils import get_auth_from_url

    user, password = get_auth_from_url(proxy)
    return urllib3.make_headers(proxy_basic_auth=f"{user}:{password}") if user else {}


Pools = Callable[[str], urllib3.PoolManager]
"""Proxy, or an empty text -> the connections through it."""


def _open_http(pools: Pools, instance: Instance, replica: Replica, span: tuple[int, int], silence: float) -> Stream:
    headers = {"Accept-Encoding": "identity", "User-Agent": "rucio-lab"}
    if span[0]:
        headers["Range"] = f"bytes={span[0]}-"
    if token := authorization(replica, instance):
        headers["Authorization"] = token
    try:
        response = _get(pools, replica.url, headers, silence, instance.storage.redirects_to_http)
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise _no_answer(error, replica, instance, silence) from None
    try:
        return _Http(response, _first_byte(response, replica, instance, span), span[1], silence)
    except StorageFailed:
        response.close()
        raise


def _get(
    pools: Pools, url: str, headers: dict[str, str], silence: float, allowed: Collection[str]
) -> urllib3.BaseHTTPResponse:
    """Request a file, following redirects."""
    limits = urllib3.Timeout(connect=min(CONNECT, silence), read=silence)
    for _ in range(redirects.MOST + 1):
        proxy = proxies.proxy_for(url)
        try:
            response = pools(proxy).request(
                "GET", url, headers=headers, timeout=limits, preload_content=False, redirect=False, retries=False
            )
        except urllib3.exceptions.ProxyError as error:
            raise proxies.failed(proxy, _what_proxy_does(error)) from None
        except urllib3.exceptions.ProxySchemeUnknown:
            raise proxies.failed(proxy, "is not a web proxy: rucio_lab cannot use it for storages") from None
        location = response.get_redirect_location()
        if not location:
            return response
        response.close()
        target = redirects.redirected(url, location, allowed)
        url, headers = target, redirects.without_credentials(headers, url, target)
    raise StorageFailed("redirects too often")


def _what_proxy_does(error: urllib3.exceptions.ProxyError) -> str:
    said = str(error.original_error)
    if status := re.search(r"Tunnel connection failed: (\d+)", said):
        return proxies.meaning(status[1])
    return "refuses connections" if "refused" in said else "cannot be reached"


def _first_byte(response: urllib3.BaseHTTPResponse, replica: Replica, instance: Instance, span: tuple[int, int]) -> int:
    """Look at the head of an answer, and say at which byte of the file it begins."""
    status = response.status
    if status not in (200, 206):
        asked = response.headers.get("Retry-After")
        raise http_status.failure(status, replica, instance, span[1], retry_after=asked, error_concerns="server")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise StorageFailed("sends the file compressed, which was not asked for")
    start, total = _range_of(response.headers.get("Content-Range", "")) if status == 206 else (0, None)
    length = response.headers.get("Content-Length", "")
    if status == 200 and length.isdecimal():
        total = int(length)
    if total is not None and total != span[1]:
        raise StorageFailed(f"has {total:,} bytes, but Rucio has registered {span[1]:,}")
    if start not in (0, span[0]):
        raise StorageFailed("sent a different part of the file than requested", concerns="server")
    return start


def _range_of(header: str) -> tuple[int, int | None]:
    """Read ``Content-Range: bytes 5-9/10``; -1 where it makes no sense (RFC 9110, 14.4)."""
    span, _, total = header.removeprefix("bytes ").partition("/")
    first = span.partition("-")[0].strip()
    return int(first) if first.isdecimal() else -1, int(total) if total.strip().isdecimal() else None


def _no_answer(error: Exception, replica: Replica, instance: Instance, silence: float) -> StorageFailed:
    """Say why a web server gives no answer."""
    said = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in said:
        words = "has a certificate that is not trusted here"
    elif isinstance(error, urllib3.exceptions.SSLError | ssl.SSLError):
        return StorageFailed(why_refused(replica, instance, "TLS"), concerns="credentials")
    elif isinstance(error, urllib3.exceptions.NameResolutionError):
        words = "has a name that nobody knows"
    elif isinstance(error, urllib3.exceptions.NewConnectionError):  # to urllib3, a kind of time limit
        words = "refuses connections" if "refused" in said else "cannot be reached"
    elif isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        words = f"did not answer within {min(CONNECT, silence):g} s"
    elif isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError):
        words = f"did not answer within {silence:g} s"
    elif isinstance(error, urllib3.exceptions.LocationParseError):
        return StorageFailed("has an invalid address")
    else:
        words = "closed the connection"
    return StorageFailed(words, concerns="server")


class _Http:
    """The body of an http response."""

    def __init__(self, response: urllib3.BaseHTTPResponse, start: int, size: int, silence: float) -> None:
        self.start = start
        self._at, self._size = start, size
        self._response = response
        self._silence = silence
        self._most = _FIRST

    def read(self) -> bytes:
        if self._at == self._size and self._response.length_remaining == 0:
            return b""
        begin = time.monotonic()
        try:
            some = self._response.read(self._most, decode_content=False)
        except urllib3.exceptions.ReadTimeoutError:
            words = f"said nothing for {self._silence:g} s, after {self._at:,} of {self._size:,} bytes"
            raise StorageFailed(words, concerns="server") from None
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            words = f"broke off after {self._at:,} of {self._size:,} bytes"
            raise StorageFailed(words, concerns="server") from None
        self._at += len(some)
        affordable = int(len(some) * _BRISK / (time.monotonic() - begin + 1e-9))
        self._most = min(CHUNK, 2 * self._most, max(_FIRST, affordable))
        return some

    def abort(self) -> None:
        with suppress(OSError, ValueError, RuntimeError):
            self._response.shutdown()

    def close(self) -> None:
        if self._at == self._size:
            with suppress(urllib3.exceptions.HTTPError, OSError):
                self._response.drain_conn()  # so that the next file can use the connection
        self._response.release_conn() if self._at == self._size else self._response.close()


# ------------------------------------------------------------------------------------------------ root://, mounts


class _Parts:
    """A file that is read in parts, some of them ahead of time."""

    def __init__(self, reader: Reader, start: int, silence: float, pool: ThreadPoolExecutor) -> None:
        self.start = self._asked = start
        self._reader = reader
        self._silence = silence
        self._pool = pool
        self._ahead: deque[Future[bytes]] = deque()
        self._left = threading.Event()

    def read(self) -> bytes:
        if self._asked == self.start and self._reader.size - self.start <= _PART:  # a small file needs no other thread
            return self._part(self._next()) if self._asked < self._reader.size else b""
        while len(self._ahead) < _AHEAD and self._asked < self._reader.size and not self._left.is_set():
            self._ahead.append(self._pool.submit(self._part, self._next()))
        return self._ahead.popleft().result() if self._ahead else b""

    def _next(self) -> tuple[int, int]:
        begin = self._asked
        self._asked = min(begin + _PART, self._reader.size)
        return begin, self._asked

    def _part(self, span: tuple[int, int]) -> bytes:
        return self._reader.read([span], self._silence)[0]

    def abort(self) -> None:
        self._left.set()

    def close(self) -> None:
        for part in self._ahead:
            part.cancel()
        self._reader.close()


# ------------------------------------------------------------------------------------------------ Rucio's own tools

_DISK_SILENCE = 60.0  # seconds that a read from the temporary folder may take
_LONGEST = 6 * 3600.0  # seconds for one file; the tools also have their own time limits


class _Tools:
    """The child processes that run Rucio's own tools."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._ended = False

    def run(self, command: list[str], given: str) -> str:
        """Run a command to its end, and give its output."""
        with self._lock:
            if self._ended:
                return ""
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
            self._running.add(child)
        try:
            return child.communicate(given, timeout=_LONGEST)[0]
        finally:
            with self._lock:
                self._running.remove(child)
            _kill(child)

    def end(self) -> None:
        """End all child processes, and start no more."""
        with self._lock:
            self._ended = True
            for child in self._running:
                _kill(child)


def _kill(child: subprocess.Popen[str]) -> None:
    """Kill a child process and its own children, if it has not ended."""
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def _through_rucio(file: ResolvedFile, replica: Replica, instance: Instance, offset: int, tools: _Tools) -> Stream:
    """Let rucio-clients download a file into a temporary folder, in a child process, because they block signals."""
    scheme = replica.pfn.partition("://")[0]
    task = {"instance": instance.name, "did": str(file.did), "rse": replica.rse, "pfn": replica.pfn}
    task |= {kind: value for kind, value in (("adler32", file.adler32), ("md5", file.md5)) if value}
    folder = tempfile.mkdtemp(prefix="rucio-lab-")
    try:
        path = _download(task, folder, tools)
        reader = open_replica(Replica(replica.rse, path), instance, file.bytes)
    except StorageFailed as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise StorageFailed(f"was not read over {scheme}:// by rucio-clients: {error.message}") from None
    return _Temporary(reader, offset, folder)


def _download(task: dict[str, str], folder: str, tools: _Tools) -> str:
    """Run the child process, and give the path of the file."""
    command = [sys.executable, "-P", "-m", "rucio_lab.core.transfer.rucio_download", str(os.getpid()), folder]
    try:
        answer = json.loads(tools.run(command, json.dumps(task)).splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise StorageFailed(f"it took more than {_LONGEST / 3600:g} hours") from None
    except (ValueError, IndexError):
        raise StorageFailed("it ended unexpectedly") from None
    if "error" in answer:
        raise StorageFailed(answer["error"])
    return str(answer["path"])


class _Temporary:
    """A file that Rucio's own tools downloaded into a temporary folder."""

    def __init__(self, reader: Reader, start: int, folder: str) -> None:
        self.start = self._at = start
        self._reader = reader
        self._folder = Path(folder)

    def read(self) -> bytes:
        begin = self._at
        self._at = min(begin + CHUNK, self._reader.size)
        return self._reader.read([(begin, self._at)], _DISK_SILENCE)[0]

    def abort(self) -> None:
        """Do nothing: reading from the disk is fast."""

    def close(self) -> None:
        self._reader.close()
        shutil.rmtree(self._folder, ignore_errors=True)
