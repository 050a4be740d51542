"""A file system that knows no file yet, and files that are restored after a test."""

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
    forget()
    yield
    forget()


@pytest.fixture
def fs() -> LakeFileSystem:
    return fsspec.filesystem("rucio")


@pytest.fixture
def mended(lake: FullLake) -> Iterator[None]:
    yield
    path = lake.path("FAULTY-ROOT", SCOPE, FAULTY)
    if path.with_suffix(".away").exists():
        path.with_suffix(".away").replace(path)
