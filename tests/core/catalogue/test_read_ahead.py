"""Replicas that are looked up before their files are opened."""

from __future__ import annotations

from collections.abc import Iterator

import fsspec
import pytest

from rucio_lab.core.address import Address, lake_url
from rucio_lab.core.catalogue import read_ahead
from rucio_lab.core.config.instances import load_instances
from tests.lake.lake import FullLake
from tests.support.lake_files import configure, forget, url


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    forget()
    yield
    forget()


def test_replicas_of_a_list_are_looked_up_together(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = fsspec.filesystem("rucio")
    dids = [Address.parse(path).did for path in fs.find(url("GamGam"))]
    rucio = lake.faulty["rucio"]
    configure(lake, monkeypatch, url=f"https://127.0.0.1:{rucio.port}", auth_url=lake.url)
    read_ahead.expect(load_instances().get(), dids)
    for did in dids[:2]:
        fs.cat_file(lake_url("test", did), 0, 4)
    rucio.forget()
    for did in dids[2:]:
        assert fs.cat_file(lake_url("test", did), 0, 4) == b"root"
    assert rucio.received == 0
