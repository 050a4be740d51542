"""Calls to XRootD's client in threads, without its callbacks, so that a fork cannot freeze the process.

XRootD stops its own threads before a fork, and waits for them while the forking thread holds the GIL. A thread that is
about to call back into Python waits for the GIL, so neither would ever continue. A blocking call releases the GIL and
calls nothing back; it runs in a thread of ours, so that its caller can give up or be interrupted.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

_IDLE = 30.0  # seconds after which a thread without work ends

_Work = tuple[Future[Any], Callable[[], Any]]

_idle: deque[SimpleQueue[_Work]] = deque()  # of threads without work


def start(call: Callable[[], Any]) -> Future[Any]:
    """Run a blocking call in another thread. It never waits for a free thread, and may be used by ``__del__``.

    Parameters
    ----------
    call
        A call to XRootD's client with a time limit of its own: nothing else ends it.
    """
    future: Future[Any] = Future()
    try:
        queue = _idle.pop()
    except IndexError:
        queue = SimpleQueue()
        threading.Thread(target=_run, args=(queue,), daemon=True, name="rucio-lab-xrootd").start()
    queue.put((future, call))
    return future


def _run(queue: SimpleQueue[_Work]) -> None:
    while True:
        try:
            future, call = queue.get(timeout=_IDLE)
        except Empty:
            try:
                _idle.remove(queue)
            except ValueError:  # somebody has just taken this thread, and its work will follow
                continue
            return
        if future.set_running_or_notify_cancel():
            try:
                answer = call()
            except Exception as error:  # noqa: BLE001 - its caller gets it
                future.set_exception(error)
            else:
                future.set_result(answer)
                del answer
        del future, call  # they may be the last to hold a file
        _idle.append(queue)


def awaitable(method: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Make a coroutine function of a method of XRootD's client."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        return await asyncio.wrap_future(start(lambda: method(*args, **kwargs)))

    return call


os.register_at_fork(after_in_child=_idle.clear)  # a forked child has none of the threads
