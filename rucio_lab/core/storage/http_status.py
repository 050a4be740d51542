"""What an HTTP status from a storage means, for readers, downloads and probes alike."""

from __future__ import annotations

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
}


def meaning(status: int) -> Answer:
    """Give the meaning of a status (RFC 9110, section 15)."""
    return _MEANINGS.get(status, Answer.ERROR)


def failure(
    status: int, replica: Replica, instance: Instance, size: int, *, error_concerns: Literal["server", "file"] = "file"
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
        case _ if (proxy := proxies.proxy_for(replica.url)) and (status == 407 or replica.scheme == "http"):
            return proxies.failed(proxy, proxies.meaning(status))
        case _:
            return StorageFailed(f"answers with an error (HTTP {status})", concerns=error_concerns)
