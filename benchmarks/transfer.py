"""The cost of a download compared with `curl`, `xrdcp` and `rucio download` of the same files in the same run."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.table import Row
from tests.lake.lake import FullLake

SCOPE = "opendata13TeV"
RSE = "CERN-EOS"
SETS = {"small": (200, 20_000), "large": (4, 100_000_000)}  # name: number of files, bytes per file
PARALLEL = (1, 4, 16)

# Only the transfer, for a fair comparison with curl and xrdcp, which are given addresses.
_OURS = """
import json, resource, sys, time
from pathlib import Path
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.copies.places import place
from rucio_lab.core.model import Request
from rucio_lab.core.resolve.resolution import resolve
from rucio_lab.core.transfer.fetch import Fetcher
did, scheme, folder, parallel = sys.argv[1:]
files = resolve(Request((did,), "", "download", schemes=(scheme,))).files
wanted = [(file, place(file.did, file.datasets[0])) for file in files]
before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
outcomes = Fetcher(load_instances().get(), wanted, Path(folder), parallel=int(parallel)).run()
seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF)
assert {outcome.state for outcome in outcomes} == {"fetched"}, outcomes
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps([seconds, cpu, after.ru_maxrss * 1024]))
"""
# A small process starts the programs, because exec keeps ru_maxrss: peak memory starts at that of the parent.
_LAUNCHER = """
import json, os, subprocess, sys, time
begin = time.perf_counter()
child = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(child.pid, 0)
cost = [time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]
print(json.dumps([os.waitstatus_to_exitcode(status), cost]))
"""
_WHOLE = "import sys, rucio_lab; rucio_lab.download(sys.argv[1], scheme=sys.argv[2], to=sys.argv[3])"


@dataclass(frozen=True)
class Cost:
    """Seconds, CPU seconds and peak memory in bytes of a download."""

    seconds: float
    cpu: float
    memory: float


def measure(lake: FullLake) -> list[Row]:
    """Download many small files and a few large ones over https and root, one, four and sixteen at a time."""
    rows: list[Row] = []
    for name, (count, size) in SETS.items():
        _add(lake, name, count, size)
        for scheme in ("https", "root"):
            for parallel in PARALLEL:
                rows += _compare(lake, name, scheme, parallel)
    rows += _whole(lake)
    return rows


def _add(lake: FullLake, name: str, count: int, size: int) -> None:
    """Write files to the storage and register them in Rucio."""
    chance = random.Random(count)
    files = []
    for number in range(count):
        content = chance.randbytes(size)
        path = lake.path(RSE, SCOPE, f"{name}.{number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        files.append(
            {"scope": SCOPE, "name": f"{name}.{number}", "bytes": size, "adler32": f"{zlib.adler32(content):08x}"}
        )
    for folder in (lake.store / "eos").rglob("*"):
        if folder.is_dir():
            folder.chmod(0o777)
    lake.rest("POST", "/replicas", json={"rse": RSE, "files": files})
    dids = [{"scope": SCOPE, "name": file["name"]} for file in files]
    lake.rest("POST", "/dids", json=[{"scope": SCOPE, "name": f"bench.{name}", "type": "DATASET", "dids": dids}])


def _compare(lake: FullLake, name: str, scheme: str, parallel: int) -> Iterator[Row]:
    """Run ours and the other programs alternately, three times each, and compare the medians."""
    others: dict[str, Callable[[Path], Cost]] = {"curl": lambda folder: _curl(lake, name, folder, parallel)}
    if scheme == "root":
        others = {"xrdcp": lambda folder: _xrdcp(lake, name, folder, parallel)}
    calls = {"ours": lambda folder: _ours(name, scheme, folder, parallel), **others}
    costs: dict[str, list[Cost]] = {who: [] for who in calls}
    for _ in range(3):
        for who, call in calls.items():
            with tempfile.TemporaryDirectory() as folder:
                costs[who].append(call(Path(folder)))
    middle = {who: sorted(all_, key=lambda cost: cost.seconds)[1] for who, all_ in costs.items()}
    count, size = SETS[name]
    gigabytes = count * size / 1e9
    ours = middle.pop("ours")
    for who, theirs in middle.items():
        yield Row(
            f"{count} files of {size / 1e6:g} MB over {scheme}, {parallel} at a time",
            f"{ours.seconds:.2f} s, {ours.cpu / gigabytes:.1f} CPU s/GB, {ours.memory / 1e6:.0f} MB",
            f"{theirs.seconds:.2f} s, {theirs.cpu / gigabytes:.1f} CPU s/GB, {theirs.memory / 1e6:.0f} MB {who}",
            ours.seconds / theirs.seconds,
        )


def _ours(name: str, scheme: str, folder: Path, parallel: int) -> Cost:
    command = [sys.executable, "-c", _OURS, f"{SCOPE}:bench.{name}", scheme, str(folder), str(parallel)]
    return Cost(*json.loads(_launched(command, None)[0]))


def _urls(lake: FullLake, name: str, scheme: str) -> list[str]:
    server, slashes = lake.storages[scheme].url, "//" if scheme == "root" else "/"
    names = [f"{name}.{number}" for number in range(SETS[name][0])]
    return [f"{server}{slashes}{lake.path(RSE, SCOPE, each).relative_to(lake.store)}" for each in names]


def _curl(lake: FullLake, name: str, folder: Path, parallel: int) -> Cost:
    lines = [f'url = "{url}"\noutput = "{folder}/{number}"\n' for number, url in enumerate(_urls(lake, name, "https"))]
    (folder / "config").write_text("".join(lines))
    command = ["curl", "-sf", "--cacert", str(lake.authority.ca), "-K", str(folder / "config")]
    return _run([*command, "-Z", "--parallel-immediate", "--parallel-max", str(parallel)] if parallel > 1 else command)


def _xrdcp(lake: FullLake, name: str, folder: Path, parallel: int) -> Cost:
    (folder / "list").write_text("\n".join(_urls(lake, name, "root")))
    (folder / "to").mkdir()
    parallel = min(parallel, 4)  # the maximum of xrdcp
    return _run(["xrdcp", "-s", "--parallel", str(parallel), "-I", str(folder / "list"), str(folder / "to")])


def _whole(lake: FullLake) -> Iterator[Row]:
    """Compare whole programs including startup, which is what a user waits for."""
    cfg = lake.rucio_cfg()
    environment = {**os.environ, "RUCIO_CONFIG": str(cfg), "RUCIO_ACCOUNT": "alice"}
    rucio = str(Path(sys.executable).with_name("rucio"))
    for name, (count, size) in SETS.items():
        did = f"{SCOPE}:bench.{name}"
        costs: dict[str, list[Cost]] = {"ours": [], "theirs": []}
        for _ in range(3):
            with tempfile.TemporaryDirectory() as folder:
                costs["ours"].append(_run([sys.executable, "-c", _WHOLE, did, "root", folder]))
            with tempfile.TemporaryDirectory() as folder:
                command = [rucio, "download", "--protocol", "root", "--ndownloader", "4", "--dir", folder, did]
                costs["theirs"].append(_run(command, environment))
                received = sum(path.stat().st_size for path in Path(folder).rglob(f"{name}.*"))
                assert received == count * size, "rucio download did not download all files"
        ours, theirs = (sorted(costs[who], key=lambda cost: cost.seconds)[1] for who in ("ours", "theirs"))
        yield Row(
            f"{count} files of {size / 1e6:g} MB over root, from the start of the program, 4 at a time",
            f"{ours.seconds:.2f} s, {ours.cpu:.1f} CPU s, {ours.memory / 1e6:.0f} MB",
            f"{theirs.seconds:.2f} s, {theirs.cpu:.1f} CPU s, {theirs.memory / 1e6:.0f} MB rucio download",
            ours.seconds / theirs.seconds,
        )


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> Cost:
    """Run a program and return the cost of it and its children."""
    return _launched(command, environment)[1]


def _launched(command: Sequence[str], environment: dict[str, str] | None) -> tuple[str, Cost]:
    """Run a program and return the last line it printed, and the cost of it and its children."""
    assert shutil.which(command[0]), f"{command[0]} is not installed"
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command]
    done = subprocess.run(launcher, env=environment, capture_output=True, text=True, check=True)
    *said, last = done.stdout.splitlines()
    status, cost = json.loads(last)
    assert status == 0, done.stdout[-1000:] + done.stderr[-2000:]
    return "".join(said[-1:]), Cost(*cost)
