"""Whether replicas are reachable: probed quickly, in parallel, and remembered for some minutes.

A probe sends the same request as a reader of the plain URL: without credentials, and not through a proxy. `refusals`
finds out whether the storage accepts the credentials of the instance, so that ``rucio://`` can read the file.
"""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module

from rucio_lab.core import proxies
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.model import Replica
from rucio_lab.core.reading import xrootd
from rucio_lab.core.reading.http import http_get
from rucio_lab.core.reading.replicas import open_replica
from rucio_lab.core.reasons import Cause, Reason
from rucio_lab.core.storage.http_status import Answer, meaning

TIMEOUT = 2.0
"""How long a server may take to answer, in seconds."""

_REMEMBER_ALIVE = 300.0
_REMEMBER_DEAD = 120.0  # so that a server that recovers is soon used again

_AT_ONCE = 50  # probes

Endpoint = tuple[str, str]
"""An RSE and one of its servers (``scheme://host:port``), or a single URL, if the server refused single files."""

_verdicts: dict[Endpoint, tuple[Reason | None, float]] = {}
_by_file: dict[Endpoint, float] = {}
_suspects: dict[Endpoint, float] = {}


def endpoint(replica: Replica) -> Endpoint:
    """Give what a probe of a replica tells about: its server, or only itself if the server has refused single files."""
    server = (replica.rse, replica.endpoint)
    return (replica.rse, replica.url) if _by_file.get(server, 0) > time.monotonic() else server


def is_known(where: Endpoint) -> bool:
    """Whether an endpoint was probed recently."""
    known = _verdicts.get(where)
    return known is not None and known[1] > time.monotonic()


def fault_of(where: Endpoint) -> Reason | None:
    """Give what is wrong with an endpoint, as far as we remember; None if nothing is."""
    return _verdicts[where][0] if is_known(where) else None


def is_suspect(replica: Replica) -> bool:
    """Whether the server of a replica has failed lately while a file was read: others are better tried first."""
    return _suspects.get((replica.rse, replica.endpoint), 0) > time.monotonic()


def suspect(replica: Replica, failure: StorageFailed, redirects_to_http: Collection[str] = ()) -> bool:
    """Probe the server of a replica in the background, because a read has failed. Only the probe can call it dead.

    Parameters
    ----------
    replica
        The replica that was read.
    failure
        What happened. If only a connection was lost, the suspicion ends when the server answers the probe.
    redirects_to_http
        As for `probe`.

    Returns
    -------
    bool
        True if the server was not suspect before.
    """
    from fsspec.asyn import get_loop

    where = (replica.rse, replica.endpoint)
    news = not is_suspect(replica) and fault_of(where) is None
    _suspects[where] = time.monotonic() + _REMEMBER_DEAD
    if news:
        _verdicts.pop(where, None)

        async def check() -> None:
            (reason,) = await _probe_all([replica], redirects_to_http)
            if where not in _suspects:  # all was forgotten meanwhile
                return
            _keep(replica, reason)
            if reason is None and failure.retry_after == 0:
                _suspects.pop(where, None)

        asyncio.run_coroutine_threadsafe(check(), get_loop())
    return news


def forget() -> None:
    """Forget all results, so that every endpoint is probed again."""
    _verdicts.clear()
    _by_file.clear()
    _suspects.clear()


def prepare() -> None:
    """Import in a thread what probes of web servers need: it takes as long as an answer of Rucio."""
    if "aiohttp" not in sys.modules:
        threading.Thread(target=import_module, args=("aiohttp",), name="rucio-lab-import", daemon=True).start()


def probe(replicas: Iterable[Replica], redirects_to_http: Collection[str] = ()) -> None:
    """Probe the servers of some replicas in parallel, and remember the results.

    Parameters
    ----------
    replicas
        One replica for each endpoint to probe. If servers are down, all of them together take `TIMEOUT`.
    redirects_to_http
        Hosts that may redirect from https to plain http.
    """
    from fsspec.asyn import get_loop

    asked = list(replicas)
    if any(replica.scheme in ("https", "http") for replica in asked):
        import aiohttp  # noqa: F401 - before the clock starts: on a network disk this can take seconds
    answers = asyncio.run_coroutine_threadsafe(_probe_all(asked, redirects_to_http), get_loop()).result()
    for replica, answer in zip(asked, answers, strict=True):
        _keep(replica, answer)


def _keep(replica: Replica, answer: Reason | None) -> None:
    """Remember the result of a probe. If a server is down, a proxy may be the only way to it."""
    reason = _behind_proxy(replica) or answer if answer and answer.is_down else answer
    until = time.monotonic() + (_REMEMBER_DEAD if reason else _REMEMBER_ALIVE)
    server = (replica.rse, replica.endpoint)
    if reason and reason.is_of_one_file:
        _by_file[server] = until
    elif reason:
        _by_file.pop(server, None)
    _verdicts[endpoint(replica)] = (reason, until)


async def _probe_all(replicas: Sequence[Replica], allowed: Collection[str]) -> list[Reason | None]:
    few = asyncio.Semaphore(_AT_ONCE)

    async def one(replica: Replica) -> Reason | None:
        async with few:
            return await _probe_one(replica, allowed)

    return await asyncio.gather(*map(one, replicas))


async def _probe_one(replica: Replica, allowed: Collection[str]) -> Reason | None:
    ask: Awaitable[Reason | None] = (
        xrootd.greet(replica.url) if replica.scheme in ("root", "roots") else _probe_http(replica.url, allowed)
    )
    try:
        return await asyncio.wait_for(ask, TIMEOUT)
    except TimeoutError:
        return Reason(Cause.SILENT, (f"{TIMEOUT:g}",))
    except ConnectionRefusedError:
        return Reason(Cause.REFUSES_CONNECTIONS)
    except ConnectionError:  # asyncio's own has no text
        return Reason(Cause.CLOSED_CONNECTION)
    except OSError as error:
        return Reason(Cause.UNREACHABLE, (str(error.strerror or error),))
    except ValueError:  # an invalid host name, such as one with two dots in a row
        return Reason(Cause.NO_SENSE)


async def _probe_http(url: str, allowed: Collection[str]) -> Reason | None:
    """Request the first byte of a file from a web server."""
    import aiohttp

    try:
        async with (
            aiohttp.ClientSession() as session,
            await http_get(session, url, {"Range": "bytes=0-0"}, TIMEOUT, allowed, through_proxy=False) as response,
        ):
            empty = response.status == 200 and response.content_length == 0  # an empty file has no parts
            return None if empty else _judge_http(response.status)
    except StorageFailed as error:  # a redirect that is not allowed
        return Reason(Cause.BAD_REDIRECT, (error.message,))
    except aiohttp.InvalidURL:
        return Reason(Cause.NO_SENSE)
    except (aiohttp.ClientError, ssl.SSLError) as error:
        return _no_answer(error, url)


def _behind_proxy(replica: Replica) -> Reason | None:
    """Say that a storage which gave no answer has to be asked through a proxy; None if the environment names none."""
    if replica.scheme not in ("https", "http"):
        return None
    try:
        proxy = proxies.proxy_for(replica.url)
    except ValueError:
        return None
    return Reason(Cause.NEEDS_PROXY, (proxies.shown(proxy),)) if proxy else None


def _no_answer(error: Exception, url: str) -> Reason:
    """Say why a web server did not answer."""
    import aiohttp
    import yarl

    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return Reason(Cause.UNTRUSTED)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return Reason(Cause.REFUSES_TLS)
    if isinstance(error, aiohttp.ClientConnectorError):
        asked = yarl.URL(url)
        if (error.host, error.port) != (asked.raw_host, asked.port):
            return Reason(Cause.REDIRECT_UNREACHABLE)
        raise error.os_error from error
    return Reason(Cause.NO_WEB_SERVER, (type(error).__name__,))


def _judge_http(status: int) -> Reason | None:
    """Say why a file cannot be streamed from its plain URL. No reason is a missing file, or a server that is busy."""
    match meaning(status):
        case Answer.PART | Answer.NO_FILE | Answer.TOO_SHORT | Answer.BUSY:  # TOO_SHORT: of an empty file
            return None
        case Answer.WHOLE:
            return Reason(Cause.NO_RANGES)
        case Answer.REFUSED:
            return Reason(Cause.WANTS_CREDENTIALS, (f"HTTP {status}",))
        case Answer.ERROR:
            return Reason(Cause.ERROR, (f"HTTP {status}",))


def refusals(replicas: Iterable[tuple[Replica, int]], instance: Instance) -> dict[Endpoint, Reason | None]:
    """Read the first byte of some replicas in parallel, with the credentials of an instance.

    Parameters
    ----------
    replicas
        Each with the size of its file in bytes. Only one for each endpoint is read.
    instance
        The instance they belong to.

    Returns
    -------
    dict
        Endpoint -> why it refused; None if it did not.
    """

    def ask(replica: Replica, size: int) -> Reason | None:
        try:
            reader = open_replica(replica, instance, size, silence=TIMEOUT)
            reader.read([(0, 1 if size else 0)], TIMEOUT)
            reader.close()
        except StorageFailed as error:
            return None if error.busy else Reason(Cause.REFUSES_OURS, (error.message,))
        return None

    asked = {(replica.rse, replica.endpoint): (replica, size) for replica, size in replicas}
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="rucio-lab-probe") as pool:
        return dict(zip(asked, pool.map(ask, *zip(*asked.values(), strict=True)), strict=True)) if asked else {}


# A stat() on a dead network mount never returns and cannot be interrupted, so it runs in a separate process.
_STAT = """
import json, os, sys
from concurrent.futures import ThreadPoolExecutor
def look(number, path):
    try:
        with open(path, "rb") as file:
            answer = os.fstat(file.fileno()).st_size
    except OSError as error:
        answer = error.strerror
    except ValueError:
        answer = "not a valid path"
    sys.stdout.write(json.dumps([number, answer]) + "\\n")
    sys.stdout.flush()
paths = json.load(sys.stdin)
with ThreadPoolExecutor(16) as pool:
    list(pool.map(look, range(len(paths)), paths))
"""


def sizes_on_disk(paths: Sequence[str]) -> list[int | str]:
    """Get the sizes of files on mounted RSEs.

    Parameters
    ----------
    paths
        Local paths.

    Returns
    -------
    list of int or str
        For each path its size in bytes, or why it cannot be read. A mount that does not answer takes `TIMEOUT` once,
        however many paths are on it.
    """
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _STAT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # an interrupt of the kernel must not reach it
    )
    assert child.stdin is not None  # noqa: S101 - for the type checker
    assert child.stdout is not None  # noqa: S101
    said = b""
    with child.stdin, child.stdout, selectors.DefaultSelector() as silence:
        try:
            child.stdin.write(json.dumps(list(paths)).encode())
            child.stdin.close()
            silence.register(child.stdout, selectors.EVENT_READ)
            while silence.select(TIMEOUT) and (some := os.read(child.stdout.fileno(), 1 << 16)):
                said += some
        finally:
            child.kill()
            with suppress(subprocess.TimeoutExpired):  # stuck on a dead mount, it exits only when the mount answers
                child.wait(0.1)
    sizes: list[int | str] = [f"the mount did not answer within {TIMEOUT:g} s"] * len(paths)
    for line in said.splitlines():
        number, answer = json.loads(line)
        sizes[number] = answer
    return sizes
