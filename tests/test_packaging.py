"""Packaging: both halves have one version, the installed files are where they belong, and the wheel is tested."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib.metadata import distribution, files
from pathlib import Path
from typing import Any

import pytest

import rucio_lab

ROOT = Path(__file__).parents[1]
INSTALLED = Path(sysconfig.get_path("purelib")) / "rucio_lab"
WHERE = "import rucio_lab; print(rucio_lab.__file__)"

_ORIGIN = json.loads(distribution("rucio-lab").read_text("direct_url.json") or "{}")
of_a_wheel = pytest.mark.skipif(
    _ORIGIN.get("dir_info", {}).get("editable", False), reason="make develop: the tree itself is tested, not a wheel"
)


@pytest.mark.parametrize("name", ["package.json", "package-lock.json"])
def test_both_halves_have_the_same_version(name: str) -> None:
    assert json.loads((ROOT / "labextension" / name).read_text())["version"] == rucio_lab.__version__


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


@of_a_wheel
def test_the_wheel_has_every_file_of_the_package_as_it_is_in_the_tree() -> None:
    package = ROOT / "rucio_lab"
    expected = {
        path.relative_to(package): path.read_bytes()
        for path in package.rglob("*")
        if path.is_file() and not {"__pycache__", "labextension"} & set(path.relative_to(package).parts)
    }
    expected[Path("demo/hyy.ipynb")] = (ROOT / "examples" / "hyy.ipynb").read_bytes()
    installed = {path.relative_to(INSTALLED): path for path in INSTALLED.rglob("*") if path.is_file()}
    found = {path: where.read_bytes() for path, where in installed.items() if "__pycache__" not in path.parts}
    assert (sorted(set(expected) - set(found)), sorted(set(found) - set(expected))) == ([], [])
    assert [path for path in expected if found[path] != expected[path]] == [], "make test installs the wheel again"


def test_the_sidebar_of_the_wheel_is_the_built_one() -> None:
    folder = Path(sys.prefix) / "share" / "jupyter" / "labextensions" / "rucio-lab"
    entry = json.loads((folder / "package.json").read_text())["jupyterlab"]["_build"]["load"]
    for path in ("install.json", "schemas/rucio-lab/commands.json", "static/style.js", entry):
        assert (folder / path).stat().st_size > 0


@of_a_wheel
@pytest.mark.parametrize(
    "program",
    [["-c", WHERE], ["-m", "tests.support.where"], ["-m", "IPython", "--colors=NoColor", "-c", WHERE]],
    ids=["a program", "a module of the tests, run in the tree", "IPython"],
)
def test_children_of_the_tests_import_the_wheel(program: list[str]) -> None:
    cwd = ROOT if "tests.support.where" in program else None
    done = subprocess.run([sys.executable, *program], cwd=cwd, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).parent == INSTALLED


@of_a_wheel
def test_the_tests_and_their_kernels_import_the_wheel(start_kernel: Callable[[], Any]) -> None:
    assert Path(rucio_lab.__file__).parent == INSTALLED
    assert Path(start_kernel().run(WHERE)[1].strip()).parent == INSTALLED
