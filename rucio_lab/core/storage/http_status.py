"""What an HTTP status from a storage means, for readers, downloads and probes alike."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Literal

from rucio_lab.core import proxies
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.model import Replica
from rucio_lab.core.storage.shown import why_refused


class Answer(Enum):
    """How a storage answers a request for part of a file."""

    PART = auto()
    WHOLE = auto()
    NO_FILE = auto()
    TOO_SHORT = auto()
    REFUSED = auto()
    BUSY = auto()
    ERROR = auto()


_MEANINGS = {
    200: Answer.WHOLE,
    206: Answer.PART,
    400: Answer.REFUSED,  # how nginx asks for a client certificate
    401: Answer.REFUSED,
    403: Answer.REFUSED,
    404: Answer.NO_FILE,
    410: Answer.NO_FILE,
    416: Answer.TOO_SHORT,
    429: Answer.BUSY,
    503: Answer.BUSY,
}

_USUAL_WAIT = 1.0  # seconds, if a busy storage does not say how long to wait


def meaning(status: int) -> Answer:
    """Give the meaning of a status (RFC 9110, section 15)."""
    return _MEANINGS.get(status, Answer.ERROR)


def wait_of(header: str | None) -> float:
    """Give how long a busy storage asks to wait, in seconds.

    Parameters
    ----------
    header
        ``Retry-After``, with seconds or a date (RFC 9110, section 10.2.3); None if there is none.
    """
    said = (header or "").strip()
    if said.isdecimal():
        return max(float(said), _USUAL_WAIT)
    try:
        when = parsedate_to_datetime(said)
        if when.tzinfo is None:  # an old form of dates names no zone: it is always UTC
            when = when.replace(tzinfo=UTC)
        return max((when - datetime.now(UTC)).total_seconds(), _USUAL_WAIT)
    except (ValueError, OverflowError):
        return _USUAL_WAIT


def failure(
    status: int,
    replica: Replica,
    instance: Instance,
    size: int,
    *,
    retry_after: str | None = None,
    error_concerns: Literal["server", "file"] = "file",
) -> StorageFailed:
    """Say why a storage did not send part of a file.

    Parameters
    ----------
    status
        The status of the answer; neither 200 nor 206.
    replica, instance
        The replica that was requested, and the instance it belongs to.
    size
        Size of the file in bytes, as registered in Rucio.
    retry_after
        Its header ``Retry-After``.
    error_concerns
        What an internal error of the storage affects: the whole ``server``, or only this ``file``.
    """
    match meaning(status):
        case Answer.REFUSED:
            return StorageFailed(why_refused(replica, instance, f"HTTP {status}"), concerns="credentials")
        case Answer.NO_FILE:
            return StorageFailed(f"has no such file (HTTP {status})")
        case Answer.TOO_SHORT:
            return StorageFailed(f"has a file shorter than the {size:,} bytes that Rucio has registered")
        case Answer.BUSY:
            return busy(f"HTTP {status}", wait_of(retry_after))
        case _ if (proxy := proxies.proxy_for(replica.url)) and (status == 407 or replica.scheme == "http"):
            return proxies.failed(proxy, proxies.meaning(status))
        case _:
            return StorageFailed(f"answers with an error (HTTP {status})", concerns=error_concerns)


def busy(said: str, wait: float = _USUAL_WAIT) -> StorageFailed:
    """Say that a storage is busy.

    Parameters
    ----------
    said
        How it said so.
    wait
        How long it asks to wait, in seconds.
    """
    remedy = "Try again later, or raise patience in [instances.NAME.storage] of rucio_lab.toml to wait longer."
    words = f"is busy ({said}), and asks to wait {wait:.0f} s"
    return StorageFailed(words, remedy, concerns="server", retry_after=wait)
