"""Helpers for the tests of the demo: run ``rucio-lab demo`` as a user does, write notebooks and read their outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat

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


def outputs(notebook: Path) -> str:
    """Return the printed output of an executed notebook."""
    cells = json.loads(notebook.read_text())["cells"]
    return "".join("".join(out.get("text", "")) for cell in cells for out in cell.get("outputs", []))
