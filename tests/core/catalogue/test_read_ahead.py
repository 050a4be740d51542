"""Replicas that are looked up before their files are opened."""

from __future__ import annotations

import pytest

from rucio_lab.core.address import Address, lake_url
from rucio_lab.core.catalogue import read_ahead
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.filesystem.lake_filesystem import LakeFileSystem
from tests.lake.lake import FullLake
from tests.support.lake_files import configure, url


def test_files_of_a_list_are_looked_up_together(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [Address.parse(path).did for path in fs.find(url("GamGam"))]
    rucio = lake.faulty["rucio"]
    configure(lake, monkeypatch, url=f"https://127.0.0.1:{rucio.port}", auth_url=lake.url)
    read_ahead.expect(load_instances().get(), names)
    for did in names[:2]:
        fs.cat_file(lake_url("test", did), 0, 4)
    rucio.forget()
    for did in names[2:]:
        assert fs.cat_file(lake_url("test", did), 0, 4) == b"root"
    assert rucio.received == 0
