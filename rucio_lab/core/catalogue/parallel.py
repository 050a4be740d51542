"""Several requests to one Rucio in parallel, in at most four threads per instance, however many callers there are.

The threads are kept, because each has its own connection to Rucio. They are daemon threads, so that a Rucio that hangs
delays neither an interrupt nor the exit of Python.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import TypeVar

from rucio_lab.core.answers import reasons_to_leave, until
from rucio_lab.core.config.settings import Instance

T = TypeVar("T")

THREADS = 4
"""The most requests to one instance at a time."""


def side_by_side(instance: Instance, calls: Sequence[Callable[[threading.Event], T]]) -> Generator[T, None, None]:
    """Make calls in threads, and yield each result as soon as it is there.

    Parameters
    ----------
    instance
        The instance that the calls ask.
    calls
        Functions, each of which is given an event. It is set when the result is no longer wanted: a call that reads a
        long answer should check it for each row, and return. A call must not wait for others of the same instance.

    Raises
    ------
    Exception
        The exception of the first call that failed. The other calls are then told to stop, and those that have not
        started never do; likewise after an interrupt, and when the iterator is closed.
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


@contextmanager
def meanwhile(instance: Instance, call: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Make a call in a thread while the body of the context runs.

    Yields
    ------
    callable
        Waits for the result. If all threads are still busy with other calls, it makes the call itself.
    """
    left, begun, answers = threading.Event(), threading.Lock(), SimpleQueue[Callable[[], T]]()
    reasons = (left, *reasons_to_leave())
    unknown = True

    def work() -> None:
        if begun.acquire(blocking=False):
            answers.put(_outcome(lambda _: call(), reasons))

    def result() -> T:
        nonlocal unknown
        work()
        answer = answers.get()
        unknown = False
        return answer()

    with _lock:
        crew = _crews.setdefault(instance.key, _Crew(instance.name))
        crew.add(work)
    try:
        yield result
    finally:
        left.set()
        if unknown and not begun.acquire(blocking=False):
            _dismiss(instance, crew)


def together(instance: Instance, calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make calls side by side, the first one in this thread, and give the results in the same order."""
    with ExitStack() as stack:
        others = [stack.enter_context(meanwhile(instance, call)) for call in calls[1:]]
        return [*(call() for call in calls[:1]), *(result() for result in others)]


def _outcome(call: Callable[[threading.Event], T], reasons: tuple[threading.Event, ...]) -> Callable[[], T]:
    """Make a call while somebody waits for it. Returns a function that gives the result, or raises the exception."""
    try:
        with until(*reasons):
            result = call(reasons[0])
    except BaseException as error:  # noqa: BLE001 - raised again in the thread of the caller
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
        self._unfinished = 0

    def add(self, task: Callable[[], None]) -> None:
        """Add a task; the caller holds the lock."""
        self._tasks.put(task)
        self._unfinished += 1
        if self._threads < min(self._unfinished, THREADS):
            self._threads += 1
            threading.Thread(target=self._work, name=f"rucio-lab {self._name}", daemon=True).start()

    def end(self) -> None:
        """Let each thread end when it has done its tasks."""
        for _ in range(self._threads):
            self._tasks.put(None)

    def _work(self) -> None:
        while task := self._tasks.get():
            task()
            with _lock:
                self._unfinished -= 1


def _dismiss(instance: Instance, crew: _Crew) -> None:
    """Drop a crew, as its threads may still be waiting for a Rucio that hangs. The next request gets new threads."""
    with _lock:
        if _crews.get(instance.key) is crew:
            del _crews[instance.key]
            crew.end()


_crews: dict[tuple[str, ...], _Crew] = {}
_lock = threading.Lock()


def _after_fork() -> None:
    """Forget the threads of the parent in a forked child, where they do not exist."""
    global _lock  # noqa: PLW0603
    _crews.clear()
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
