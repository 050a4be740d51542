"""Fixtures of the tests of ``rucio://``."""

from __future__ import annotations

from collections.abc import Iterator

import fsspec
import pytest

from rucio_lab.core.filesystem.lake_filesystem import LakeFileSystem
from tests.lake.content import SCOPE
from tests.lake.lake import FullLake
from tests.support.lake_files import FAULTY, forget


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    """Forget everything before and after a test."""
    forget()
    yield
    forget()


@pytest.fixture
def fs() -> LakeFileSystem:
    """The file system."""
    return fsspec.filesystem("rucio")


@pytest.fixture
def mended(lake: FullLake) -> Iterator[None]:
    """Restore the faulty file after a test."""
    yield
    path = lake.path("FAULTY-ROOT", SCOPE, FAULTY)
    if path.with_suffix(".away").exists():
        path.with_suffix(".away").replace(path)
