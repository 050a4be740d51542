"""Threads that renew sign-ins before they expire, even in an idle process.

Rucio renews a sign-in at an identity provider only until it expires, so a kernel that is idle for some hours would lose
it. All other ways of signing in get a new token when they need one, and need no thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

LONGEST = 60.0
"""Longest sleep, in seconds: another process may have signed in again."""

SHORTEST = 0.2
"""Shortest sleep, in seconds."""

_wakers: dict[tuple[str, ...], threading.Event] = {}
_lock = threading.Lock()


def keep(key: tuple[str, ...], look: Callable[[], float | None]) -> None:
    """Call a function from time to time in a thread, one for each key. If there is one already, call it now.

    Parameters
    ----------
    key
        The sign-in that is renewed.
    look
        Renews it if it is due, and gives the seconds until the next call; None stops the thread.
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
    """Forget the threads in a forked child: they run only in the parent."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _wakers.clear()


os.register_at_fork(after_in_child=_after_fork)
