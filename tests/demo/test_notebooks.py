"""The example notebooks, executed on the demo lake as with ``rucio-lab demo --execute``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rucio_lab.demo.file_server import start_storage
from rucio_lab.demo.lake import DemoLake
from tests.support.demo import outputs

EXAMPLES = Path(__file__).parents[2] / "examples"
Execute = Callable[[str], str]


@pytest.fixture
def execute(demo_lake: DemoLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Execute]:
    """Execute an example and return the output of its cells."""

    def execute(name: str) -> str:
        notebook = tmp_path / f"{name}.ipynb"
        command = [sys.executable, "-m", "rucio_lab.demo.execute", str(EXAMPLES / notebook.name), str(notebook)]
        done = subprocess.run(command, env=demo_lake.env, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        return outputs(notebook)

    yield execute
    monkeypatch.setenv("RUCIO_LAB_CONFIG", demo_lake.env["RUCIO_LAB_CONFIG"])
    start_storage("DEMO-DISK")


def test_a_read_survives_when_its_storage_dies(execute: Execute, tmp_path: Path) -> None:
    printed = execute("survives")
    found = json.loads((tmp_path / "survives.json").read_text())
    assert found["events"] > 200_000
    assert found["same"]
    assert found["went_on_after"] < 5
    assert printed.count("UserWarning") == 1
    assert "DEMO-DISK" in printed
    assert "Reading continues from DEMO-MIRROR" in printed
    assert "FileNotFoundError" in printed  # the direct URL


def test_every_tool_opens_the_same_data(execute: Execute) -> None:
    assert "5,000 stars" in execute("many_tools")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.name)
def test_the_examples_are_stored_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
