"""Run the tests on the oldest and on the newest of what rucio_lab supports; for ``make test-supported``.

The oldest: Python 3.11, the lowest versions that pyproject.toml allows, Rucio 41.0.0; the sidebar in JupyterLab 4.2.
The newest: the newest Python of this machine, the newest versions, and Rucio on PostgreSQL.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE = Path(sys.prefix) / "bin"  # the environment of make
OLDEST_PYTHON = 11  # the minor version
OLDEST_RUCIO = "41.0.0"
TESTS = ("core", "api", "kernel", "server")

# What these tests import. The versions fit the oldest numpy that our own requirements allow.
TOOLS = (
    "astropy>=7",
    "dask[distributed]",
    "h5py>=3.12",
    "hypothesis>=6.100",
    "oidc-provider-mock>=0.3.4",
    "notebook==7.2.*",
    "pandas>=2.2",
    "papermill>=2.6",
    "pyarrow>=18,<20",
    "pyte>=0.8.2",
    "pytest>=8.3",
    "pytest-jupyter[server]>=0.10",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "pyyaml",
    "schemathesis>=4,<5",
)


def main() -> int:
    """Make both environments and run the tests in them; return the status of the worst run."""
    environments = HERE.parent / "supported"
    shutil.rmtree(environments, ignore_errors=True)
    return max(oldest(environments / "oldest"), newest(environments / "newest"))


def oldest(folder: Path) -> int:
    """Test the lowest versions."""
    make(folder, pythons()[OLDEST_PYTHON], ["--resolution", "lowest-direct", "."])
    add_tools(folder)
    status = test(folder / "bin" / "pytest", TESTS, {"RUCIO_LAB_TEST_RUCIO": OLDEST_RUCIO})
    return max(status, test(HERE / "pytest", ("browser",), {"RUCIO_LAB_TEST_PYTHON": str(folder / "bin" / "python")}))


def newest(folder: Path) -> int:
    """Test the newest Python."""
    make(folder, pythons()[max(pythons())], [".[test]"])
    environment = {"RUCIO_LAB_TEST_DATABASE": "postgresql"}
    subprocess.run([ROOT / "tests/lake/install-packages"], check=True, env={**os.environ, **environment})
    return test(folder / "bin" / "pytest", (*TESTS, "lake/test_postgresql.py"), environment)


def pythons() -> dict[int, Path]:
    """Find the Pythons 3.N of this machine: N -> program. Besides PATH, pyenv's own folder is looked into."""
    found = {minor: Path(where) for minor in range(OLDEST_PYTHON, 30) if (where := shutil.which(f"python3.{minor}"))}
    for path in Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions").glob("3.*/bin/python3"):
        if version := re.fullmatch(r"3\.(\d+)\.\d+", path.parts[-3]):
            found[int(version[1])] = path
    found[sys.version_info.minor] = Path(sys.executable)
    return {minor: found[minor] for minor in sorted(found) if minor >= OLDEST_PYTHON}


def make(folder: Path, python: Path, what: list[str]) -> None:
    """Make an environment with the wheel of this tree."""
    print(f"Making an environment of {python} in {folder} ...", flush=True)
    uv = HERE / "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", python, folder], check=True)
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", *what]
    subprocess.run(install, check=True, cwd=ROOT)


def add_tools(folder: Path) -> None:
    """Install what the tests import, and leave what is there as it is."""
    pip, python = (HERE / "uv", "pip"), ("--python", folder / "bin" / "python")
    there = subprocess.run([*pip, "freeze", "--exclude-editable", *python], check=True, capture_output=True, text=True)
    pins = [line for line in there.stdout.splitlines() if "==" in line]
    (folder / "pins.txt").write_text("\n".join(pins))
    subprocess.run([*pip, "install", "--quiet", *python, "-c", folder / "pins.txt", *TOOLS], check=True)


def test(pytest: Path, folders: tuple[str, ...], environment: dict[str, str]) -> int:
    """Run some folders of tests in two workers; return pytest's status."""
    print(f"Testing with {pytest}, {environment} ...", flush=True)
    command: list[str | Path] = [pytest, "-n", "2", "--dist", "loadfile", "-m", "not soak", "-q"]
    command += [f"tests/{folder}" for folder in folders]
    return subprocess.run(command, check=False, cwd=ROOT, env={**os.environ, **environment}).returncode


if __name__ == "__main__":
    sys.exit(main())
