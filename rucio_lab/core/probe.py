"""Is a replica reachable? Asked quickly, in parallel, and remembered for some minutes.

A server is asked just as its reader would ask it, without any credentials: a plain URL carries none.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Iterable, Sequence
from urllib.parse import urlsplit

from rucio_lab.core.model import Replica

TIMEOUT = 2.0
"""How long a server may take to answer, in seconds."""

_REMEMBER_ALIVE = 300.0
_REMEMBER_DEAD = 120.0  # a server that comes back should not wait long for us

Endpoint = tuple[str, str]
"""An RSE and one of its servers (``scheme://host:port``)."""

_verdicts: dict[Endpoint, tuple[str, float]] = {}


def endpoint(replica: Replica) -> Endpoint:
    """Give what a probe of a replica speaks for: its RSE and server."""
    return replica.rse, replica.endpoint


def verdict(where: Endpoint) -> str | None:
    """Give what is remembered of an endpoint.

    Returns
    -------
    str or None
        Empty if it answers, else why it is of no use; None if nothing is known.
    """
    known = _verdicts.get(where)
    return known[0] if known is not None and known[1] > time.monotonic() else None


def forget() -> None:
    """Forget all verdicts, so that every endpoint is asked again."""
    _verdicts.clear()


def probe(replicas: Iterable[Replica]) -> None:
    """Ask the servers of some replicas, all at once, and remember what they said.

    Parameters
    ----------
    replicas
        One replica for each endpoint to ask. Takes `TIMEOUT` at most, however many they are.
    """
    from fsspec.asyn import get_loop

    asked = list(replicas)
    answers = asyncio.run_coroutine_threadsafe(_probe_all(asked), get_loop()).result()
    now = time.monotonic()
    for replica, reason in zip(asked, answers, strict=True):
        _verdicts[endpoint(replica)] = (reason, now + (_REMEMBER_DEAD if reason else _REMEMBER_ALIVE))


async def _probe_all(replicas: Sequence[Replica]) -> list[str]:
    return await asyncio.gather(*(_probe_one(replica) for replica in replicas))


async def _probe_one(replica: Replica) -> str:
    ask: Awaitable[str] = _probe_root(replica.url) if replica.scheme == "root" else _probe_http(replica.url)
    try:
        return await asyncio.wait_for(ask, TIMEOUT)
    except TimeoutError:
        return f"did not answer within {TIMEOUT:g} s"
    except ConnectionRefusedError:
        return "refuses connections"
    except OSError as error:
        return f"cannot be reached ({error.strerror or error})"


async def _probe_root(url: str) -> str:
    """Greet an XRootD server: the first 20 bytes of its protocol, which it answers with 16 of its own.

    Source: XRootD protocol specification, initial handshake.
    """
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 1094)
    try:
        writer.write(struct.pack(">5i", 0, 0, 0, 4, 2012))
        await writer.drain()
        answer = await reader.readexactly(8)
    except asyncio.IncompleteReadError:
        return "closed the connection"
    finally:
        writer.close()
    return "" if answer[2:4] == b"\x00\x00" else "is no XRootD server"


async def _probe_http(url: str) -> str:
    """Ask a web server for the first byte of a file."""
    import aiohttp

    try:
        async with aiohttp.ClientSession() as session, session.get(url, headers={"Range": "bytes=0-0"}) as response:
            return _judge_http(response.status)
    except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError):
        return "has a certificate that Python does not trust here (SSL_CERT_FILE can name its CA)"
    except (aiohttp.ClientSSLError, ssl.SSLError):
        return "refuses the TLS connection; it may want a client certificate"
    except aiohttp.ClientConnectorError as error:
        raise error.os_error from error
    except aiohttp.ClientError as error:
        return f"does not answer as a web server ({type(error).__name__})"


def _judge_http(status: int) -> str:
    if status == 200:
        return "does not serve parts of files (no Range requests), so it cannot be streamed from"
    if status in (401, 403):
        return f"asks for credentials that a plain URL cannot carry (HTTP {status})"
    if status >= 500:
        return f"answers with an error (HTTP {status})"
    return ""  # 206; 416 for an empty file; 404 speaks for one file, not for the server


# A stat() on a dead network mount never returns and cannot be interrupted, so it happens in a process of its own.
_STAT = """
import json, os, sys
from concurrent.futures import ThreadPoolExecutor
def size(path):
    try:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        return error.strerror or "cannot be read"
with ThreadPoolExecutor(16) as pool:
    json.dump(list(pool.map(size, json.load(sys.stdin))), sys.stdout)
"""


def sizes_on_disk(paths: Sequence[str]) -> list[int | str]:
    """Look at files on mounted RSEs.

    Parameters
    ----------
    paths
        Local paths.

    Returns
    -------
    list of int or str
        For each path its size in bytes, or why it cannot be read. A mount that does not answer costs `TIMEOUT`, and
        10 ms for each file.
    """
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _STAT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # an interrupt of the kernel is for the kernel
    )
    limit = TIMEOUT + 0.01 * len(paths)
    try:
        answer, _ = child.communicate(json.dumps(list(paths)), timeout=limit)
    except subprocess.TimeoutExpired:
        return [f"the mount did not answer within {limit:.0f} s"] * len(paths)
    finally:
        child.kill()  # not waited for: a process stuck on a dead mount does not die before the mount answers
    sizes: list[int | str] = json.loads(answer)
    return sizes
