"""The cost of an attach with direct URLs and with ``rucio://``, compared with ``list_replicas`` of rucio-clients."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from rucio.client import Client

from benchmarks.table import Row, pairs
from rucio_lab import attach
from rucio_lab.core.model import Access
from tests.lake.lake import FullLake

SCOPE = "opendata13TeV"
VERY_MANY = "bulk.100000"
_ACCESSES: tuple[Access, ...] = ("auto", "lake")


def measure(lake: FullLake, bulk: str) -> list[Row]:
    """Attach a small dataset, one of 10,000 files, and one of 100,000."""
    lake.add_many(VERY_MANY, 100_000, "BULK-MOCK")
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
    return [*rows, *_very_many(raw)]


def _very_many(raw: Client) -> Iterator[Row]:
    """Measure Rucio's slowest calls only once, with ours before and after because the speed of a machine drifts."""
    did = {"scope": SCOPE, "name": VERY_MANY}
    for access in _ACCESSES:
        ours = [_seconds(partial(attach, f"{SCOPE}:{VERY_MANY}", access=access))]
        listed = _seconds(lambda: list(raw.list_files(**did)))
        ours.append(_seconds(partial(attach, f"{SCOPE}:{VERY_MANY}", access=access)))
        mean = sum(ours) / len(ours)
        what = f"attach 100,000 files, access {access}"
        yield Row(what, f"{mean:.2f} s", f"{listed:.2f} s list_files", mean / listed)
        if access == "auto":
            theirs = _seconds(partial(_list_replicas, raw, did))
            yield Row(what, f"{mean:.2f} s", f"{theirs:.1f} s list_replicas", mean / theirs)


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _list_replicas(client: Client, did: dict[str, str]) -> int:
    return sum(1 for _ in client.list_replicas([did]))
