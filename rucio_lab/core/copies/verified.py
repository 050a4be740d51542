"""Verified copies in the configured folder for downloads, found by the stamps that downloads leave there.

One look at the folder of a scope tells whether anything of it was downloaded. What is found is remembered for a moment,
because files are often opened one after the other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from rucio_lab.core.catalogue.replies import FileReplicas
from rucio_lab.core.checksum import Checksum
from rucio_lab.core.config.instances import load_downloads
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.copies.base_folder import checked_base
from rucio_lab.core.copies.folder import Folder, Stamp
from rucio_lab.core.copies.places import Place, component
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, ConfigurationError

_REMEMBER = 2.0  # seconds
_MOST_REMEMBERED = 20  # scopes


class _Known(NamedTuple):
    """A scope: its folders, each with its stamps, and when they were read."""

    folders: dict[Place, dict[str, Stamp]]
    read: float


_known: dict[tuple[Path, str, str], _Known] = {}


def verified_copies(instance: Instance, files: Iterable[FileReplicas]) -> dict[DID, Path]:
    """Find copies that a download of ours verified, and that have not changed since.

    Files of which Rucio has no checksum are never verified.

    Parameters
    ----------
    instance
        The instance of the files.
    files
        The files, with what Rucio says of them now.
    """
    by_scope: dict[str, list[FileReplicas]] = {}
    for file in files:
        by_scope.setdefault(file.did.scope, []).append(file)
    try:
        base = checked_base(load_downloads().folder)
    except (BadRequest, ConfigurationError):
        return {}
    found: dict[DID, Path] = {}
    for scope, its in by_scope.items():
        if folders := _folders(base, instance.name, scope):
            names = {component(file.did.name): file for file in its}
            for parts, stamps in folders.items():
                found.update(_in_folder(base, parts, stamps, names))
    return found


def forget() -> None:
    """Forget which copies there are, because a download has just ended."""
    _known.clear()


def _in_folder(
    base: Path, parts: Place, stamps: dict[str, Stamp], names: dict[str, FileReplicas]
) -> Iterator[tuple[DID, Path]]:
    wanted = names.keys() & stamps.keys()
    if not wanted:
        return
    with suppress(ConfigurationError), Folder(base, parts, make=False) as folder:
        for name in wanted:
            file = names[name]
            expected = Checksum(file.adler32, file.md5)
            if expected.kind and folder.is_verified(name, stamps[name], file.bytes, expected.expected):
                yield file.did, folder.path / name


def _folders(base: Path, instance: str, scope: str) -> dict[Place, dict[str, Stamp]]:
    """Give all folders with downloaded files of a scope, and their stamps."""
    key = base, instance, scope
    known = _known.get(key)
    if known is None or known.read < time.monotonic() - _REMEMBER:
        if len(_known) >= _MOST_REMEMBERED:
            _known.clear()
        known = _known[key] = _Known(dict(_read(base, (component(instance), component(scope)))), time.monotonic())
    return known.folders


def _read(base: Path, above: Place) -> Iterator[tuple[Place, dict[str, Stamp]]]:
    try:
        with os.scandir(base.joinpath(*above)) as entries:
            below = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for parts in (above, *((*above, name) for name in below)):
        with suppress(ConfigurationError), Folder(base, parts, make=False) as folder:
            if stamps := folder.stamps:
                yield parts, stamps
