"""Checks and instances for the tests of the core."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import RucioLabError
from tests.lake.lake import FullLake


def assert_clear(error: RucioLabError) -> None:
    """Check that an error is fit for a user: what failed and why, then what to do, on one line, nothing technical."""
    text = str(error)
    assert re.fullmatch(r"\S.*[.?!`]", error.message), error.message
    assert re.fullmatch(r"\S.*[.?!]", error.remedy), f"no remedy: {text}"
    assert text == f"{error.message} {error.remedy}"
    assert not re.search(r"Traceback|\n|<html|0x[0-9a-f]{6}|\bHTTPConnectionPool|\bErrno|\bobject at\b", text), text
    assert not text.endswith(".."), text


_BUSY = 2  # seconds; without a time limit each of these would take minutes


@contextmanager
def within(seconds: float, *, least: float = 0) -> Iterator[None]:
    """Check that the body ends within a time limit, with some allowance for a busy machine."""
    start = time.monotonic()
    yield
    took = time.monotonic() - start
    assert least <= took <= seconds + _BUSY, f"took {took:.2f} s"


def instance_of(lake: FullLake, **settings: Any) -> Instance:
    """Return an instance of the test lake, by default for alice with her password in a rucio.cfg."""
    if "rucio_cfg" not in settings:
        settings["rucio_cfg"] = str(lake.rucio_cfg(settings.get("account") or "alice"))
    url = settings.pop("url", lake.url)
    known = {"name": "test", "auth_url": url, "ca": str(lake.authority.ca), "account": "alice", "username": "alice"}
    return Instance(**{**known, "url": url, **settings})


def assert_fails(ask: Callable[[], object], kind: type[RucioLabError], words: str) -> None:
    with pytest.raises(RucioLabError) as caught:
        ask()
    assert_clear(caught.value)
    assert type(caught.value) is kind, str(caught.value)
    assert words in str(caught.value)
