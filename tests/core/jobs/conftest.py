"""Fixtures of the tests of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rucio_lab.core.jobs.registry import Jobs
from tests.lake.lake import FullLake
from tests.support.jobs import Configure


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The folder for downloads."""
    return tmp_path / "downloads"


@pytest.fixture
def configure(lake: FullLake, base: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Configure downloads: how many jobs at a time, and settings of the instance."""

    def write(jobs: int = 2, **settings: Any) -> None:
        path = lake.config(test=settings)
        path.write_text(path.read_text() + f'\n[downloads]\nfolder = "{base}"\njobs = {jobs}\n')
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(path))

    return write


@pytest.fixture
def jobs(configure: Configure) -> Iterator[Jobs]:
    """The jobs of the test, all of which are cancelled at its end."""
    configure()
    jobs = Jobs()
    yield jobs
    for job in jobs.all():
        jobs.cancel(job.id)
