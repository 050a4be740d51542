"""Find DIDs, and list what is in them."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Iterable
from contextlib import suppress
from typing import get_args

from rucio_lab.api.dids import DidLike, did_text
from rucio_lab.api.tables import html_table, text_table
from rucio_lab.core.address import did_of
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, RucioLabError
from rucio_lab.core.model import DidInfo, DIDType
from rucio_lab.core.text import printable
from rucio_lab.core.words import count, several, size

SEARCH_LIMIT = 1000
"""A search stops after so many DIDs, unless it is told otherwise."""


def search(
    pattern: DidLike,
    *,
    type: DIDType = "collection",
    filters: str | Iterable[str] = (),
    limit: int = SEARCH_LIMIT,
    instance: str | None = None,
) -> DidList:
    """Find DIDs by name, in one scope.

    Parameters
    ----------
    pattern
        ``scope:name``, where the name may hold the wildcard ``*``.
    type
        ``collection`` (containers and datasets), ``container``, ``dataset``, ``file`` or ``all``.
    filters
        Conditions on metadata, for example ``"events>=1000"``; all must hold.
    limit
        At most so many DIDs. The result says whether there are more.
    instance
        Name or host of a Rucio instance; by default the default one.

    Raises
    ------
    BadRequest
        If the pattern names no scope (the error then names some), or a filter makes no sense.
    NotFound
        If there is no such scope.
    """
    if type not in get_args(DIDType):
        raise BadRequest(f"There is no type {type!r}.", f"It is one of {', '.join(get_args(DIDType))}.")
    if limit < 1:
        raise BadRequest(f"A limit of {limit} leaves no DID.", "Give 1 or more.")
    lake = Lake(load_instances().get(instance))
    did = _one_scope(lake, did_text(pattern))
    conditions = [filters] if isinstance(filters, str) else list(filters)
    found = list(itertools.islice(lake.search(did, type=type, filters=conditions, limit=limit + 1), limit + 1))
    if len(found) > limit:
        return DidList(
            found[:limit], f"The first {count(limit, 'DID')} of {lake.instance.name} that fit {did}", more=True
        )
    if not found and type == "collection":
        return DidList(
            [], f"No container or dataset of {lake.instance.name} fits {did}; with type file there may be some"
        )
    return DidList(found, f"{count(len(found), 'DID')} of {lake.instance.name} that fit {did}")


def ls(did: DidLike, *, instance: str | None = None) -> DidList:
    """List what a container or dataset holds, one level down; a file is listed itself.

    Parameters
    ----------
    did
        The DID as ``scope:name``.
    instance
        Name or host of a Rucio instance; by default the default one.

    Raises
    ------
    NotFound
        If Rucio has no such DID.
    """
    target = did_of(did_text(did))
    if target.is_pattern:
        raise BadRequest(f"{target} is a pattern, and one DID can be listed at a time.", "Use search for patterns.")
    lake = Lake(load_instances().get(instance))
    info = lake.info(target)
    if info.type == "file":
        return DidList([info], f"{target} is a file")
    about = [info.type]
    if info.length is not None:
        about.append(f"{count(info.length, 'file')} in all")
    if info.bytes is not None:
        about.append(size(info.bytes))
    if info.open:
        about.append("still open")
    return DidList(lake.contents(target), f"{target} ({', '.join(about)})")


class DidList(list[DidInfo]):
    """DIDs that were found, as a list of `DidInfo` which is shown as a table.

    Attributes
    ----------
    title
        What they are.
    more
        Whether there are more than these.
    """

    _HEADER = ("DID", "type", "files", "size")
    _MOST_ROWS = 50

    def __init__(self, dids: Iterable[DidInfo], title: str, *, more: bool = False) -> None:
        super().__init__(sorted(dids, key=lambda info: info.did))
        self.title = printable(title)
        self.more = more

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                str(info.did),
                info.type,
                "" if info.length is None or info.type == "file" else f"{info.length:,}",
                "" if info.bytes is None else size(info.bytes),
            )
            for info in self[: self._MOST_ROWS]
        ]

    def _notes(self) -> list[str]:
        notes = []
        if len(self) > self._MOST_ROWS:
            notes.append(f"Shown are {self._MOST_ROWS} of {len(self):,}; the list holds them all.")
        if self.more:
            notes.append("There are more: narrow the pattern, or give a larger limit.")
        return notes

    def __repr__(self) -> str:
        table = [text_table(self._HEADER, self._rows())] if self else []
        return "\n".join([f"{self.title}{':' if self else '.'}", *table, *self._notes()])

    def _repr_html_(self) -> str:
        return html_table(self._HEADER, self._rows(), self.title, self._notes())


def _one_scope(lake: Lake, pattern: str) -> DID:
    """Read a search pattern; where its scope is missing or a pattern itself, say which scopes there are."""
    scope, colon, name = pattern.strip().partition(":")
    if colon and "*" not in scope:
        return did_of(pattern)
    wanted = scope if colon else "*"
    scopes: list[str] = []
    with suppress(RucioLabError):  # what is wrong is the pattern, whether or not Rucio can be asked just now
        scopes = fnmatch.filter(lake.scopes(), wanted)
    where = f"{lake.instance.name} has {several(scopes, 3)}" if scopes else "a scope is what stands before the colon"
    example = f"{scopes[0] if scopes else 'scope'}:{name if colon else pattern.strip()}"
    raise BadRequest(f"{pattern!r} names no single scope to search in: {where}.", f"Write it like {example}.")
