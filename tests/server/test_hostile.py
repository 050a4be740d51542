"""The REST interface on a Rucio that means harm: only errors of ours, in bounded time, and readers that leave."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jupyter_server.serverapp import ServerApp

from rucio_lab.core.jobs.registry import Jobs
from rucio_lab.core.reading import probe
from rucio_lab.server.routes import routes
from tests.lake.hostile import CONTAINER, SCOPE, STREAM, HostileRucio, Reply
from tests.server.conftest import Ask
from tests.support.odd_answers import drip, odd_replies

DID = f"{SCOPE}:{CONTAINER}"


@pytest.fixture
def lake(hostile: HostileRucio) -> HostileRucio:
    """The hostile Rucio instead of the test lake."""
    return hostile


QUESTIONS: dict[str, dict[str, str]] = {
    "dids": {"pattern": f"{SCOPE}:*"},
    "did": {"did": DID},
    "contents": {"did": DID},
    "files": {"did": DID},
    "replicas": {"did": DID},
    "resolve": {"did": DID},
    "scopes": {},
    "rses": {},
}


@pytest.mark.parametrize("route", [name.rpartition("/")[2] for name, _ in routes("/")])
async def test_answers_are_not_cached(lake: HostileRucio, ask: Ask, route: str) -> None:
    for arguments in (QUESTIONS.get(route, {}), {"instance": "nowhere", "id": "x"}):
        answer = await ask(route, **arguments)
        assert answer.headers["Cache-Control"] == "no-store", (answer.status, answer.body)
    assert (await ask(route, method="PUT", body="")).headers["Cache-Control"] == "no-store"


async def test_rest_answers_any_reply_of_rucio_with_rows_or_our_error(lake: HostileRucio, ask: Ask) -> None:
    loop, known = asyncio.get_running_loop(), lake.rows()

    @settings(max_examples=80, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(odd_replies(known), st.sampled_from(sorted(QUESTIONS)))
    def check(replies: dict[str, Reply], route: str) -> None:
        lake.honest()
        lake.replies.update(replies)
        probe.forget()
        begin = time.monotonic()
        answer = asyncio.run_coroutine_threadsafe(ask(route, **QUESTIONS[route]), loop).result(60)
        assert time.monotonic() - begin < 15
        last = json.loads(answer.body.splitlines()[-1])
        if answer.status != 200:
            assert answer.status not in (500, 599), last
            assert set(last) == {"error", "message", "remedy", "rucio"}
        elif last.get("end") is False:
            assert last["error"]["error"] != "error", last

    await asyncio.to_thread(check)


async def test_readers_that_leave_a_slow_rucio_delay_nobody(
    lake: HostileRucio, ask: Ask, jp_serverapp: ServerApp, jp_base_url: str
) -> None:
    lake.replies[f"/dids/{SCOPE}/dids/search"] = lake.replies[f"/dids/{SCOPE}/{CONTAINER}"] = Reply(drip(b" "), STREAM)
    leave = leaver(jp_serverapp, jp_base_url)
    routes = [f"dids?pattern={SCOPE}:*", f"did?did={DID}", f"resolve?did={DID}", f"replicas?did={DID}"]
    readers = [await leave("GET", route) for route in 2 * routes]
    assert await in_time(lambda: len(lake.asked) >= 8)
    for writer in readers:
        writer.transport.abort()
    begin = time.monotonic()
    assert (await ask("scopes")).rows == [{"scope": SCOPE}]
    assert time.monotonic() - begin < 1.5


async def test_a_job_whose_reader_left_stops_asking(
    lake: HostileRucio, ask: Ask, jp_serverapp: ServerApp, jp_base_url: str
) -> None:
    def slowly() -> Iterator[bytes]:
        time.sleep(0.2)
        yield json.dumps(lake.rows()[f"/dids/{SCOPE}/{CONTAINER}"][0]).encode()

    lake.replies[f"/dids/{SCOPE}/{CONTAINER}"] = Reply(slowly)
    body = json.dumps({"dids": [DID] * 100})
    writer = await leaver(jp_serverapp, jp_base_url)("POST", "jobs", body)
    assert await in_time(lambda: len(lake.asked) >= 3)
    writer.transport.abort()
    await asyncio.sleep(0.3)
    asked = len(lake.asked)
    await asyncio.sleep(0.8)
    assert len(lake.asked) == asked
    assert Jobs().all() == []


async def test_a_job_takes_a_limited_number_of_dids(lake: HostileRucio, ask: Ask) -> None:
    answer = await ask("jobs", method="POST", body=json.dumps({"dids": [DID] * 3000}))
    assert (answer.status, answer.json["error"]) == (400, "bad_request")
    assert "3,000 DIDs, and a job takes 100 at most" in answer.json["message"]
    assert lake.asked == []


def leaver(app: ServerApp, base_url: str) -> Callable[..., Any]:
    """Give what asks, and waits for nothing."""

    async def ask(method: str, route: str, body: str = "") -> asyncio.StreamWriter:
        _, writer = await asyncio.open_connection("127.0.0.1", app.port)
        head = f"{method} {base_url}rucio-lab/{route} HTTP/1.1\r\nHost: 127.0.0.1:{app.port}\r\n"
        head += f"Authorization: token {app.identity_provider.token}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(f"{head}{body}".encode())
        return writer

    return ask


async def in_time(condition: Callable[[], bool]) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.02)
    return condition()


@pytest.mark.parametrize("route", ["jobs", "session"])
async def test_a_body_without_end_is_a_bad_request(lake: HostileRucio, ask: Ask, route: str) -> None:
    for body in ("[" * 200_000, '{"dids":' * 100_000):
        answer = await ask(route, method="POST", body=body)
        assert answer.status == 400, answer.body
