"""How figures are taken and shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """One figure: ours, what it is compared with, and the ratio.

    Attributes
    ----------
    what
        What was measured.
    ours, theirs
        The figures, with their unit.
    ratio
        Ours divided by theirs; None where a ratio makes no sense.
    """

    what: str
    ours: str
    theirs: str
    ratio: float | None = None


def pairs(ours: Callable[[], object], theirs: Callable[[], object], times: int) -> tuple[float, float, float]:
    """Time two calls in turn, so that a machine whose speed drifts is fair to both.

    Parameters
    ----------
    ours, theirs
        What to call; each is called once before, uncounted.
    times
        How often.

    Returns
    -------
    tuple of float
        Median seconds of ours, of theirs, and the median of the ratios pair by pair.
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
