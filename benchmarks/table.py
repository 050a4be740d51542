"""Timing of calls, and the table of figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """One measurement: our figure, the figure it is compared with, and their ratio.

    Attributes
    ----------
    what
        What was measured.
    ours, theirs
        The figures with units.
    ratio
        Ours divided by theirs; None if a ratio makes no sense.
    """

    what: str
    ours: str
    theirs: str
    ratio: float | None = None


def pairs(ours: Callable[[], object], theirs: Callable[[], object], times: int) -> tuple[float, float, float]:
    """Time two calls alternately, so that a drift in the speed of the machine affects both.

    Parameters
    ----------
    ours, theirs
        The calls; each is called once before the timing starts.
    times
        How often to time each.

    Returns
    -------
    tuple of float
        Median seconds of ours, median seconds of theirs, and the median of the ratios of the pairs.
    """
    ours()
    theirs()
    taken = [(_seconds(ours), _seconds(theirs)) for _ in range(times)]
    return median(a for a, _ in taken), median(b for _, b in taken), median(a / b for a, b in taken)


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def show(rows: Sequence[Row]) -> None:
    """Print a table."""
    cells = [("what", "ours", "compared with", "ratio")]
    cells += [(row.what, row.ours, row.theirs, "" if row.ratio is None else f"{row.ratio:.2f}") for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(4)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
