"""Fixtures of the tests of resolving."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lake.lake import FullLake
from tests.support.resolving import Configure


@pytest.fixture(autouse=True)
def configured(lake: FullLake) -> Iterator[None]:
    """Run every test against the test lake."""
    return iter([None])


@pytest.fixture
def configure(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Change settings of the instance."""

    def write(**settings: Any) -> None:
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config(test=settings)))

    return write
