"""The time by Rucio's clock: it decides when a token ends, whatever the clock of this machine says."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from rucio_lab.core.config.settings import Instance

TOLERANCE = 5.0
"""Clocks that differ by no more are the same: an answer tells its time in whole seconds, and takes some to arrive."""

_ahead: dict[str, float] = {}


def look(instance: Instance, headers: Mapping[str, str]) -> None:
    """Learn from the header ``Date`` of an answer how far Rucio's clock is from ours."""
    try:
        ahead = parsedate_to_datetime(headers["Date"]).timestamp() - time.time()
    except (KeyError, ValueError, TypeError, OverflowError):
        return
    _ahead[instance.auth_url] = ahead if abs(ahead) > TOLERANCE else 0.0


def now(instance: Instance) -> float:
    """Give the time by the clock of an instance, as far as it is known, in seconds since 1970."""
    return time.time() + ahead(instance)


def ahead(instance: Instance) -> float:
    """Say by how many seconds the clock of an instance is ahead of ours; 0 where that is not known."""
    return _ahead.get(instance.auth_url, 0.0)


def known(instance: Instance) -> bool:
    """Whether an instance has told its time."""
    return instance.auth_url in _ahead
