"""A real Jupyter server with the extension, which sees the test lake."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from tests.lake.lake import FullLake
from tests.support.leaks import SECRETS

SCOPE = "opendata13TeV"


@dataclass
class Answer:
    """What the server answered."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        assert self.headers["Content-Type"] == "application/x-ndjson"
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def rows(self) -> list[Any]:
        """The rows of a list that came whole."""
        *rows, end = self.lines
        assert end["end"] is True
        assert end["count"] == len(rows)
        return [line["row"] for line in rows]


Ask = Callable[..., Awaitable[Answer]]


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    return {"ServerApp": {"jpserver_extensions": {"rucio_lab": True}}}


@pytest.fixture
def jp_environ(jp_environ: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the server a token of ours: one that it makes itself it prints."""
    monkeypatch.setenv("JUPYTER_TOKEN", SECRETS.add(secrets.token_hex(32), "the token of a Jupyter server"))


@pytest.fixture
def ask(lake: FullLake, jp_fetch: Callable[..., Awaitable[HTTPResponse]]) -> Ask:
    """Ask the extension: ``await ask("dids", pattern="scope:*")``; errors are answers too."""

    async def ask(route: str, *, method: str = "GET", body: str | None = None, **arguments: Any) -> Answer:
        pairs = [(key, v) for key, value in arguments.items() for v in (value if isinstance(value, list) else [value])]
        response = await jp_fetch("rucio-lab", route, method=method, body=body, params=pairs, raise_error=False)
        return Answer(response.code, response.headers, response.body)

    return ask
