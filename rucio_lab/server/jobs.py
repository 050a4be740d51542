"""REST: start, list, follow, cancel and retry jobs, and read their logs."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, RucioLabError
from rucio_lab.core.jobs.registry import Jobs
from rucio_lab.core.model import Request
from rucio_lab.server import rows
from rucio_lab.server.followers import Followers
from rucio_lab.server.handler import LakeHandler, lake_of, verb

MOST_DIDS = 100
"""The largest number of DIDs in a job, because Rucio is asked about each before it starts."""


class JobsHandler(LakeHandler):
    """``jobs``: all jobs."""

    @verb
    async def get(self) -> None:
        """List the jobs, newest first; with ``follow=1`` keep sending changes, without end."""
        if self.get_query_argument("follow", "") not in ("1", "true"):
            jobs = await self.workers.run("", lambda: Jobs().all())
            end = {"end": True, "count": len(jobs), "more": False}
            await self._send(b"".join([*(rows.line(rows.job(job)) for job in jobs), rows.encode(end)]))
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
        self.finish(json.dumps(rows.job(job)))

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
            raise BadRequest("The folder is not text.", "Set to to the path of a folder, or leave it out.")
        return Request(tuple(str(DID.parse(did)) for did in dids), instance.name, "download", folder=folder)


def _check(instance: Instance, request: Request) -> None:
    """Check that the DIDs exist and the user is signed in; call it in a thread of the instance only."""
    lake = lake_of(instance)
    for text in request.dids:
        did = DID.parse(text)
        if did.is_pattern:
            raise BadRequest(f"{did} is a pattern.", "A job takes DIDs one by one.")
        lake.info(did)


class JobHandler(LakeHandler):
    """``job``: one job."""

    @verb
    async def get(self) -> None:
        """Describe the job."""
        await self.answer("get")

    @verb
    async def post(self) -> None:
        """Start the job again if it has ended."""
        await self.answer("retry")

    @verb
    async def delete(self) -> None:
        """Cancel the job if it is active, else remove it from the list."""
        name = self.text("id")
        if (await self.workers.run("", lambda: Jobs().get(name))).active:
            await self.answer("cancel")
            return
        await self.workers.run("", lambda: Jobs().forget(name))
        self.finish(json.dumps({"id": name, "state": "forgotten"}))

    async def answer(self, action: str) -> None:
        """Do something with the job, and answer with its new state."""
        name = self.text("id")
        job = await self.workers.run("", lambda: getattr(Jobs(), action)(name))
        self.finish(json.dumps(rows.job(job)))


class JobLogHandler(LakeHandler):
    """``joblog``: the log of a job."""

    @verb
    async def get(self) -> None:
        """Give the end of the log, as text."""
        name = self.text("id")
        self.finish(json.dumps({"id": name, "log": await self.workers.run("", lambda: Jobs().log(name))}))


HANDLERS: dict[str, type[LakeHandler]] = {"jobs": JobsHandler, "job": JobHandler, "joblog": JobLogHandler}
