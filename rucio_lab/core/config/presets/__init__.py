"""The public settings of well-known instances: one small TOML file for each, named after the instance.

A preset holds the settings of an instance as ``rucio_lab.toml`` would, and says where they are published. It applies
to an instance of that name which sets neither ``url`` nor ``rucio_cfg``.
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
    """Give the settings of a preset; none if there is no such preset.

    Parameters
    ----------
    name
        Name of an instance.
    """
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8")) if name in names() else {}
