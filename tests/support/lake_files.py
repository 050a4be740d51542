"""Files of the test lake that tests read over ``rucio://``."""

from __future__ import annotations

from typing import Any

import pytest
import uproot

from rucio_lab.core.address import lake_url
from rucio_lab.core.catalogue import read_ahead
from rucio_lab.core.did import DID
from rucio_lab.core.filesystem import lake_file
from rucio_lab.core.reading import probe
from tests.lake.content import SCOPE
from tests.lake.lake import FullLake

LARGE = "large.GamGam._0001.root"
FAULTY = "large.faulty._0001.root"
BRANCHES = ["photon_pt", "photon_eta"]


def forget() -> None:
    """Forget all files, replicas and servers in memory."""
    probe.forget()
    lake_file._files.clear()
    read_ahead.forget()


def configure(lake: FullLake, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    """Configure the instance with short time limits."""
    known = {"storage": {"ca": str(lake.authority.ca), "timeout": 1.0, "patience": 1.5, **settings.pop("storage", {})}}
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config(test={**known, **settings})))


def url(name: str, scope: str = SCOPE) -> str:
    """Give the ``rucio://`` address of a file."""
    return lake_url("test", DID(scope, name))


def content_of(lake: FullLake, name: str = LARGE, rse: str = "CERN-EOS") -> bytes:
    """Read a file directly from a storage's disk."""
    return lake.path(rse, SCOPE, name).read_bytes()


def read_branches(address: str) -> list[Any]:
    """Read some branches of a file with uproot."""
    with uproot.open({address: "mini"}) as tree:
        branches: list[Any] = tree.arrays(BRANCHES).tolist()
    return branches
