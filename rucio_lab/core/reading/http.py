"""Reading over http and https: byte ranges in parallel, and only the redirects that are allowed."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import ssl
from collections.abc import Collection, Coroutine, Sequence
from concurrent.futures import TimeoutError as NoAnswerYet
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from rucio_lab.core import proxies
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.model import Replica
from rucio_lab.core.reading.reader import SLOWEST, UNKNOWN, Reader, Span, wrong_size
from rucio_lab.core.storage import http_status, redirects
from rucio_lab.core.storage.shown import why_refused
from rucio_lab.core.storage.storage_token import authorization
from rucio_lab.core.storage.tls import tls_context

if TYPE_CHECKING:
    import aiohttp
    import yarl

_T = TypeVar("_T")


def wait_for(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in fsspec's loop and wait for it; cancel it if the wait is interrupted."""
    from fsspec.asyn import get_loop

    future = asyncio.run_coroutine_threadsafe(coroutine, get_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def http_session(instance: Instance, *, keeps: bool = True) -> aiohttp.ClientSession:
    """Give the session for an instance's storages, with their CAs and certificate. Call it in fsspec's loop.

    The session uses no cookies, and no netrc. `http_get` uses the proxy of the environment.

    Parameters
    ----------
    instance
        The instance.
    keeps
        Whether it keeps connections for later requests; if not, each request has a new one.
    """
    import aiohttp

    context = tls_context(instance)
    loop = asyncio.get_running_loop()
    known = _sessions.get((context, keeps))
    if known is None or known[0] is not loop:
        connector = aiohttp.TCPConnector(ssl=context, limit=0, limit_per_host=_CONNECTIONS, force_close=not keeps)
        jar = aiohttp.DummyCookieJar()
        known = _sessions[context, keeps] = loop, aiohttp.ClientSession(connector=connector, cookie_jar=jar)
    return known[1]


_CONNECTIONS = 64  # to one server

_REDIRECTS = (301, 302, 303, 307, 308)

_sessions: dict[tuple[ssl.SSLContext, bool], tuple[asyncio.AbstractEventLoop, aiohttp.ClientSession]] = {}


async def http_get(
    session: aiohttp.ClientSession,
    url: str,
    headers: dict[str, str],
    silence: float,
    allowed: Collection[str],
    *,
    through_proxy: bool = True,
) -> aiohttp.ClientResponse:
    """Send a GET request, following redirects.

    Parameters
    ----------
    session, url, headers
        As in aiohttp.
    silence
        How long the server may be silent, in seconds.
    allowed
        Hosts that may redirect from https to plain http (``redirects_to_http``).
    through_proxy
        Whether to use the proxy of the environment.

    Raises
    ------
    StorageFailed
        If a redirect is not allowed, or there are too many, or the proxy does not work.
    """
    import aiohttp
    import yarl

    limits = aiohttp.ClientTimeout(total=None, sock_connect=silence, sock_read=silence)
    for _ in range(redirects.MOST + 1):
        where = yarl.URL(url, encoded="?" in url)  # a signature is only valid for the exact URL
        response = await _get(session, where, headers, limits, proxies.proxy_for(url) if through_proxy else "")
        if response.status not in _REDIRECTS or "Location" not in response.headers:
            return response
        response.close()
        target = redirects.redirected(url, response.headers["Location"], allowed)
        url, headers = target, redirects.without_credentials(headers, url, target)
    raise StorageFailed("redirects too often")


async def _get(
    session: aiohttp.ClientSession, url: yarl.URL, headers: dict[str, str], limits: aiohttp.ClientTimeout, proxy: str
) -> aiohttp.ClientResponse:
    """Send one request, through a proxy unless it is empty."""
    import aiohttp
    import yarl

    if proxy and not proxy.startswith(("http://", "https://")):
        raise proxies.failed(proxy, "is not a web proxy: rucio_lab cannot use it for storages")
    try:
        return await session.get(url, headers=headers, timeout=limits, allow_redirects=False, proxy=proxy or None)
    except aiohttp.ClientProxyConnectionError as error:
        raise proxies.failed(proxy, http_failure(error.os_error).message) from None
    except aiohttp.ClientHttpProxyError as error:
        raise proxies.failed(proxy, proxies.meaning(error.status)) from None
    except aiohttp.ClientConnectorError as error:  # its name is unknown, or it does not speak TLS
        if not proxy or error.host != yarl.URL(proxy).host:
            raise
        raise proxies.failed(proxy, http_failure(error).message) from None
    except TimeoutError:
        if not proxy:
            raise
        raise proxies.failed(proxy, "did not answer in time", slow=True) from None


def http_failure(error: Exception) -> StorageFailed:
    """Say why a web server did not answer."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        remedy = "Set ca in [instances.NAME.storage] of rucio_lab.toml to its CA."
        return StorageFailed("has a certificate that is not trusted here", remedy, concerns="server")
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        words = "refuses the TLS connection (it may require a client certificate, or a different one)"
        return StorageFailed(words, concerns="credentials")
    if isinstance(error, aiohttp.ClientConnectorError):
        return http_failure(error.os_error)
    if isinstance(error, TimeoutError):
        return StorageFailed("did not answer in time", concerns="server", slow=True)
    for kind, words in (
        (ConnectionRefusedError, "refuses connections"),
        (aiohttp.ClientPayloadError, "stopped in the middle of its answer"),
        ((ConnectionError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError), "closed the connection"),
    ):
        if isinstance(error, kind):
            return StorageFailed(words, concerns="server", retry_after=0)
    unknown = f"does not answer as a web server ({type(error).__name__})"
    words = f"cannot be reached ({error.strerror or error})" if isinstance(error, OSError) else unknown
    return StorageFailed(words, concerns="server")


class HttpReader(Reader):
    """Reads through a session that all storages of an instance share."""

    def __init__(self, replica: Replica, instance: Instance, size: int) -> None:
        super().__init__(replica, size)
        self._instance = instance
        self._serves_parts = False

    def read(self, spans: Sequence[Span], silence: float) -> list[bytes]:
        """Request all parts in parallel."""
        authorized = authorization(self.replica, self._instance)
        headers = {"Accept-Encoding": "identity", **({"Authorization": authorized} if authorized else {})}
        return wait_for(self._all(spans, headers, silence))

    async def _all(self, spans: Sequence[Span], headers: dict[str, str], silence: float) -> list[bytes]:
        """Request all parts in parallel, but the first one alone until the server is known to serve parts."""
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
        if isinstance(error, aiohttp.ClientError | OSError | ValueError):  # ValueError: an invalid address
            error = http_failure(error)
            if error.concerns == "credentials":
                error = StorageFailed(why_refused(self.replica, self._instance, "TLS"), concerns="credentials")
        raise error from None

    async def _one(self, session: aiohttp.ClientSession, span: Span, headers: dict[str, str], silence: float) -> bytes:
        import aiohttp

        start, stop = span
        if stop <= start:
            return b""
        asked, allowed = {**headers, "Range": f"bytes={start}-{stop - 1}"}, self._instance.storage.redirects_to_http
        async with asyncio.timeout(3 * silence + (stop - start) / SLOWEST):
            try:
                waiting = await http_get(session, self.replica.url, asked, silence, allowed)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):  # others that were kept may be lost, too
                fresh = http_session(self._instance, keeps=False)
                waiting = await http_get(fresh, self.replica.url, asked, silence, allowed)
            async with waiting as response:
                self._judge(response, start, stop)
                content = await response.content.read(stop - start)
                while len(content) < stop - start and (more := await response.content.read(stop - start)):
                    content += more
        if len(content) != stop - start:
            words = f"sent {len(content):,} of {stop - start:,} bytes"
            raise StorageFailed(words, concerns="server", retry_after=0)
        return content

    def _judge(self, response: aiohttp.ClientResponse, start: int, stop: int) -> None:
        """Check the head of an answer before its body is read."""
        status = response.status
        if status == 206:
            span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
            if span and self.size == UNKNOWN and span[3] != "*":
                self.size = int(span[3])
            if span and span[3] not in ("*", str(self.size)):
                raise wrong_size(int(span[3]), self.size)
            if not span or (int(span[1]), int(span[2])) != (start, stop - 1):
                raise StorageFailed("sent a different part of the file than requested", concerns="server")
            self._serves_parts = True
        elif status == 200:
            length = response.content_length
            if length == 0 and self.size == UNKNOWN:
                raise StorageFailed("is empty")
            if length is not None and self.size not in (UNKNOWN, length):
                raise wrong_size(length, self.size)
            if (start, stop) != (0, self.size):
                words = "does not serve parts of files (no Range requests), so it cannot be streamed from"
                raise StorageFailed(words, concerns="server")
        else:
            asked = response.headers.get("Retry-After")
            raise http_status.failure(status, self.replica, self._instance, self.size, retry_after=asked)

    def close(self) -> None:
        """Do nothing: the connections belong to the session."""


def _first(several: ExceptionGroup[Any]) -> Exception:
    error: Exception = several
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _close_sessions() -> None:
    """Close all sessions without a warning."""
    if not _sessions:  # if fsspec was not imported before, it cannot be now
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
    """Start a forked child without sessions. The parent's stay referenced, so that nothing closes them."""
    global _sessions  # noqa: PLW0603
    _inherited.append(_sessions)
    _sessions = {}


os.register_at_fork(after_in_child=_after_fork)
