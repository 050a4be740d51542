"""Who follows the jobs, and how they learn what changes."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from rucio_lab.core.errors import RucioLabError
from rucio_lab.core.jobs.registry import Job, Jobs
from rucio_lab.server import rows
from rucio_lab.server.workers import Workers

LOOK_SECONDS = 0.3
"""So often the journals are looked at, as long as somebody follows."""


BEAT_SECONDS = 15.0
"""A stream in which nothing happens says so often that it lives, for the proxies in between."""


def row(job: Job) -> rows.Row:
    """Describe a job."""
    return {**dataclasses.asdict(job), "active": job.active}


class Followers:
    """All who follow the jobs: the journals are looked at once for all of them, and only while there is somebody."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._followers: set[_Follower] = set()
        self._known: dict[str, rows.Row] = {}
        self._stamps: dict[str, tuple[int, bool, bool]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._one = asyncio.Lock()

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[_Follower]:
        """Follow until the context is left: first all jobs are news, then what changes."""
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
        async with self._one:  # or what was seen first could be told last
            stamps = await self._workers.run("", lambda: Jobs().stamp())
            if stamps == self._stamps:
                return
            found = {job.id: row(job) for job in await self._workers.run("", lambda: Jobs().all())}
            changed = {name: each for name, each in found.items() if self._known.get(name) != each}
            gone = {name: {"id": name, "state": "forgotten"} for name in self._known.keys() - found.keys()}
            self._known, self._stamps = found, stamps
            for follower in self._followers:
                follower.tell({**changed, **gone})


class _Follower:
    """Somebody who follows: of each job the latest news, however slowly they are taken."""

    def __init__(self) -> None:
        self._news: dict[str, rows.Row] = {}
        self._failure: RucioLabError | None = None
        self._some = asyncio.Event()
        self._some.set()  # the first news come at once, though there be none

    def tell(self, news: dict[str, rows.Row]) -> None:
        """Have some news for them."""
        self._news.update(news)
        if news:
            self._some.set()

    def fail(self, failure: RucioLabError) -> None:
        """Have no more news for them, and say why."""
        self._failure = failure
        self._some.set()

    async def news(self) -> list[rows.Row]:
        """Wait for news; none if there were none for a while. Raises what keeps more from coming."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._some.wait(), BEAT_SECONDS)
        if self._failure is not None:
            raise self._failure
        self._some.clear()
        news, self._news = self._news, {}
        return list(news.values())
