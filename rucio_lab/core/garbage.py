"""Python's search for garbage, less often while very many objects are made that all stay."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_OBJECTS = 100_000
"""How many new objects start a search meanwhile. By default it is some hundreds."""


class _Searches:
    """How many callers want few searches, in all threads, and what was set before the first of them came."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.callers = 0
        self.before = (0, 0, 0)


_searches = _Searches()


@contextmanager
def rarely_searched() -> Iterator[None]:
    """Search for garbage less often in this context: lists of 100,000 files are made in two thirds of the time."""
    with _searches.lock:
        _searches.callers += 1
        if _searches.callers == 1:
            _searches.before = gc.get_threshold()
            if _searches.before[0]:  # else there are no searches at all
                gc.set_threshold(max(_OBJECTS, _searches.before[0]), *_searches.before[1:])
    try:
        yield
    finally:
        with _searches.lock:
            _searches.callers -= 1
            if not _searches.callers:
                gc.set_threshold(*_searches.before)


def _after_fork() -> None:
    """Restore the setting in a forked child, where the callers in other threads do not exist."""
    _searches.lock = threading.Lock()
    if _searches.callers:
        _searches.callers = 0
        gc.set_threshold(*_searches.before)


os.register_at_fork(after_in_child=_after_fork)
