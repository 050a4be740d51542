"""What the path of a ``rucio://`` address names, as entries of a listing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from rucio_lab.core.address import Address
from rucio_lab.core.config.instances import Instance, load_instances
from rucio_lab.core.errors import NotFound
from rucio_lab.core.filesystem.lake_file import NoSuchDid
from rucio_lab.core.model import DidInfo


def _instance(address: Address) -> Instance | None:
    """Find the instance of an address; None for the address that names none. Files are read in many small parts."""
    if not address.instance:
        return None
    key = (address.instance, os.environ.get("RUCIO_LAB_CONFIG"), os.environ.get("RUCIO_CONFIG"))
    known, until = _instances.get(key, (None, 0.0))
    if known is None or until < time.monotonic():
        known = load_instances().get(address.instance)
        _instances[key] = (known, time.monotonic() + _CONFIGURATION_LIFE)
    return known


_CONFIGURATION_LIFE = 1.0  # seconds


_instances: dict[tuple[str | None, ...], tuple[Instance, float]] = {}


def _directory(address: Address) -> dict[str, Any]:
    return {"name": address.path, "size": 0, "type": "directory"}


def _file(address: Address, size: int, adler32: str | None) -> dict[str, Any]:
    about = {"did": str(address.did), "did_type": "file", "adler32": adler32}
    return {"name": address.path, "size": size, "type": "file", **about}


def _entry(parent: Address, info: DidInfo) -> dict[str, Any]:
    """Describe a DID of the same instance as another address."""
    address = Address(parent.instance, *info.did)
    if info.type == "file":
        return _file(address, info.bytes or 0, info.adler32)
    about = {"did": str(info.did), "did_type": info.type, "length": info.length, "open": info.open}
    return {**_directory(address), **about}


def _missing_is_not_found(ask: Callable[[], Any]) -> Any:
    """Ask Rucio; what it does not know is a `FileNotFoundError`, as tools expect."""
    try:
        return ask()
    except NotFound as error:
        raise NoSuchDid(error.message, error.remedy, rucio=error.rucio) from None
