"""What is public of well-known instances: one small TOML file each, named as the instance is everywhere.

A preset holds the settings of an instance as they would stand in ``rucio_lab.toml``, and where they are published. It
serves an instance of its name that has no ``url`` and no ``rucio_cfg`` of its own.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


@cache
def names() -> tuple[str, ...]:
    """Give the names of all presets, in order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@cache
def settings(name: str) -> dict[str, Any]:
    """Give the settings of a preset; none where there is no such preset.

    Parameters
    ----------
    name
        Name of an instance.
    """
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text()) if name in names() else {}
