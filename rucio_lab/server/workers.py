"""Threads that ask Rucio, a limited number for each instance, so that an instance that hangs delays no other.

Unlike those of `concurrent.futures` they are daemon threads, so that a Rucio that hangs does not delay the shutdown of
the Jupyter server. They are reused, because each has its own connection to Rucio.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from queue import SimpleQueue
from typing import TypeVar

from rucio_lab.core.answers import until
from rucio_lab.core.errors import LakeTooSlow

T = TypeVar("T")

THREADS = 8
"""The largest number of simultaneous requests to one instance."""

QUEUE_SECONDS = 30.0
"""How long a request waits for a free thread before it is refused, in seconds."""

BATCH = 500
"""The largest number of rows that are sent at once; the first batches are smaller."""

BATCH_SECONDS = 0.1
"""Rows that arrive slowly are sent after this time, in seconds, however few they are."""


class Workers:
    """The threads of all instances. For use in the event loop of the Jupyter server."""

    def __init__(self) -> None:
        self._crews: dict[str, _Crew] = {}

    async def run(self, instance: str, call: Callable[[], T]) -> T:
        """Run a call in a thread of an instance.

        Parameters
        ----------
        instance
            Name of the instance; empty for calls that do not ask Rucio.
        call
            The call. If the awaiting task is cancelled, its requests to Rucio are cut off; its thread counts as busy
            until it is really free.

        Raises
        ------
        LakeTooSlow
            If all threads of the instance stay busy.
        """
        crew = self._crews.setdefault(instance, _Crew(instance))
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        left = threading.Event()
        await crew.start(lambda: _call(call, answer, left))
        try:
            return await answer
        finally:
            left.set()

    @asynccontextmanager
    async def stream(self, instance: str, rows: Callable[[], Iterator[T]]) -> AsyncIterator[AsyncIterator[list[T]]]:
        """Read rows in a thread of an instance, no faster than they are consumed.

        Parameters
        ----------
        instance
            Name of the instance.
        rows
            Gives the rows. It is closed when the context exits, even while it waits for Rucio.

        Yields
        ------
        asynchronous iterator of list
            The rows in batches of at most `BATCH`: the first row alone, then more and more.
        """
        batches: asyncio.Queue[list[T] | None] = asyncio.Queue(maxsize=2)
        left = threading.Event()
        loop = asyncio.get_running_loop()
        reading = asyncio.ensure_future(self.run(instance, lambda: _read(rows, batches, left, loop)))

        async def take() -> AsyncIterator[list[T]]:
            while (batch := await batches.get()) is not None:
                yield batch
            await reading

        reading.add_done_callback(lambda _: loop.create_task(batches.put(None)))
        try:
            yield take()
        finally:
            left.set()
            reading.cancel()
            while not batches.empty():  # or the thread would wait for space in it
                batches.get_nowait()


class _Crew:
    """The threads of one instance."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._free = asyncio.Semaphore(THREADS)
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._threads = 0
        self._busy = 0

    async def start(self, task: Callable[[], None]) -> None:
        try:
            await asyncio.wait_for(self._free.acquire(), QUEUE_SECONDS)
        except TimeoutError:
            raise LakeTooSlow(
                f"{THREADS} requests to {self._name} are still waiting for an answer.", "Try again later."
            ) from None
        loop = asyncio.get_running_loop()
        self._busy += 1
        if self._busy > self._threads:
            self._threads += 1
            threading.Thread(target=self._work, name=f"rucio-lab {self._name}", daemon=True).start()

        def work() -> None:
            task()
            with suppress(RuntimeError):  # as in _call
                loop.call_soon_threadsafe(self._done)

        self._tasks.put(work)

    def _done(self) -> None:
        self._busy -= 1
        self._free.release()

    def _work(self) -> None:
        while True:
            self._tasks.get()()


def _call(call: Callable[[], T], answer: asyncio.Future[T], left: threading.Event) -> None:
    """Run a call, unless nobody is waiting for it, and give its result or exception to the loop that awaits it."""
    if left.is_set():
        return
    failure: BaseException | None = None
    try:
        with until(left):
            result = call()
    except BaseException as error:  # noqa: BLE001 - the awaiting task gets it
        failure = error

    def give() -> None:
        if answer.done():
            return  # nobody is waiting
        if failure is not None:
            answer.set_exception(failure)
        else:
            answer.set_result(result)

    with suppress(RuntimeError):  # the server has stopped meanwhile, and its loop is closed
        answer.get_loop().call_soon_threadsafe(give)


def _read(
    rows: Callable[[], Iterator[T]],
    batches: asyncio.Queue[list[T] | None],
    left: threading.Event,
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Put rows into a queue, in batches, until its reader has left."""
    batch: list[T] = []
    most, last = 50, 0.0  # the first row is sent at once, because somebody is watching
    with closing(rows()) as source:  # type: ignore[type-var]
        for row in source:
            batch.append(row)
            if len(batch) >= most or time.monotonic() - last > BATCH_SECONDS:
                if left.is_set():
                    return
                asyncio.run_coroutine_threadsafe(batches.put(batch), loop).result()
                most = min(BATCH, most + len(batch))
                batch, last = [], time.monotonic()
    if batch and not left.is_set():
        asyncio.run_coroutine_threadsafe(batches.put(batch), loop).result()
