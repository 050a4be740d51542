"""How much of its files the H->yy notebook transfers, and how it compares with downloading them first."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import requests
import uproot

from benchmarks.table import Row, pairs
from rucio_lab import attach
from rucio_lab.demo.lake import DemoLake

_ROOT = Path(__file__).parents[1]
_BRANCHES = ["photon_pt", "photon_eta", "photon_phi", "photon_isTightID", "photon_etcone20"]


def measure() -> list[Row]:
    """Run the notebook on a demo lake, and read its branches both ways."""
    with DemoLake() as lake, tempfile.TemporaryDirectory() as folder:
        os.environ["RUCIO_LAB_CONFIG"] = lake.env["RUCIO_LAB_CONFIG"]
        command = [sys.executable, "-m", "rucio_lab.demo.execute", str(_ROOT / "examples" / "hyy.ipynb")]
        subprocess.run([*command, f"{folder}/hyy.ipynb"], env=lake.env, cwd=folder, check=True, capture_output=True)
        moved, total = lake.storage.traffic().sent, attach("opendata13TeV:GamGam").bytes
        stream, download, ratio = pairs(_stream, lambda: _download(Path(folder)), 3)
    return [
        Row("bytes moved by hyy.ipynb", f"{moved / 1e6:.1f} MB", f"{total / 1e6:.1f} MB in its files", moved / total),
        Row("read its branches", f"{stream:.2f} s streamed", f"{download:.2f} s download, then read", ratio),
    ]


def _read(files: dict[str, str]) -> int:
    return sum(len(events) for events in uproot.iterate(files, _BRANCHES, step_size=200_000))


def _stream() -> int:
    return _read(attach("opendata13TeV:GamGam").uproot("mini"))


def _download(folder: Path) -> int:
    paths = {}
    for entry in attach("opendata13TeV:GamGam"):
        path = folder / entry.did.name
        with requests.get(entry, stream=True, timeout=60) as response, path.open("wb") as file:
            response.raise_for_status()
            for chunk in response.iter_content(1 << 20):
                file.write(chunk)
        paths[str(path)] = "mini"
    return _read(paths)
