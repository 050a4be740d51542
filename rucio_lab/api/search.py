"""Find DIDs, and list what is in them."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import get_args

from rucio_lab.api.dids import DidLike, did_text, instance_of
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
"""The default limit of a search, in DIDs."""


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
        ``scope:name``, where the name may contain the wildcard ``*``.
    type
        ``collection`` (containers and datasets), ``container``, ``dataset``, ``file`` or ``all``.
    filters
        Conditions on metadata, for example ``"events>=1000"``; a DID must meet all of them.
    limit
        The largest number of DIDs. The result says whether there are more.
    instance
        Name or host of a Rucio instance, if not the default one.

    Raises
    ------
    BadRequest
        If the pattern has no scope (the error names some) or a filter is invalid.
    NotFound
        If there is no such scope.
    """
    if type not in get_args(DIDType):
        raise BadRequest(f"There is no type {type!r}.", f"It is one of {', '.join(get_args(DIDType))}.")
    if limit < 1:
        raise BadRequest(f"A limit of {limit} leaves no DID.", "Give 1 or more.")
    lake = Lake(load_instances().get(instance_of([pattern], instance)))
    did = _one_scope(lake, did_text(pattern))
    conditions = [filters] if isinstance(filters, str) else list(filters)
    rows = _of(lake, lake.search(did, type=type, filters=conditions, limit=limit + 1))
    found = list(itertools.islice(rows, limit + 1))
    if len(found) > limit:
        return DidList(
            found[:limit], f"The first {count(limit, 'DID')} of {lake.instance.name} that match {did}", more=True
        )
    if not found and type == "collection":
        return DidList([], f"No container or dataset of {lake.instance.name} matches {did}; files may, with type file")
    return DidList(found, f"{count(len(found), 'DID')} of {lake.instance.name} matching {did}")


def ls(did: DidLike, *, instance: str | None = None) -> DidList:
    """List the contents of a container or dataset, one level down; of a file, list the file itself.

    Parameters
    ----------
    did
        The DID: as ``scope:name``, or from what `search` and `ls` return.
    instance
        Name or host of a Rucio instance, if not the default one.

    Raises
    ------
    NotFound
        If Rucio has no such DID.
    """
    target = did_of(did_text(did))
    if target.is_pattern:
        raise BadRequest(
            f"{target} is a pattern, and only one DID can be listed at a time.", "Use search for patterns."
        )
    lake = Lake(load_instances().get(instance_of([did], instance)))
    info = lake.info(target)
    if info.type == "file":
        return DidList(_of(lake, [info]), f"{target} is a file")
    about = [info.type]
    if info.length is not None:
        about.append(f"{count(info.length, 'file')} in all")
    if info.bytes is not None:
        about.append(size(info.bytes))
    if info.open:
        about.append("still open")
    return DidList(_of(lake, lake.contents(target)), f"{target} ({', '.join(about)})")


class DidList(list[DidInfo]):
    """A list of `DidInfo` that is shown as a table.

    Attributes
    ----------
    title
        Heading of the table.
    more
        Whether the limit left out further DIDs.
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
            notes.append(f"{self._MOST_ROWS} of {len(self):,} shown; the list contains all of them.")
        if self.more:
            notes.append("There are more: use a narrower pattern or a larger limit.")
        return notes

    def __repr__(self) -> str:
        table = [text_table(self._HEADER, self._rows())] if self else []
        return "\n".join([f"{self.title}{':' if self else '.'}", *table, *self._notes()])

    def _repr_html_(self) -> str:
        return html_table(self._HEADER, self._rows(), self.title, self._notes())


def _of(lake: Lake, infos: Iterable[DidInfo]) -> Iterator[DidInfo]:
    """Say of some DIDs which instance they were found in."""
    return (replace(info, instance=lake.instance.name) for info in infos)


def _one_scope(lake: Lake, pattern: str) -> DID:
    """Read a search pattern. If it has no scope, or a pattern for one, the error lists the scopes that exist."""
    scope, colon, name = pattern.strip().partition(":")
    if colon and "*" not in scope:
        return did_of(pattern)
    wanted = scope if colon else "*"
    scopes: list[str] = []
    with suppress(RucioLabError):  # the error is about the pattern, even if Rucio does not answer
        scopes = fnmatch.filter(lake.scopes(), wanted)
    where = f"{lake.instance.name} has {several(scopes, 3)}" if scopes else "the scope is the part before the colon"
    example = f"{scopes[0] if scopes else 'scope'}:{name if colon else pattern.strip()}"
    raise BadRequest(f"{pattern!r} does not name one scope to search in: {where}.", f"Write it like {example}.")
