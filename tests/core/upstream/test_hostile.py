"""A hostile or broken Rucio: whatever it answers, there is soon a result, or an error of ours."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from rucio_lab import attach
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, LakeBroken, RucioLabError
from rucio_lab.core.reading import probe
from tests.lake.hostile import CONTAINER, FILES, JSON, SCOPE, STREAM, HostileRucio, Reply, stream
from tests.support.checks import assert_fails
from tests.support.odd_answers import RAW, odd_replies

DID_PATH = f"/dids/{SCOPE}/{CONTAINER}"


def everything(instance: Instance) -> dict[str, Callable[[], object]]:
    """Give every kind of request to Rucio."""
    lake, container = Lake(instance), DID(SCOPE, CONTAINER)
    return {
        "attach": lambda: attach(str(container)),
        "search": lambda: list(lake.search(DID(SCOPE, "*"))),
        "contents": lambda: list(lake.contents(container)),
        "files": lambda: list(lake.files(container)),
        "metadata": lambda: lake.metadata(container),
        "holdings": lambda: list(lake.holdings(container)),
        "scopes": lake.scopes,
        "rses": lake.rses,
    }


def test_the_server_is_honest_by_default(hostile: HostileRucio) -> None:
    for ask in everything(hostile.instance()).values():
        assert ask()
        assert ask()  # on the same connection
    files = attach(f"{SCOPE}:{CONTAINER}")
    assert files == [f"{hostile.url}/storage/f{number}.root" for number in range(FILES)]


WHAT = list(everything(Instance(name="x", url="http://x", auth_url="http://x")))


def survives(hostile: HostileRucio, ask: Callable[[], object], replies: dict[str, Reply]) -> None:
    """Check that there is soon a result, or an error of ours."""
    hostile.honest()
    hostile.replies.update(replies)
    probe.forget()
    begin = time.monotonic()
    with suppress(RucioLabError):
        ask()
    assert time.monotonic() - begin < 15, replies


def asked_by(hostile: HostileRucio, ask: Callable[[], object]) -> dict[str, list[Any]]:
    """Give the honest answers to the requests that a call sends."""
    ask()
    paths = {path.partition("?")[0] for path in hostile.asked}
    return {path: rows for path, rows in hostile.rows().items() if path in paths}


@pytest.mark.parametrize("what", WHAT)
def test_any_answer_gives_a_result_or_an_error_of_ours(hostile: HostileRucio, what: str) -> None:
    ask = everything(hostile.instance())[what]
    known = asked_by(hostile, ask)

    @settings(
        max_examples=300 if what == "attach" else 40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(odd_replies(known))
    def check(replies: dict[str, Reply]) -> None:
        survives(hostile, ask, replies)

    check()


@pytest.mark.parametrize("what", WHAT)
def test_an_answer_that_is_not_even_json(hostile: HostileRucio, what: str) -> None:
    ask = everything(hostile.instance())[what]
    for path in asked_by(hostile, ask):
        for body, kind in itertools.product(RAW, (JSON, STREAM)):
            survives(hostile, ask, {path: Reply(body, kind)})


def test_an_answer_to_another_question(hostile: HostileRucio) -> None:
    row = hostile.rows()["/dids/bulkfiles"][0]
    hostile.replies["/dids/bulkfiles"] = stream([{**row, "parent_name": "other"}])
    assert_fails(lambda: attach(f"{SCOPE}:{CONTAINER}"), LakeBroken, "files of s:other, which it was not asked for")
    hostile.honest()
    hostile.replies[DID_PATH] = Reply(json.dumps({**hostile.rows()[DID_PATH][0], "name": "other"}).encode())
    assert_fails(lambda: attach(f"{SCOPE}:{CONTAINER}"), LakeBroken, "s:other when it was asked for s:c")


@pytest.mark.parametrize("what", ["attach", "files", "metadata"])
def test_redirects_without_end(hostile: HostileRucio, what: str) -> None:
    ask = everything(hostile.instance())[what]
    path = next(iter(asked_by(hostile, ask)))
    hostile.asked.clear()
    hostile.replies = {"/": Reply(status=302, headers={"Location": f"{path}?again"})}
    assert_fails(ask, LakeBroken, "sent an answer that cannot be read: Exceeded 5 redirects")
    assert len(hostile.asked) == 1 + 5


def test_an_endless_chain_of_containers(hostile: HostileRucio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rucio_lab.core.catalogue.lake.MOST_CONTAINERS", 20)
    numbers = itertools.count()

    def one_more() -> Iterator[bytes]:
        yield json.dumps({"scope": SCOPE, "name": f"c{next(numbers)}", "type": "CONTAINER"}).encode() + b"\n"

    hostile.replies[f"{DID_PATH}/dids"] = hostile.replies["/dids/s/c"] = Reply(one_more, STREAM)
    hostile.replies[DID_PATH] = Reply(json.dumps(hostile.rows()[DID_PATH][0]).encode())
    hostile.replies["/dids/s/c"] = hostile.replies[DID_PATH]
    for number in range(30):
        hostile.replies[f"/dids/s/c{number}/dids"] = Reply(one_more, STREAM)
    assert_fails(lambda: attach(f"{SCOPE}:{CONTAINER}"), BadRequest, "more than 20 containers")
