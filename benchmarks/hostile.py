"""The time and memory that a malicious Rucio can cost, and the cost of checking honest rows."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import psutil

from benchmarks.table import Row
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.did import DID
from rucio_lab.core.jobs.registry import Jobs
from rucio_lab.core.model import Request
from rucio_lab.server.workers import Workers
from tests.lake.hostile import CONTAINER, SCOPE, STREAM, HostileRucio, Reply, hostile_rucio

MB = 1 << 20
SEARCH = f"/dids/{SCOPE}/dids/search"
ROWS = 100_000

# Runs in a new process, to measure its memory before and its peak memory.
_CODE = """
import json, resource, sys, time
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import RucioLabError
from rucio_lab.core.catalogue.lake import Lake

lake = Lake(load_instances().get())
ask = {"search": lambda: list(lake.search(DID("s", "*"))), "scopes": lake.scopes}[sys.argv[1]]
lake.rses()
before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
try:
    ask()
except RucioLabError:
    pass
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([time.perf_counter() - begin, (after.ru_maxrss - before.ru_maxrss) / 1024]))
"""


def _alone(what: str) -> str:
    done = subprocess.run([sys.executable, "-c", _CODE, what], capture_output=True, text=True, check=True, timeout=900)
    seconds, megabytes = json.loads(done.stdout)
    return f"{seconds:.2f} s, {megabytes:.0f} MB"


def _long(rucio: HostileRucio) -> Iterator[Row]:
    rucio.replies[SEARCH] = Reply(b'{"scope": "' + b"x" * (8 * MB) + b'"}\n', STREAM)
    yield Row("one line of 8 MB", _alone("search"), "limit: 1 MB")
    body = gzip.compress(b'["' + b"x" * (400 * MB) + b'"]')
    rucio.replies["/scopes/"] = Reply(body, headers={"Content-Encoding": "gzip"})
    yield Row("400 MB of JSON, packed", _alone("scopes"), "limit: 64 MB")


def _drip() -> Iterator[bytes]:
    while True:
        yield b" "
        time.sleep(1)


async def _leave(rucio: HostileRucio) -> float:
    """Let 8 readers disconnect before any row has arrived; return the seconds until another request is answered."""
    workers, lake = Workers(), Lake(rucio.instance(timeout=60.0))

    async def reader() -> None:
        async with workers.stream("evil", lambda: lake.search(DID(SCOPE, "*"))) as batches:
            async for _ in batches:
                pass

    readers = [asyncio.ensure_future(reader()) for _ in range(8)]
    await asyncio.sleep(1)
    for each in readers:
        each.cancel()
    begin = time.perf_counter()
    await workers.run("evil", lake.rses)
    return time.perf_counter() - begin


def _readers(rucio: HostileRucio) -> Iterator[Row]:
    rucio.replies[SEARCH] = Reply(_drip, STREAM)
    seconds = asyncio.run(_leave(rucio))
    yield Row("next request after 8 readers of a byte a second left", f"{seconds:.2f} s", "aim: at once")


def _jobs(rucio: HostileRucio) -> Iterator[Row]:
    """Start jobs whose Rucio never answers."""
    rucio.replies = {"/dids/": Reply(_drip, STREAM)}
    jobs = Jobs()
    for count in (12, 50):
        ids = [
            jobs.start(Request((f"{SCOPE}:d{number}",), "evil", "download", folder=os.environ["JUPYTER_DATA_DIR"])).id
            for number in range(count)
        ]
        time.sleep(3)
        alive = [psutil.Process(job.pid) for job in jobs.all() if job.active and job.pid]
        megabytes = sum(process.memory_full_info().uss for process in alive) / MB
        yield Row(f"{count} jobs, two at a time", f"{len(alive)} processes, {megabytes:.0f} MB", "limit: 3 processes")
        for id_ in reversed(ids):
            jobs.cancel(id_)
            jobs.forget(id_)


def _honest(rucio: HostileRucio) -> Iterator[Row]:
    """Read honest rows, compared with only parsing the same lines as JSON."""
    sums = {"bytes": 50_000_000, "adler32": "0aff020e", "md5": None, "guid": None, "events": None}
    lines = [
        json.dumps({"scope": SCOPE, "name": f"data.f{number:06d}.root", **sums}).encode() for number in range(ROWS)
    ]
    rucio.replies[f"/dids/{SCOPE}/{CONTAINER}/files"] = Reply(b"\n".join(lines), STREAM)
    lake = Lake(rucio.instance())
    path = ["dids", SCOPE, CONTAINER, "files"]
    for what, ask in (
        ("JSON", lambda: list(lake._client().rows(path))),
        ("checked values", lambda: list(lake.files(DID(SCOPE, CONTAINER)))),
    ):
        mine, theirs = (
            median(_seconds(call) for _ in range(5)) for call in (ask, lambda: list(map(json.loads, lines)))
        )
        yield Row(f"{ROWS:,} honest rows as {what}", f"{mine:.2f} s", f"{theirs:.2f} s json.loads", mine / theirs)


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def measure() -> list[Row]:
    """Run all benchmarks of this module."""
    with tempfile.TemporaryDirectory() as folder, hostile_rucio() as rucio:
        os.environ["RUCIO_LAB_CONFIG"] = str(rucio.config(Path(folder) / "rucio_lab.toml", timeout=60.0))
        rows: list[Row] = []
        for take in (_honest, _long, _readers, _jobs):
            rucio.honest()
            rows += take(rucio)
    return rows
