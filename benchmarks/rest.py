"""What the server extension costs, against raw HTTP requests to Rucio, and what others feel while Rucio hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import requests

from benchmarks.table import Row, pairs
from rucio_lab.demo.processes import free_port
from tests.lake.lake import FullLake

_TOKEN = "benchmark"
_ROOT = Path(__file__).parents[1]
SCOPE = "opendata13TeV"


@contextmanager
def _jupyter(*, extension: bool) -> Iterator[tuple[str, float]]:
    """Run a Jupyter server; gives its address, and how many seconds it took to answer."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [sys.executable, "-m", "jupyter_server", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
        command += [f"--IdentityProvider.token={_TOKEN}", "--no-browser", "--allow-root"]
        command += [f"--ServerApp.jpserver_extensions={{'rucio_lab': {extension}}}", f"--ServerApp.root_dir={folder}"]
        environment = {**os.environ, "JUPYTER_NO_CONFIG": "1"}
        begin = time.perf_counter()
        server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            yield f"http://127.0.0.1:{port}", _until_up(f"http://127.0.0.1:{port}/api", begin)
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


def _get(base: str, path: str, **arguments: Any) -> requests.Response:
    headers = {"Authorization": f"token {_TOKEN}"}
    return requests.get(f"{base}/{path}", params=arguments, headers=headers, timeout=120)


def _raw_search(lake: FullLake, token: str, pattern: str) -> int:
    filters = json.dumps([{"name": pattern}])
    arguments = {"type": "all", "filters": filters, "long": "True"}
    answer: Any = lake.request(
        "GET", f"/dids/{SCOPE}/dids/search", params=arguments, headers={"X-Rucio-Auth-Token": token}, stream=True
    )
    return sum(1 for line in answer.iter_lines() if line)


def _searches(lake: FullLake, base: str, bulk: str) -> Iterator[Row]:
    token = lake.token()
    for pattern, times in (("*GamGam", 15), (f"{bulk}*", 5)):
        full = f"{SCOPE}:{pattern}"
        count = len(_get(base, "rucio-lab/dids", pattern=full, type="all", limit=100_000).text.splitlines()) - 1
        ask = partial(_get, base, "rucio-lab/dids", pattern=full, type="all", limit=100_000)
        ours, theirs, ratio = pairs(ask, partial(_raw_search, lake, token, pattern), times)
        yield Row(f"search of {count:,} DIDs", f"{ours:.3f} s", f"{theirs:.3f} s raw HTTP to Rucio", ratio)


def _while_rucio_hangs(lake: FullLake, base: str) -> Iterator[Row]:
    """Time others while an instance hangs in a search, a resolve and a sign-in."""
    calls: dict[str, Callable[[], object]] = {
        "/api/status": lambda: _get(base, "api/status"),
        "a search elsewhere": lambda: _get(base, "rucio-lab/dids", pattern=f"{SCOPE}:GamGam*"),
    }
    for name, call in calls.items():
        call()
        quiet = median(_seconds(call) for _ in range(15))
        lake.faulty["rucio"].silent()
        with ThreadPoolExecutor(3) as pool:
            for route, argument in (("dids", {"pattern": "a:*"}), ("resolve", {"did": "a:b"}), ("scopes", {})):
                pool.submit(_get, base, f"rucio-lab/{route}", instance="slow", **argument)
            time.sleep(0.3)
            worst = max(_seconds(call) for _ in range(15))
        lake.faulty["rucio"].forward()
        yield Row(f"{name}, Rucio hangs", f"{worst * 1000:.0f} ms at worst", f"{quiet * 1000:.0f} ms otherwise")


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _starts() -> Iterator[Row]:
    taken: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(4):
        for extension in (True, False):
            with _jupyter(extension=extension) as (_, seconds):
                taken[extension].append(seconds)
    ours, theirs = (median(taken[extension]) for extension in (True, False))
    yield Row("start of the Jupyter server", f"{ours:.2f} s", f"{theirs:.2f} s without the extension", ours / theirs)


def _bundle() -> Row:
    scripts = list((_ROOT / "rucio_lab" / "labextension" / "static").glob("*.js"))
    size = sum(script.stat().st_size for script in scripts)
    return Row("size of the sidebar", f"{size / 1000:.0f} kB", "aim: 150 kB")


def measure(lake: FullLake, bulk: str) -> list[Row]:
    """Take all figures of the server extension."""
    address = f"https://127.0.0.1:{lake.faulty['rucio'].port}"
    config = lake.config(test={}, slow={"url": address, "auth_url": address, "timeout": 5.0})
    os.environ["RUCIO_LAB_CONFIG"] = str(config)
    with _jupyter(extension=True) as (base, _):
        rows = [*_searches(lake, base, bulk), *_while_rucio_hangs(lake, base)]
    return [*rows, *_starts(), _bundle()]
