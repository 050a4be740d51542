"""Read a replica of the test lake in one line."""

from __future__ import annotations

from typing import Any

import pytest

from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.settings import Instance, StorageSettings
from rucio_lab.core.did import DID
from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.model import Replica
from rucio_lab.core.reading import replicas
from tests.lake.content import SCOPE
from tests.lake.lake import FullLake
from tests.support.checks import instance_of


def instance_with(lake: FullLake, **settings: Any) -> Instance:
    return instance_of(lake, storage=StorageSettings(**{"ca": str(lake.authority.ca), **settings}))


def replica_of(lake: FullLake, dataset: str, scheme: str = "") -> tuple[Replica, bytes]:
    """Give a replica of a dataset's only file, and its content."""
    did = DID(SCOPE, f"{dataset}._0001.root")
    (row,) = Lake(instance_of(lake)).replicas([did])
    pfn = next(pfn for pfn in row.pfns if pfn.url.startswith(scheme))
    return Replica(pfn.rse, pfn.url, pfn.url), lake.path(pfn.rse, *did).read_bytes()


def read(replica: Replica, instance: Instance, content: bytes, *, silence: float = 3) -> None:
    """Read two parts of a replica, and check them."""
    reader = replicas.open_replica(replica, instance, len(content), silence=silence)
    try:
        assert reader.read([(0, 100), (1000, 1500)], silence) == [content[:100], content[1000:1500]]
        assert reader.read([(0, len(content))], silence) == [content]
    finally:
        reader.close()


def refusal(replica: Replica, instance: Instance, content: bytes) -> StorageFailed:
    with pytest.raises(StorageFailed) as caught:
        read(replica, instance, content)
    assert caught.value.concerns == "credentials"
    return caught.value
