"""Threads that renew what must be renewed before it ends, also while nobody asks anything.

Rucio renews the sign-in at an identity provider only as long as it has not ended: a kernel that sits idle for some
hours would lose it. All other ways get a new token whenever one is needed, and need no thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

LONGEST = 60.0
"""Longest sleep, in seconds: another process may have signed in anew."""

SHORTEST = 0.2
"""Shortest sleep, in seconds."""

_wakers: dict[tuple[str, ...], threading.Event] = {}
_lock = threading.Lock()


def keep(key: tuple[str, ...], look: Callable[[], float | None]) -> None:
    """Have something looked after, from now on, once for each key; again at once if it is already.

    Parameters
    ----------
    key
        What.
    look
        Renews it if it is due, and gives the seconds until the next look; None ends it.
    """
    with _lock:
        if key in _wakers:
            _wakers[key].set()
            return
        wake = _wakers[key] = threading.Event()
    threading.Thread(target=_run, args=(key, look, wake), name="rucio-lab renewal", daemon=True).start()


def _run(key: tuple[str, ...], look: Callable[[], float | None], wake: threading.Event) -> None:
    while True:
        wake.clear()
        if (seconds := look()) is None:
            with _lock:
                if not wake.is_set():
                    _wakers.pop(key, None)
                    return
        wake.wait(max(SHORTEST, min(LONGEST, seconds or 0.0)))


def _after_fork() -> None:
    """Start anew in a forked child, which has no threads."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _wakers.clear()


os.register_at_fork(after_in_child=_after_fork)
