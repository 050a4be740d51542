"""Fixtures of the tests of `rucio_lab.core.identity`."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

import pytest

from rucio_lab.core.upstream import clock
from tests.lake.lake import FullLake
from tests.lake.provider import Provider
from tests.support.middle import Middle, middle_of


@pytest.fixture
def middle(lake: FullLake) -> Iterator[Middle]:
    with middle_of(lake) as server:
        yield server


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where somebody would be asked on the terminal."""

    def ask(*_: Any) -> str:
        raise AssertionError("asked on the terminal")

    monkeypatch.setattr(builtins, "input", ask)
    monkeypatch.setattr("getpass.getpass", ask)


@pytest.fixture
def provider(lake: FullLake) -> Iterator[Provider]:
    yield lake.provider
    lake.provider.tokens_live(3600)


@pytest.fixture(autouse=True)
def no_time_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_ahead", {})
