"""The public names: one list, the types that others see, and what an install brings for that."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import rucio_lab

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".mypy_cache" / "scripts"
USE = ROOT / "tests" / "support" / "public_names.py"

MISTAKES = {
    "a misspelled name": ("import rucio_lab\nrucio_lab.atach('scope:name')\n", "has no attribute"),
    "a misspelled import": ("from rucio_lab import atach\n", "has no attribute"),
    "a misspelled option": ("import rucio_lab\nrucio_lab.attach('scope:name', acess='lake')\n", "Unexpected keyword"),
    "an access that does not exist": ("import rucio_lab\nrucio_lab.attach('scope:name', access='x')\n", "[arg-type]"),
    "a number for a DID": ("import rucio_lab\nrucio_lab.attach(1)\n", "[arg-type]"),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What mypy says of scripts that lie outside of the project: name of each script -> lines."""
    folder = tmp_path_factory.mktemp("scripts")
    shutil.copy(USE, folder / "use.py")
    names = {"use.py": "use"}
    for number, (name, (code, _)) in enumerate(MISTAKES.items()):
        names[f"mistake_{number}.py"] = name
        (folder / f"mistake_{number}.py").write_text(code)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        f"--cache-dir={CACHE}",
        *names,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert not done.stderr
    lines = [line for line in done.stdout.splitlines() if line.partition(":")[0] in names]
    return {name: "\n".join(line for line in lines if line.startswith(f"{script}:")) for script, name in names.items()}


def test_each_public_name_has_the_type_that_its_documentation_says(said: dict[str, str]) -> None:
    assert not said["use"]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_type_checker_finds(mistake: str, said: dict[str, str]) -> None:
    assert MISTAKES[mistake][1] in said[mistake]


def test_each_public_name_is_used_by_the_types_test() -> None:
    imported = {
        alias.name
        for node in ast.walk(ast.parse(USE.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "rucio_lab"
        for alias in node.names
    }
    assert {*imported, "__version__"} == set(rucio_lab.__all__)


@pytest.mark.parametrize("name", rucio_lab.__all__)
def test_each_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(rucio_lab, name) is not None
    assert name in dir(rucio_lab)
    assert f"`{name}`" in (ROOT / "docs" / "public-api.md").read_text()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'rucio_lab' has no attribute 'atach'"):
        rucio_lab.atach  # type: ignore[attr-defined]  # noqa: B018


def test_the_install_says_that_it_is_typed() -> None:
    assert files("rucio_lab").joinpath("py.typed").is_file()
