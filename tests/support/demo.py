"""Helpers of the demo's tests: run ``rucio-lab demo`` as a user does, and watch its processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
import psutil

from rucio_lab.demo.environment import demo_home

COMMAND = (sys.executable, "-c", "import sys; from rucio_lab.cli.main import main; sys.exit(main())", "demo")


def start_demo(*options: str | Path, cwd: Path, **env: str) -> subprocess.Popen[str]:
    """Start ``rucio-lab demo`` without a terminal."""
    return subprocess.Popen(
        [*COMMAND, *map(str, options)],
        cwd=cwd,
        env={**os.environ, "RUCIO_LAB_DEMO_HOME": str(demo_home()), **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook of code cells."""
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    return path


def wait_until(what: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def descendants(pid: int) -> list[psutil.Process]:
    """Return all processes below one."""
    return psutil.Process(pid).children(recursive=True)


def alive(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return which processes still live after a while; a zombie does not."""
    return [
        process
        for process in psutil.wait_procs(processes, timeout=seconds)[1]
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


def outputs(notebook: Path) -> str:
    """Return what the cells of an executed notebook printed."""
    cells = json.loads(notebook.read_text())["cells"]
    return "".join("".join(out.get("text", "")) for cell in cells for out in cell.get("outputs", []))
