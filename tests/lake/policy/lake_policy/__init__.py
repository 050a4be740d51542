"""A Rucio policy package, which runs inside the Rucio server: generic, but for what its modules say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _flat(scope: str, name: str, _rse: str, _rse_attributes: Any, _protocol_attributes: Any) -> str:
    return f"{scope}/{name.replace('/', '_')}"


def get_algorithms() -> dict[str, dict[str, Callable[..., str]]]:
    """Return algorithms that no client knows; what Rucio calls."""
    return {"lfn2pfn": {"lake_flat": _flat}}
