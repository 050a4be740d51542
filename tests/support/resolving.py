"""Resolve on the test lake in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rucio_lab.core.errors import FilesUnavailable
from rucio_lab.core.model import Request, Resolution
from rucio_lab.core.resolve.resolution import resolve
from tests.lake.lake import FullLake
from tests.support.checks import assert_clear

SCOPE = "opendata13TeV"

Configure = Callable[..., None]


def attach(*names: str, scope: str = SCOPE, **how: Any) -> Resolution:
    return resolve(Request(tuple(f"{scope}:{name}" for name in names), "", **how))


def unavailable(*names: str, **how: Any) -> FilesUnavailable:
    with pytest.raises(FilesUnavailable) as caught:
        attach(*names, **how)
    assert_clear(caught.value)
    return caught.value


def reasons(resolution: Resolution) -> dict[str, str]:
    return {left.replica.rse: left.reason for file in resolution.files for left in file.left_out}


def register(lake: FullLake, rse: str, sizes: dict[str, int]) -> None:
    """Register files without creating them."""
    files = [{"scope": SCOPE, "name": name, "bytes": size, "adler32": "00000001"} for name, size in sizes.items()]
    for start in range(0, len(files), 500):
        lake.rest("POST", "/replicas", json={"rse": rse, "files": files[start : start + 500]})
