"""Numbers, sizes, times and lists in words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime


def count(number: int, noun: str) -> str:
    """Give a number with its noun, for example ``1,234 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: float) -> str:
    """Give a number of bytes in decimal units, for example ``3.4 GB``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} PB"


def several(words: Iterable[str], most: int = 2) -> str:
    """Join words, naming only the first few: ``a``, ``a and b``, ``a, b and 3 more``."""
    known = list(words)
    if len(known) > most:
        known = [*known[:most], f"{len(known) - most:,} more"]
    return " and ".join(filter(None, [", ".join(known[:-1]), *known[-1:]]))


def span(seconds: float) -> str:
    """Write a length of time: ``90 s``, ``60 min``, ``12 h``, ``4 days``."""
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 3 * 86400 else f"{seconds / 86400:.0f} days"


def until(end: datetime | None) -> str:
    """Write when something expires, to append to its name: `` until 2026-11-21 08:00 UTC (60 min)``."""
    if end is None:
        return ""
    return f" until {end:%Y-%m-%d %H:%M} UTC ({span((end - datetime.now(UTC)).total_seconds())})"
