"""Where downloaded files lie: BASE/instance/scope/dataset/name, and never anywhere else.

Names come from Rucio, and are data: each becomes one component of a path, with what could lead elsewhere or be taken
for something else written as ``%XX``.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

from rucio_lab.core.did import DID

# Besides what cannot be in a name: what readers take for wildcards, for the name of a tree, or for chained URLs.
_ESCAPED = frozenset('/\\%:*?[]{}"<>|~')
_MOST_BYTES = 200  # of a component; 255 are allowed, and a partial file has a longer name

Place = tuple[str, ...]
"""A file's path below the base folder: the components, ready for the disk."""


def component(name: str) -> str:
    """Make a name of Rucio's one component of a path; different names give different components.

    Parameters
    ----------
    name
        A scope, or the name of a DID or an instance: any text.
    """
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
    # a tilde is escaped in all names, so that no other name can look like this
    return f"{head}~{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}{suffix}"


def place(did: DID, dataset: DID | None, instance: str = "") -> Place:
    """Give the place of a file below the base folder.

    The scope is the file's own: so one place never stands for two files, whatever a dataset collects.

    Parameters
    ----------
    did
        The file.
    dataset
        The dataset that it was reached through, if any.
    instance
        Name of the instance; empty for a folder that the user chose, in which there are only datasets and names.
    """
    above = (instance, did.scope) if instance else ()
    return tuple(map(component, (*above, *((dataset.name,) if dataset else ()), did.name)))


def places(wanted: Iterable[tuple[DID, Place]], *, case_sensitive: bool = True) -> dict[DID, Place]:
    """Keep apart the files whose places would be one: by a part of a hash, made of the DID, in the name.

    Parameters
    ----------
    wanted
        Files and their places.
    case_sensitive
        Whether the disk tells ``a`` from ``A``.
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
