"""What is at a ``rucio://`` path: instances, scopes, collections and files, as the entries that fsspec lists.

Instances, scopes and collections are directories. Errors are those that tools expect of a file system: what does not
exist raises a `FileNotFoundError`.
"""

from __future__ import annotations

import fnmatch
import os
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import unquote

from rucio_lab.core.address import PREFIX, Address
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import ConfigurationError, NotFound
from rucio_lab.core.filesystem import lake_file
from rucio_lab.core.filesystem.lake_file import NoSuchDid
from rucio_lab.core.model import DidInfo

T = TypeVar("T")

Entry = dict[str, Any]

_CONFIGURATION_LIFE = 1.0  # seconds for which the configuration is kept: files are read in many small parts
_instances: dict[tuple[str | None, ...], tuple[Instance, float]] = {}


def instance_of(address: Address) -> Instance | None:
    """Find the instance of an address; None for the address above all instances."""
    if not address.instance:
        return None
    key = (address.instance, os.environ.get("RUCIO_LAB_CONFIG"), os.environ.get("RUCIO_CONFIG"))
    known, until = _instances.get(key, (None, 0.0))
    if known is None or until < time.monotonic():
        known = _configured(address)
        _instances[key] = (known, time.monotonic() + _CONFIGURATION_LIFE)
    return known


def _configured(address: Address) -> Instance:
    """Find the instance of an address in the configuration.

    Raises
    ------
    ConfigurationError
        If there is none. The remedy says how to write an address that starts with a scope.
    """
    instances = load_instances()
    try:
        return instances.get(address.instance)
    except ConfigurationError as error:
        if not address.scope or not instances.names:
            raise
        scope, name = address.instance, "/".join(filter(None, address[1:]))
        full = PREFIX + Address(instances.default_name or "INSTANCE", scope, name).path
        raise ConfigurationError(error.message, f"{error.remedy} If {scope!r} is a scope, write {full}.") from None


def entry_at(address: Address) -> Entry:
    """Describe what is at an address.

    Raises
    ------
    NoSuchDid
        If there is nothing.
    """
    instance = instance_of(address)
    if instance is None or not address.scope:
        return _directory(address._replace(scope="", name=""))
    if not address.name:
        if address.scope not in Lake(instance).scopes():
            raise NoSuchDid(f"{instance.name} has no scope {address.scope!r}.", "List them with fs.ls.")
        return _directory(address)
    file = lake_file.in_memory(instance, address.did)
    if file is not None:
        return _file(address, file.size, file.adler32)
    return _entry(address, or_not_found(lambda: Lake(instance).info(address.did)))


def entries_at(address: Address) -> list[Entry]:
    """List what is at an address: the entries of a directory, one level down, or a file itself."""
    if address.name and (entry := entry_at(address))["type"] == "file":
        return [entry]
    return sorted(_entries_in(address), key=lambda each: str(each["name"]))


def _entries_in(address: Address) -> list[Entry]:
    """List a directory: its instances, scopes or DIDs."""
    instance = instance_of(address)
    if instance is None:
        return [_directory(Address(name)) for name in load_instances().names]
    lake = Lake(instance)
    if not address.scope:
        return [_directory(Address(address.instance, scope)) for scope in lake.scopes()]
    if not address.name:
        return or_not_found(lambda: _entries(address, lake.search(DID(address.scope, "*"), type="all")))
    return or_not_found(lambda: _entries(address, lake.contents(address.did)))


def entries_matching(address: Address, pattern: str) -> list[Entry]:
    """List the entries of a directory whose names match a pattern."""
    instance = instance_of(address)
    if instance is not None and address.scope and not address.name:
        wanted = DID(address.scope, unquote(re.sub(r"[*?]+|\[[^]]*\]", "*", pattern)))  # * is Rucio's only wildcard
        found = or_not_found(lambda: _entries(address, Lake(instance).search(wanted, type="all")))
    else:
        found = entries_at(address)
    return [entry for entry in found if fnmatch.fnmatchcase(entry["name"].rpartition("/")[2], pattern)]


def files_below(address: Address) -> list[Entry]:
    """List all files of a container or dataset, in one request to Rucio."""
    return _entries(address, Lake(load_instances().get(address.instance)).files(address.did))


def or_not_found(ask: Callable[[], T]) -> T:
    """Ask Rucio, and raise a `FileNotFoundError` for what it does not have, as tools expect."""
    try:
        return ask()
    except NotFound as error:
        raise NoSuchDid(error.message, error.remedy, rucio=error.rucio) from None


def _entries(parent: Address, infos: Iterable[DidInfo]) -> list[Entry]:
    return [_entry(parent, info) for info in infos]


def _entry(parent: Address, info: DidInfo) -> Entry:
    """Describe a DID of the same instance as another address."""
    address = Address(parent.instance, *info.did)
    if info.type == "file":
        return _file(address, info.bytes or 0, info.adler32)
    about = {"did": str(info.did), "did_type": info.type, "length": info.length, "open": info.open}
    return {**_directory(address), **about}


def _directory(address: Address) -> Entry:
    return {"name": address.path, "size": 0, "type": "directory"}


def _file(address: Address, size: int, adler32: str | None) -> Entry:
    about = {"did": str(address.did), "did_type": "file", "adler32": adler32}
    return {"name": address.path, "size": size, "type": "file", **about}
