"""The paths of downloaded files: BASE/instance/scope/dataset/name, and never anywhere else.

Names come from Rucio and are not trusted. Each becomes one component of a path, with ``%XX`` for every character that
could lead elsewhere or has a special meaning.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

from rucio_lab.core.did import DID

# Characters that paths do not allow, and those that readers take for wildcards, names of trees, or chained URLs.
_ESCAPED = frozenset('/\\%:*?[]{}"<>|~')
_MOST_BYTES = 200  # of a component; disks allow 255, and the name of a partial file is longer

Place = tuple[str, ...]
"""The path of a file below the base folder, as its components."""


def component(name: str) -> str:
    """Turn a name from Rucio into one component of a path. Different names give different components.

    Parameters
    ----------
    name
        Any text: a scope, or the name of a DID or an instance.
    """
    plain = name.isascii() and name.isprintable() and _ESCAPED.isdisjoint(name)
    if plain and len(name) <= _MOST_BYTES and not name.startswith((".", "-")):
        return name
    escaped = "".join(
        "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
        if character in _ESCAPED or not character.isprintable() or (not number and character in ".-")
        else character
        for number, character in enumerate(name)
    )
    raw = escaped.encode()
    if len(raw) <= _MOST_BYTES:
        return escaped
    suffix = PurePath(escaped[-20:]).suffix
    head = raw[: _MOST_BYTES - 50].decode(errors="ignore")
    # tildes are escaped in all names, so no other name gives this one
    return f"{head}~{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}{suffix}"


def place(did: DID, dataset: DID | None, instance: str = "") -> Place:
    """Give the place of a file below the base folder.

    The scope is the file's own, so that no two files share a place, whatever a dataset contains.

    Parameters
    ----------
    did
        The file.
    dataset
        The dataset through which it was reached, if any.
    instance
        Name of the instance; empty for a folder that the user chose, which has only datasets and names.
    """
    above = (instance, did.scope) if instance else ()
    return tuple(map(component, (*above, *((dataset.name,) if dataset else ()), did.name)))


def places(wanted: Iterable[tuple[DID, Place]], *, case_sensitive: bool = True) -> dict[DID, Place]:
    """Give files that would share a place different names, with part of a hash of the DID.

    Parameters
    ----------
    wanted
        Files and their places.
    case_sensitive
        Whether the disk distinguishes ``a`` from ``A``.
    """
    groups: dict[Place, list[tuple[DID, Place]]] = {}
    for did, where in wanted:
        key = where if case_sensitive else tuple(_folded(part) for part in where)
        groups.setdefault(key, []).append((did, where))
    return {
        did: where if len(group) == 1 else (*where[:-1], _told_apart(where[-1], did))
        for group in groups.values()
        for did, where in group
    }


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _told_apart(name: str, did: DID) -> str:
    path = PurePath(name)
    return f"{path.stem}~{hashlib.sha256(str(did).encode('utf-8', 'surrogatepass')).hexdigest()[:8]}{path.suffix}"
