"""The folder for downloads: its path, what is in it, and emptying it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rucio_lab.core.copies.base_folder import empty, usage
from rucio_lab.core.errors import BadRequest, ConfigurationError
from tests.support.checks import assert_clear
from tests.support.downloads import fetch

pytestmark = pytest.mark.usefixtures("configure")


@pytest.mark.parametrize("folder", ["x" * 300, "x/" * 3000])
def test_a_folder_whose_name_is_too_long(tmp_path: Path, folder: str) -> None:
    with pytest.raises(BadRequest) as caught:
        fetch("web", folder=str(tmp_path / folder))
    assert_clear(caught.value)
    assert "File name too long" in caught.value.message


def test_a_marker_that_cannot_be_written(base: Path) -> None:
    (base / ".rucio-lab-downloads").mkdir(parents=True)
    with pytest.raises(ConfigurationError) as caught:
        fetch("web")
    assert_clear(caught.value)
    assert "cannot be written: Is a directory" in caught.value.message


def test_only_downloads_are_counted_and_removed(base: Path, tmp_path: Path) -> None:
    fetch("GamGam.MC", "web")
    used = usage(base)
    assert used.files == len(list(base.rglob("*.root")))
    assert used.bytes == sum(path.stat().st_size for path in base.rglob("*.root"))
    (base / "notes.txt").write_text("mine")
    assert empty(base).files == used.files + 1
    assert [path.name for path in base.iterdir()] == ["notes.txt"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis").write_text("mine")
    with pytest.raises(ConfigurationError) as caught:
        empty(mine)
    assert_clear(caught.value)
    assert (mine / "thesis").exists()
