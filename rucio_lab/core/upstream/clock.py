"""The time by Rucio's clock, which decides when a token expires, even if the clock of this machine is wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from rucio_lab.core.config.settings import Instance

TOLERANCE = 5.0
"""Smaller differences are ignored, in seconds: answers have whole seconds, and take some time to arrive."""

_ahead: dict[str, float] = {}


def look(instance: Instance, headers: Mapping[str, str]) -> None:
    """Learn from the header ``Date`` of an answer how much Rucio's clock differs from ours."""
    try:
        ahead = parsedate_to_datetime(headers["Date"]).timestamp() - time.time()
    except (KeyError, ValueError, TypeError, OverflowError):
        return
    _ahead[instance.auth_url] = ahead if abs(ahead) > TOLERANCE else 0.0


def now(instance: Instance) -> float:
    """Give the time by the clock of an instance if it is known, else by ours, in seconds since 1970."""
    return time.time() + ahead(instance)


def ahead(instance: Instance) -> float:
    """Give how many seconds the clock of an instance is ahead of ours; 0 if that is not known."""
    return _ahead.get(instance.auth_url, 0.0)


def known(instance: Instance) -> bool:
    """Whether the clock of an instance is known."""
    return instance.auth_url in _ahead
