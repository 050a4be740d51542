"""Fixtures of the tests of `rucio_lab.core`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rucio_lab.core import readers


@pytest.fixture
def gfal2(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with the tools of the grid."""
    folder = str(Path(__file__).parent / "grid")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", folder)
    readers.not_downloadable.cache_clear()
    yield
    readers.not_downloadable.cache_clear()
