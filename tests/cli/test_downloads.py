"""``rucio-lab downloads``, as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rucio_lab import download
from tests.cli.test_main import run
from tests.lake.lake import FullLake


@pytest.fixture
def base(lake: FullLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is configured for downloads."""
    path = lake.config()
    path.write_text(path.read_text() + f'\n[downloads]\nfolder = "{tmp_path / "downloads"}"\n')
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(path))
    return tmp_path / "downloads"


def test_the_size_of_the_downloads_is_shown_and_they_are_removed(base: Path) -> None:
    assert run("downloads").stdout.startswith(f"{base}: 0 files, 0 B; ")
    files = download("opendata13TeV:GamGam", limit=1)
    assert run("downloads").stdout.startswith(f"{base}: 1 file, ")
    assert Path(files[0]).is_file()
    assert run("downloads", "--empty").stdout.startswith(f"{base}: 1 file, ")
    assert not Path(files[0]).exists()
    assert run("downloads").stdout.startswith(f"{base}: 0 files, 0 B; ")
