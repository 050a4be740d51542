"""The time by Rucio's clock: it decides when a token ends, whatever the clock of this machine says."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from rucio_lab.core.config.instances import Instance

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


def span(seconds: float) -> str:
    """Write a length of time for people: ``90 s``, ``60 min``, ``12 h``, ``4 days``."""
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 3 * 86400 else f"{seconds / 86400:.0f} days"


def until(end: datetime | None) -> str:
    """Write when something ends, to stand behind what does: `` until 2026-11-21 08:00 UTC (60 min)``."""
    if end is None:
        return ""
    return f" until {end:%Y-%m-%d %H:%M} UTC ({span((end - datetime.now(UTC)).total_seconds())})"
