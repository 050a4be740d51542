"""Those who follow the jobs over REST, and how they learn about changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from rucio_lab.core.errors import RucioLabError
from rucio_lab.core.jobs.registry import Jobs
from rucio_lab.server import rows
from rucio_lab.server.workers import Workers

LOOK_SECONDS = 0.3
"""How often the journals are checked while somebody follows, in seconds."""


BEAT_SECONDS = 15.0
"""How often an idle stream sends a sign of life, in seconds, so that proxies do not close it."""


class Followers:
    """All followers of the jobs. The journals are checked once for all of them, and only while there are any."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._followers: set[_Follower] = set()
        self._known: dict[str, rows.Row] = {}
        self._stamps: dict[str, tuple[int, bool, bool]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._one = asyncio.Lock()

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[_Follower]:
        """Follow until the context exits. The first news are all jobs, later news are changes."""
        follower = _Follower()
        self._followers.add(follower)
        try:
            await self._look()
            follower.tell(self._known)
            if self._looking is None or self._looking.done():
                self._looking = asyncio.ensure_future(self._keep_looking())
            yield follower
        finally:
            self._followers.discard(follower)

    async def _keep_looking(self) -> None:
        while self._followers:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except RucioLabError as error:
                for follower in self._followers:
                    follower.fail(error)

    async def _look(self) -> None:
        async with self._one:  # or older news could arrive last
            stamps = await self._workers.run("", lambda: Jobs().stamp())
            if stamps == self._stamps:
                return
            found = {job.id: rows.job(job) for job in await self._workers.run("", lambda: Jobs().all())}
            changed = {name: each for name, each in found.items() if self._known.get(name) != each}
            gone = {name: {"id": name, "state": "forgotten"} for name in self._known.keys() - found.keys()}
            self._known, self._stamps = found, stamps
            for follower in self._followers:
                follower.tell({**changed, **gone})


class _Follower:
    """One follower. However slowly it reads, it gets the latest news of each job."""

    def __init__(self) -> None:
        self._news: dict[str, rows.Row] = {}
        self._failure: RucioLabError | None = None
        self._some = asyncio.Event()
        self._some.set()  # the first news come at once, even if there are no jobs

    def tell(self, news: dict[str, rows.Row]) -> None:
        """Add news."""
        self._news.update(news)
        if news:
            self._some.set()

    def fail(self, failure: RucioLabError) -> None:
        """End the news with an error."""
        self._failure = failure
        self._some.set()

    async def news(self) -> list[rows.Row]:
        """Wait for news; an empty list after a while without any. Raises the error that ended the news."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._some.wait(), BEAT_SECONDS)
        if self._failure is not None:
            raise self._failure
        self._some.clear()
        news, self._news = self._news, {}
        return list(news.values())
