"""What an attach costs, against ``list_replicas`` of rucio-clients for the same dataset."""

from __future__ import annotations

from rucio.client import Client

from benchmarks.table import Row, pairs
from rucio_lab import attach
from tests.lake.lake import FullLake

SCOPE = "opendata13TeV"


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
        did = {"scope": SCOPE, "name": name}
        files = len(attach(f"{SCOPE}:{name}"))
        ours, theirs, ratio = pairs(
            lambda did=did: attach("{scope}:{name}".format(**did)),  # type: ignore[misc]
            lambda did=did: list(raw.list_replicas([did])),  # type: ignore[misc]
            times,
        )
        rows.append(Row(f"attach {files:,} files", f"{ours:.3f} s", f"{theirs:.3f} s list_replicas", ratio))
    return rows
