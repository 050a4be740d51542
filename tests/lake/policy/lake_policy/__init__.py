"""A policy package for the Rucio server of the lake: the generic policy with the changes in these modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _flat(scope: str, name: str, _rse: str, _rse_attributes: Any, _protocol_attributes: Any) -> str:
    return f"{scope}/{name.replace('/', '_')}"


def get_algorithms() -> dict[str, dict[str, Callable[..., str]]]:
    """Return algorithms that no client knows; called by Rucio."""
    return {"lfn2pfn": {"lake_flat": _flat}}
