"""The cost of the server extension compared with raw HTTP requests to Rucio, and the delays while Rucio hangs."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from statistics import median, quantiles
from typing import Any

import psutil
import requests

from benchmarks.table import Row, pairs
from rucio_lab.demo.processes import free_port
from rucio_lab.server.workers import THREADS
from tests.lake.lake import FullLake

_TOKEN = "benchmark"
SCOPE = "opendata13TeV"


@contextmanager
def _jupyter(*, extension: bool) -> Iterator[tuple[str, float, float]]:
    """Run a Jupyter server; yield its address, the seconds until it answered, and its memory in MB at that time."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [sys.executable, "-m", "jupyter_server", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
        command += ["--no-browser", "--allow-root"]
        command += [f"--ServerApp.jpserver_extensions={{'rucio_lab': {extension}}}", f"--ServerApp.root_dir={folder}"]
        environment = {**os.environ, "JUPYTER_NO_CONFIG": "1", "JUPYTER_TOKEN": _TOKEN}
        begin = time.perf_counter()
        server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            seconds = _until_up(f"http://127.0.0.1:{port}/api", begin)
            yield f"http://127.0.0.1:{port}", seconds, psutil.Process(server.pid).memory_full_info().uss / 1e6
        finally:
            server.terminate()
            server.wait()


def _until_up(address: str, begin: float) -> float:
    while True:
        try:
            requests.get(address, timeout=5)
            return time.perf_counter() - begin
        except requests.ConnectionError:
            time.sleep(0.01)


def _get(base: str, path: str, *, stream: bool = False, **arguments: Any) -> requests.Response:
    headers = {"Authorization": f"token {_TOKEN}"}
    return requests.get(f"{base}/{path}", params=arguments, headers=headers, timeout=120, stream=stream)


def _first_line(response: requests.Response) -> None:
    """Read the first row, then disconnect."""
    with response:
        next(response.iter_lines(chunk_size=1))


def _all_lines(response: requests.Response) -> int:
    return sum(1 for line in response.iter_lines(chunk_size=1 << 16) if line)


def _multiply(lake: FullLake, bulk: str) -> str:
    """Copy the 10,000 DIDs to 100,000 directly in the database, because Rucio takes minutes to register them."""
    statements = [f"CREATE TABLE copies AS SELECT * FROM dids WHERE name LIKE '{bulk}._%'"]
    before = f"{bulk}."
    for number in range(10):
        name = f"many.{number}."
        statements += [f"UPDATE copies SET name = replace(name, '{before}', '{name}')"]
        statements += ["INSERT INTO dids SELECT * FROM copies"]
        before = name
    if lake.postgresql:
        lake.postgresql.execute(*statements)
    else:
        with closing(sqlite3.connect(lake.folder / "server" / "rucio.db")) as database, database:
            for statement in statements:
                database.execute(statement)
    return "many"


def _searches(lake: FullLake, base: str, bulk: str) -> Iterator[Row]:
    """Time searches through the extension and directly in Rucio, until the first and until the last row."""
    headers = {"X-Rucio-Auth-Token": lake.token()}
    patterns = (("*GamGam*", "collection", 15), (f"{bulk}.*", "file", 5), (f"{_multiply(lake, bulk)}.*", "file", 3))
    for pattern, kind, times in patterns:
        wanted = {"pattern": f"{SCOPE}:{pattern}", "type": kind, "limit": 200_000}
        ours = partial(_get, base, "rucio-lab/dids", stream=True, **wanted)
        filters = {"type": kind, "filters": json.dumps([{"name": pattern}]), "long": "True"}
        path = f"/dids/{SCOPE}/dids/search"
        raw: Any = partial(lake.request, "GET", path, params=filters, headers=headers, stream=True)
        count = _all_lines(raw())
        assert _all_lines(ours()) == count + 1  # plus the line that marks the end
        for what, read in (("first row", _first_line), ("all", _all_lines)):
            mine, theirs, ratio = pairs(lambda: read(ours()), lambda: read(raw()), times)  # noqa: B023
            yield Row(f"search of {count:,} DIDs, {what}", f"{mine:.3f} s", f"{theirs:.3f} s raw HTTP to Rucio", ratio)


def _while_rucio_hangs(lake: FullLake, base: str) -> Iterator[Row]:
    """Time other requests while an instance hangs for 5 s in a search, in a resolve and in a sign-in."""
    calls: dict[str, Callable[[], object]] = {
        "/api/status": lambda: _get(base, "api/status"),
        "a search elsewhere": lambda: _get(base, "rucio-lab/dids", pattern=f"{SCOPE}:GamGam*"),
    }
    hung: dict[str, Callable[[], object]] = {
        "search": lambda: _get(base, "rucio-lab/dids", instance="slow", pattern=f"{SCOPE}:*"),
        "resolve": lambda: _get(base, "rucio-lab/resolve", instance="slow", did=f"{SCOPE}:data_A.GamGam"),
        "sign-in": lambda: _sign_in(base, "slow"),
    }
    worst: dict[str, list[str]] = {name: [] for name in calls}
    for ask in hung.values():
        ask()  # signs in
        lake.faulty["rucio"].silent()
        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(ask) for _ in range(3)]
            time.sleep(0.3)
            for name, call in calls.items():
                worst[name].append(f"{max(_seconds(call) for _ in range(15)) * 1000:.0f}")
            assert not any(each.done() for each in waiting)
            lake.faulty["rucio"].forward()
    for name, call in calls.items():
        quiet = median(_seconds(call) for _ in range(15))
        ours = f"{' / '.join(worst[name])} ms at worst"
        yield Row(f"{name}, Rucio hangs in {' / '.join(hung)}", ours, f"{quiet * 1000:.0f} ms otherwise")


def _another_instance(lake: FullLake, base: str) -> Iterator[Row]:
    """Time a hundred searches at one instance while another one hangs with as many questions as it may have."""

    def search(instance: str) -> None:
        _get(base, "rucio-lab/dids", instance=instance, pattern=f"{SCOPE}:GamGam*")

    search("slow")  # signs in
    quiet = _p95([_seconds(partial(search, "test")) for _ in range(100)])
    lake.faulty["rucio"].silent()
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(THREADS):
            pool.submit(search, "slow")
        time.sleep(0.3)
        hung = _p95([_seconds(partial(search, "test")) for _ in range(100)])
        lake.faulty["rucio"].forward()
    what = f"a search while another instance hangs with {THREADS} questions, p95 of 100"
    yield Row(what, f"{hung * 1000:.0f} ms", f"{quiet * 1000:.0f} ms otherwise", hung / quiet)


def _p95(seconds: list[float]) -> float:
    return quantiles(seconds, n=20)[-1]


def _very_many(lake: FullLake, base: str) -> Iterator[Row]:
    """Resolve 100,000 files, and compare with Rucio's own listing of them."""
    name = "bulk.100000.rest"
    lake.add_many(name, 100_000, "BULK-MOCK")
    headers = {"X-Rucio-Auth-Token": lake.token()}

    def resolved(read: Callable[[requests.Response], object]) -> float:
        return _seconds(lambda: read(_get(base, "rucio-lab/resolve", stream=True, did=f"{SCOPE}:{name}")))

    def listed() -> int:
        return _all_lines(lake.request("GET", f"/dids/{SCOPE}/{name}/files", headers=headers, stream=True))

    first, whole, theirs = resolved(_first_line), resolved(_all_lines), _seconds(listed)
    yield Row("resolve 100,000 files, first row", f"{first:.2f} s", f"{theirs:.2f} s raw listing", first / theirs)
    yield Row("resolve 100,000 files, all", f"{whole:.2f} s", f"{theirs:.2f} s raw listing", whole / theirs)


def _sign_in(base: str, instance: str) -> requests.Response:
    headers = {"Authorization": f"token {_TOKEN}"}
    given = {"username": "alice", "password": "alice-pass"}
    address = f"{base}/rucio-lab/session?instance={instance}"
    return requests.post(address, json=given, headers=headers, timeout=120)


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _starts() -> Iterator[Row]:
    taken: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for _ in range(7):
        for extension in (True, False):
            with _jupyter(extension=extension) as (_base, seconds, megabytes):
                taken[extension].append((seconds, megabytes))
    (ours, mine), (theirs, without) = ([median(each) for each in zip(*taken[known], strict=True)] for known in taken)
    yield Row("start of the Jupyter server", f"{ours:.2f} s", f"{theirs:.2f} s without the extension", ours / theirs)
    yield Row("its memory after the start", f"{mine:.1f} MB", f"{without:.1f} MB without", mine / without)


def measure(lake: FullLake, bulk: str) -> list[Row]:
    """Run all benchmarks of the server extension."""
    address = f"https://127.0.0.1:{lake.faulty['rucio'].port}"
    config = lake.config(test={}, slow={"url": address, "auth_url": address, "timeout": 5.0})
    os.environ["RUCIO_LAB_CONFIG"] = str(config)
    with _jupyter(extension=True) as (base, _, _):
        rows = [*_while_rucio_hangs(lake, base), *_another_instance(lake, base)]
        rows += [*_searches(lake, base, bulk), *_very_many(lake, base)]
    return [*rows, *_starts()]
