"""What the status of a storage's HTTP answer means: written once, for readers, downloads and probes."""

from __future__ import annotations

from enum import Enum, auto
from typing import Literal

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.model import Replica
from rucio_lab.core.storage.shown import why_refused


class Answer(Enum):
    """What a storage answers to who asks for a part of a file."""

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
    """Say what a status means (RFC 9110, section 15)."""
    return _MEANINGS.get(status, Answer.ERROR)


def failure(
    status: int, replica: Replica, instance: Instance, size: int, *, error_concerns: Literal["server", "file"] = "file"
) -> StorageFailed:
    """Say why a storage gave no part of a file.

    Parameters
    ----------
    status
        Of the answer; neither 200 nor 206.
    replica, instance
        What was asked for, and whose storage it is.
    size
        Of the file in bytes, as registered in Rucio.
    error_concerns
        What an error of the storage's own speaks for: its ``server``, or this ``file`` only.
    """
    match meaning(status):
        case Answer.REFUSED:
            return StorageFailed(why_refused(replica, instance, f"HTTP {status}"), concerns="credentials")
        case Answer.NO_FILE:
            return StorageFailed(f"has no such file (HTTP {status})")
        case Answer.TOO_SHORT:
            return StorageFailed(f"has a shorter file than the {size:,} bytes that Rucio has registered")
        case _:
            return StorageFailed(f"answers with an error (HTTP {status})", concerns=error_concerns)
