"""Packaging: both halves have the same version, and the installed files are where Jupyter and IPython look."""

from __future__ import annotations

import json
import sys
from importlib.metadata import files
from pathlib import Path

import pytest

from rucio_lab import __version__

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["package.json", "package-lock.json"])
def test_both_halves_have_the_same_version(name: str) -> None:
    assert json.loads((ROOT / "labextension" / name).read_text())["version"] == __version__


@pytest.mark.parametrize(
    "path",
    [
        "etc/ipython/startup/50-rucio-lab.py",
        "etc/jupyter/jupyter_server_config.d/rucio_lab.json",
        "share/jupyter/labextensions/rucio-lab/package.json",
    ],
)
def test_the_install_puts_files_where_jupyter_and_ipython_look(path: str) -> None:
    installed = {Path(str(file.locate())).resolve() for file in files("rucio-lab") or []}
    assert (Path(sys.prefix) / path).resolve() in installed
    assert (Path(sys.prefix) / path).stat().st_size > 0
