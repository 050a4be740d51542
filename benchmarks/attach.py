"""What an attach costs, with direct URLs and with ``rucio://``, against ``list_replicas`` of rucio-clients."""

from __future__ import annotations

from functools import partial

from rucio.client import Client

from benchmarks.table import Row, pairs
from rucio_lab import attach
from rucio_lab.core.model import Access
from tests.lake.lake import FullLake

SCOPE = "opendata13TeV"
_ACCESSES: tuple[Access, ...] = ("auto", "lake")


def measure(lake: FullLake, bulk: str) -> list[Row]:
    """Attach a small dataset and one of 10,000 files."""
    raw = Client(
        rucio_host=lake.url,
        auth_host=lake.url,
        account="alice",
        ca_cert=str(lake.authority.ca),
        auth_type="userpass",
        creds={"username": "alice", "password": "alice-pass"},
    )
    rows = []
    for name, times in (("data_D.GamGam", 15), (bulk, 3)):
        for access in _ACCESSES:
            files = len(attach(f"{SCOPE}:{name}", access=access))
            ours, theirs, ratio = pairs(
                partial(attach, f"{SCOPE}:{name}", access=access),
                partial(_list_replicas, raw, {"scope": SCOPE, "name": name}),
                times,
            )
            what = f"attach {files:,} files, access {access}"
            rows.append(Row(what, f"{ours:.3f} s", f"{theirs:.3f} s list_replicas", ratio))
    return rows


def _list_replicas(client: Client, did: dict[str, str]) -> int:
    return sum(1 for _ in client.list_replicas([did]))
