"""The jobs of the REST interface: start, list, follow, cancel, retry, and the log."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, RucioLabError
from rucio_lab.core.jobs.job import Job
from rucio_lab.core.jobs.registry import Jobs
from rucio_lab.core.model import Request
from rucio_lab.server import rows
from rucio_lab.server.handler import LakeHandler, lake_of, verb
from rucio_lab.server.workers import Workers

LOOK_SECONDS = 0.3
"""So often the journals are looked at, as long as somebody follows."""

MOST_DIDS = 100
"""Most DIDs of one job: Rucio is asked for each of them before it starts."""

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


class JobsHandler(LakeHandler):
    """``jobs``: all of them."""

    @verb
    async def get(self) -> None:
        """List them, the newest first; with ``follow=1`` go on with whatever changes, and never end."""
        if self.get_query_argument("follow", "") not in ("1", "true"):
            jobs = await self.workers.run("", lambda: Jobs().all())
            end = {"end": True, "count": len(jobs), "more": False}
            await self._send(b"".join([*(rows.line(row(job)) for job in jobs), rows.encode(end)]))
            return
        async with self.followers.follow() as follower:
            while True:
                try:
                    news = await follower.news()
                except RucioLabError as error:
                    await self._send(rows.encode({"end": False, "error": rows.error(error)}))
                    return
                await self._send(b"".join(map(rows.line, news)) or rows.encode({"beat": True}))

    @verb
    async def post(self) -> None:
        """Start one, unless the same is under way."""
        instance = await self.instance()
        request = self.request_of(instance)
        await self.ask(instance, partial(_check, instance, request))
        job = await self.workers.run("", lambda: Jobs().start(request))
        self.finish(json.dumps(row(job)))

    @property
    def followers(self) -> Followers:
        """Who follows, in all tabs."""
        followers: Followers = self.settings.setdefault("rucio_lab_followers", Followers(self.workers))
        return followers

    def request_of(self, instance: Instance) -> Request:
        """Read from the body what is to be downloaded."""
        try:
            body: Any = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            body = None
        given = body if isinstance(body, dict) else {}
        dids, folder = given.get("dids"), given.get("to") or ""
        if not isinstance(dids, list) or not all(isinstance(did, str) for did in dids) or not dids:
            raise BadRequest("The body names no DIDs.", 'Send a JSON object like {"dids": ["scope:name"]}.')
        if len(dids) > MOST_DIDS:
            raise BadRequest(
                f"The body names {len(dids):,} DIDs, and a job takes {MOST_DIDS} at most.",
                "Name a dataset or container that holds them, or start several jobs.",
            )
        if not isinstance(folder, str):
            raise BadRequest("The folder is no text.", "Let to be the path of a folder, or leave it out.")
        return Request(tuple(str(DID.parse(did)) for did in dids), instance.name, "download", folder=folder)


def _check(instance: Instance, request: Request) -> None:
    """See at once whether there is such a DID, and somebody signed in; for the threads of the instance only."""
    lake = lake_of(instance)
    for text in request.dids:
        did = DID.parse(text)
        if did.is_pattern:
            raise BadRequest(f"{did} is a pattern.", "A job takes DIDs one by one.")
        lake.info(did)


class JobHandler(LakeHandler):
    """``job``: one of them."""

    @verb
    async def get(self) -> None:
        """Describe it."""
        await self.answer("get")

    @verb
    async def post(self) -> None:
        """Start it again, if it ended."""
        await self.answer("retry")

    @verb
    async def delete(self) -> None:
        """Cancel it if it is under way, else remove it from the list."""
        name = self.text("id")
        if (await self.workers.run("", lambda: Jobs().get(name))).active:
            await self.answer("cancel")
            return
        await self.workers.run("", lambda: Jobs().forget(name))
        self.finish(json.dumps({"id": name, "state": "forgotten"}))

    async def answer(self, action: str) -> None:
        """Do something with it, and answer with how it is then."""
        name = self.text("id")
        job = await self.workers.run("", lambda: getattr(Jobs(), action)(name))
        self.finish(json.dumps(row(job)))


class JobLogHandler(LakeHandler):
    """``joblog``: what happened in a job."""

    @verb
    async def get(self) -> None:
        """Give the end of its log, as text."""
        name = self.text("id")
        self.finish(json.dumps({"id": name, "log": await self.workers.run("", lambda: Jobs().log(name))}))


HANDLERS: dict[str, type[LakeHandler]] = {"jobs": JobsHandler, "job": JobHandler, "joblog": JobLogHandler}
