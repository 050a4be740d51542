"""Fixtures of the tests of downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lake.lake import FullLake
from tests.support.downloads import Configure


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The folder for downloads."""
    return tmp_path / "downloads"


@pytest.fixture
def configure(lake: FullLake, base: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Configure the folder for downloads. Call it to change settings of the instance."""

    def write(**settings: Any) -> None:
        path = lake.config(test=settings)
        path.write_text(path.read_text() + f'\n[downloads]\nfolder = "{base}"\n')
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(path))

    write()
    return write
