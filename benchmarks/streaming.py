"""The cost of ``rucio://`` compared with direct URLs, and how soon a read resumes when a storage fails during it.

All storages are behind proxies that count the traffic and can be far away, slow or broken.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import fsspec
import fsspec_xrootd.xrootd
import uproot
from fsspec import register_implementation
from fsspec_xrootd import XRootDFileSystem

from benchmarks.table import Row, pairs
from rucio_lab.core.address import lake_url
from rucio_lab.core.did import DID
from rucio_lab.core.reading import xrootd
from rucio_lab.demo import ntuples
from rucio_lab.demo.content import SCOPE, Catalogue, Dataset, File
from rucio_lab.demo.samples import Sample
from tests.lake.faults import TcpProxy
from tests.lake.lake import FullLake

NAME = "benchmark._0001.root"
BRANCHES = ["photon_pt", "photon_eta", "photon_phi", "photon_E", "photon_isTightID", "photon_etcone20"]

_BY_CALLBACK = fsspec_xrootd.xrootd._async_wrap  # before we replace it
_FAR = (0.02, 12.5e6)  # seconds of delay, bytes per second: another country, 100 Mbit/s
_CAP = 20  # seconds to wait for a bare URL
_FIRST = """
import sys, time
import awkward, uproot
from rucio_lab import attach
begin = time.perf_counter()
(url,) = attach("{did}", access=sys.argv[1], rse="{rse}" if sys.argv[1] == "stream" else None)
with uproot.open({{str(url): "mini"}}) as tree:
    tree.arrays({branches})
print(time.perf_counter() - begin)
"""
_READER = str(Path(__file__).with_name("reader.py"))
_SCHEMES = {"root": "FAULTY-ROOT", "https": "FAULTY-HTTPS"}
_FAULTS: dict[str, Callable[[TcpProxy], None]] = {
    "refuses": TcpProxy.refuse,
    "is silent": TcpProxy.silent,
    "resets": TcpProxy.reset,
    "breaks off": lambda proxy: proxy.cut(100_000),
    "404": lambda proxy: proxy.answer_http(404),
    "403": lambda proxy: proxy.answer_http(403),
    "500": lambda proxy: proxy.answer_http(500),
}


def measure(lake: FullLake) -> list[Row]:
    """Run all benchmarks of this module."""
    with tempfile.TemporaryDirectory() as folder:
        _register(lake, Path(folder))
        rows: list[Row] = []
        for scheme, rse in _SCHEMES.items():
            # prefer the site of the proxies; the replica on CERN-EOS is the fallback
            os.environ["RUCIO_LAB_CONFIG"] = str(lake.config(test={"schemes": [scheme], "site": "FAULTY"}))
            path = lake.path(rse, SCOPE, NAME).relative_to(lake.store)
            direct = f"{scheme}://127.0.0.1:{lake.faulty[scheme].port}/{'/' if scheme == 'root' else ''}{path}"
            rows += _reads(lake, scheme, direct, Path(folder))
            rows += _faults(lake.faulty[scheme], scheme, direct)
    return rows


def _register(lake: FullLake, folder: Path) -> None:
    path = folder / NAME
    ntuples.write_file(path, ntuples.make_events(Sample("benchmark", 320000, 1, luminosity=4.6), 0))
    file = File(NAME, (*_SCHEMES.values(), "CERN-EOS"), str(path))
    lake.register(Catalogue(datasets=(Dataset(SCOPE, "benchmark", (file,)),)), "benchmark")


# ------------------------------------------------------------------------------------------------ reading


def _reads(lake: FullLake, scheme: str, direct: str, folder: Path) -> Iterator[Row]:
    proxy, url = lake.faulty[scheme], lake_url("test", DID(SCOPE, NAME))
    for where, times in (("on this machine", 15), ("20 ms and 100 Mbit/s away", 5)):
        if times == 5:
            proxy.far(*_FAR)
        ours, theirs, ratio = pairs(partial(_read, url), partial(_read_raw, direct), times)
        yield Row(f"six branches over {scheme}, {where}", f"{ours:.3f} s rucio://", f"{theirs:.3f} s direct URL", ratio)
        if scheme == "root":
            xrootd.prepare()
            ours, theirs, ratio = pairs(partial(_read, direct), partial(_read_raw, direct), times)
            row = f"a plain address over root, {where}"
            yield Row(row, f"{ours:.3f} s after attach", f"{theirs:.3f} s without", ratio)
        ours, theirs, ratio = pairs(partial(_read, url), partial(_download, direct, folder / "copy.root"), times // 3)
        yield Row(f"the same over {scheme}, {where}", f"{ours:.3f} s rucio://", f"{theirs:.3f} s download, read", ratio)
    proxy.forward()
    yield _first(scheme)
    ours_sent, ours_asked = _traffic(proxy, lambda: _read(url))
    theirs_sent, theirs_asked = _traffic(proxy, lambda: _read_raw(direct))
    size = lake.path(_SCHEMES[scheme], SCOPE, NAME).stat().st_size
    yield Row(
        f"bytes over {scheme}", f"{ours_sent:,}", f"{theirs_sent:,} direct ({size:,} in file)", ours_sent / theirs_sent
    )
    yield Row(f"requests over {scheme}", f"{ours_asked}", f"{theirs_asked} direct", ours_asked / theirs_asked)


def _first(scheme: str) -> Row:
    """Attach and read in new processes: ``rucio://`` asks Rucio on open, a direct URL on attach."""
    code = _FIRST.format(did=f"{SCOPE}:{NAME}", branches=BRANCHES, rse=_SCHEMES[scheme])
    taken = [[_seconds(code, access) for access in ("lake", "stream")] for _ in range(5)]
    ours, theirs = (median(column) for column in zip(*taken, strict=True))
    return Row(
        f"attach and read over {scheme}, new process",
        f"{ours:.3f} s rucio://",
        f"{theirs:.3f} s direct URL",
        median(lake / stream for lake, stream in taken),
    )


def _seconds(code: str, access: str) -> float:
    done = subprocess.run([sys.executable, "-c", code, access], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def _read(url: str) -> int:
    with uproot.open({url: "mini"}) as tree:
        return len(tree.arrays(BRANCHES))


def _read_raw(url: str) -> int:
    """Read as in a process that has not attached anything."""
    ours = fsspec_xrootd.xrootd._async_wrap
    register_implementation("root", XRootDFileSystem, clobber=True)
    fsspec_xrootd.xrootd._async_wrap = _BY_CALLBACK
    try:
        return _read(url)
    finally:
        fsspec_xrootd.xrootd._async_wrap = ours
        register_implementation("root", "rucio_lab.core.reading.root_filesystem.RootFileSystem", clobber=True)


def _download(url: str, path: Path) -> int:
    with fsspec.open(url) as source, path.open("wb") as target:
        while block := source.read(1 << 22):
            target.write(block)
    return _read(str(path))


def _traffic(proxy: TcpProxy, call: Callable[[], object]) -> tuple[int, int]:
    """Return how many bytes a call receives from the storage, and how many messages it sends."""
    proxy.forget()
    call()
    return proxy.sent, proxy.messages


# ------------------------------------------------------------------------------------------------ faults


def _faults(proxy: TcpProxy, scheme: str, direct: str) -> Iterator[Row]:
    for fault, make in _FAULTS.items():
        if scheme == "root" and fault.isdigit():
            continue
        ours = _resumes(proxy, lake_url("test", DID(SCOPE, NAME)), make)
        theirs = _resumes(proxy, direct, make)
        yield Row(f"{scheme} storage {fault} in the middle", ours, f"{theirs}, direct URL")


def _resumes(proxy: TcpProxy, url: str, fault: Callable[[TcpProxy], None]) -> str:
    """Start to read in a new process, cause the fault, and measure how long the next part takes."""
    reader = subprocess.Popen(
        [sys.executable, _READER, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert reader.stdin is not None
    assert reader.stdout is not None
    try:
        if reader.stdout.readline() != "ready\n":
            return "could not start"
        fault(proxy)
        begin = time.perf_counter()
        out, _ = reader.communicate("go on\n", timeout=_CAP)
    except subprocess.TimeoutExpired:
        return f"nothing for {_CAP} s"
    finally:
        reader.kill()
        reader.wait()
        proxy.forward()
    return f"{time.perf_counter() - begin:.1f} s" if out == "whole\n" else f"{out.strip() or 'died'}"
