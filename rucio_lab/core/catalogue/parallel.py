"""Several questions to one Rucio side by side: a few threads for each instance, however many ask.

They are daemon threads that are kept, since each has its own connection to Rucio, and a Rucio that hangs must hold up
neither an interrupt nor the end of Python.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Sequence
from queue import SimpleQueue
from typing import TypeVar

from rucio_lab.core.answers import reasons_to_leave, until
from rucio_lab.core.config.settings import Instance

T = TypeVar("T")

THREADS = 4
"""Most questions to one instance that are asked so at a time."""


def side_by_side(instance: Instance, calls: Sequence[Callable[[threading.Event], T]]) -> Generator[T, None, None]:
    """Make some calls in threads, and give their results in the order in which they come.

    Parameters
    ----------
    instance
        Whom they ask.
    calls
        What to do. Each gets an event that is set when its result is of no use any more: one that reads a long answer
        should look at it for each row, and leave. A call must not itself wait for others of the same instance.

    Raises
    ------
    Exception
        That of the first call which failed. As after an interrupt, and when the iterator is closed, the others are
        told to stop, and those that have not begun never do.
    """
    if len(calls) < 2:
        yield from (call(threading.Event()) for call in calls)
        return
    left, answers = threading.Event(), SimpleQueue[Callable[[], T]]()
    reasons = (left, *reasons_to_leave())
    with _lock:
        crew = _crews.setdefault(instance.key, _Crew(instance.name))
        for call in calls:
            crew.add(lambda call=call: None if left.is_set() else answers.put(_outcome(call, reasons)))  # type: ignore[misc]
    waiting = len(calls)
    try:
        while waiting:
            answer = answers.get()
            waiting -= 1
            yield answer()
    finally:
        left.set()
        if waiting:
            _dismiss(instance, crew)


def _outcome(call: Callable[[threading.Event], T], reasons: tuple[threading.Event, ...]) -> Callable[[], T]:
    """Make a call, as long as somebody waits for it; what comes of it, a result or an exception, is for them."""
    try:
        with until(*reasons):
            result = call(reasons[0])
    except BaseException as error:  # noqa: BLE001 - raised where it is waited for
        failure = error

        def fail() -> T:
            raise failure

        return fail
    return lambda: result


class _Crew:
    """The threads of one instance."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = 0

    def add(self, task: Callable[[], None]) -> None:
        self._tasks.put(task)
        if self._threads < THREADS:
            self._threads += 1
            threading.Thread(target=self._work, name=f"rucio-lab {self._name}", daemon=True).start()

    def end(self) -> None:
        """Let each thread end, after what it has been given so far."""
        for _ in range(self._threads):
            self._tasks.put(None)

    def _work(self) -> None:
        while task := self._tasks.get():
            task()


def _dismiss(instance: Instance, crew: _Crew) -> None:
    """Do without a crew whose threads may still wait for a Rucio that hangs: the next question gets new ones."""
    with _lock:
        if _crews.get(instance.key) is crew:
            del _crews[instance.key]
            crew.end()


_crews: dict[tuple[str, ...], _Crew] = {}
_lock = threading.Lock()


def _after_fork() -> None:
    """Start anew in a forked child, which has none of its parent's threads."""
    global _lock  # noqa: PLW0603
    _crews.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
