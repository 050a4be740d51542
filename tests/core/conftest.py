"""Fixtures of the tests of `rucio_lab.core`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rucio_lab.core.storage import readable_schemes
from tests.lake.lake import FullLake


@pytest.fixture
def gfal2(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with the tools of the grid."""
    folder = str(Path(__file__).parents[1] / "support" / "grid")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", folder)
    readable_schemes.not_downloadable.cache_clear()
    yield
    readable_schemes.not_downloadable.cache_clear()


@pytest.fixture
def token_file(lake: FullLake, tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(lake.issuer.token() + "\n")
    path.chmod(0o600)
    return path
