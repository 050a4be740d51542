"""What Rucio is asked: search, contents, files, replicas, scopes and RSEs of one instance."""

from __future__ import annotations

import difflib
import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from rucio_lab.core.catalogue.replies import (
    FileReplicas,
    Holding,
    Rse,
    _checked,
    _described,
    _did_info,
    _DidRow,
    _file_replicas,
    _FileRow,
    _HoldingRow,
    _RseRow,
)
from rucio_lab.core.config.instances import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, LakeBroken, NotFound
from rucio_lab.core.identity.client import RucioClient, client_for
from rucio_lab.core.model import DidInfo, DIDType
from rucio_lab.core.text import printable
from rucio_lab.core.upstream.faults import speaking_to
from rucio_lab.core.upstream.rucio_api import chunks, exception, parse_filters

MOST_DIDS = 1000
"""Rucio refuses more DIDs than this in one request for replicas."""

MOST_CONTAINERS = 10_000
"""A container that holds more containers than this is refused: each of them is a question to Rucio."""

ALL_SCHEMES = ("root", "roots", "xroot", "xroots", "https", "davs", "http", "file", "gsiftp", "srm")
"""What replicas are asked for: also schemes that no reader here knows, so that it can be said why they are left out."""


class Lake:
    """What can be asked of one instance. Cheap to make; every thread may make its own.

    Parameters
    ----------
    instance
        Which Rucio.
    sign_in
        Whether a sign-in that needs no questions may be made where there is no valid token.
    timeout
        Longest silence of Rucio, in seconds; by default the instance's.

    Notes
    -----
    Every method can raise `SignInNeeded`, `Refused`, `LakeBroken`, `LakeUnreachable` and `LakeTooSlow`. Those that give
    an iterator ask when it is first read, and stop Rucio when it is closed.
    """

    def __init__(self, instance: Instance, *, sign_in: bool = True, timeout: float | None = None) -> None:
        self.instance = instance
        self._sign_in = sign_in
        self._timeout = timeout

    def search(
        self, pattern: DID, *, type: DIDType = "collection", filters: Sequence[str] = (), limit: int | None = None
    ) -> Iterator[DidInfo]:
        """Find DIDs by name.

        Parameters
        ----------
        pattern
            Scope, and a name which may hold the wildcard ``*``.
        type
            What to find; ``collection`` means containers and datasets.
        filters
            Conditions on metadata in Rucio's own form, for example ``events>=1000``; all must hold.
        limit
            At most so many; None for all.

        Raises
        ------
        NotFound
            If there is no such scope; an existing scope without a match gives nothing.
        BadRequest
            If a filter makes no sense.
        """
        if limit is not None and limit < 1:
            raise BadRequest(f"A limit of {limit} makes no sense.", "Ask for 1 at least.")
        found = False
        parameters = {"type": type, "filters": _conditions(pattern.name, filters), "long": True, "recursive": False}
        if limit is not None:
            parameters["limit"] = limit
        with speaking_to(self.instance):
            rows = self._client().rows(["dids", pattern.scope, "dids", "search"], parameters)
            for row in _by_filters(rows, filters) if filters else rows:
                found = True
                yield _did_info(row)
        if not found:
            self._check_scope(pattern.scope)

    def info(self, did: DID) -> DidInfo:
        """Describe one DID, with the bytes and number of files of all that it contains.

        Raises
        ------
        NotFound
            If Rucio has no such DID.
        """
        with speaking_to(self.instance), suppress(exception.DataIdentifierNotFound):
            found = _did_info(self._one(["dids", *did], {"dynamic_depth": "FILE"}))
            if found.did != did:
                raise self._out_of_turn(f"{found.did} when it was asked for {did}")
            return found
        self._check_scope(did.scope)
        raise NotFound(
            f"{self.instance.name} has no DID {did}.",
            f"Look for it with %rucio_search '{did.scope}:*'.",
            rucio="DataIdentifierNotFound",
        )

    def contents(self, did: DID) -> Iterator[DidInfo]:
        """List what a container or dataset holds, one level down."""
        with speaking_to(self.instance):
            yield from map(_did_info, self._client().rows(["dids", *did, "dids"]))

    def files(self, did: DID) -> Iterator[DidInfo]:
        """List all files below a DID."""
        with speaking_to(self.instance):
            for row in self._client().rows(["dids", *did, "files"]):
                yield _described(_checked(row, _DidRow), "file")

    def files_of(self, collections: Iterable[DID]) -> Generator[tuple[DID, DidInfo], None, None]:
        """List all files of several containers and datasets in few requests, each with the collection it is in."""
        with speaking_to(self.instance):
            for some in chunks(collections, MOST_DIDS):
                asked = set(some)
                for each in self._client().bulk_list_files([did._asdict() for did in some]):
                    row = _checked(each, _FileRow)
                    parent = DID(row.parent_scope, row.parent_name)
                    if parent not in asked:
                        raise self._out_of_turn(f"files of {parent}, which it was not asked for")
                    yield parent, _described(row, "file")

    def replicas(
        self, dids: Iterable[DID], *, rse: str = "", site: str = "", blocked: bool = False, archives: bool = True
    ) -> Generator[FileReplicas, None, None]:
        """List the replicas of files, or of all files of collections.

        Parameters
        ----------
        dids
            Files, datasets and containers.
        rse
            An RSE expression that limits them.
        site
            The site of this machine: Rucio then puts its replicas first, with their LAN addresses.
        blocked
            Whether to list replicas on RSEs that are blocked for reading, too.
        archives
            Whether an archive that holds a file is a replica of it. Rucio never says so of the files of collections.

        Raises
        ------
        BadRequest
            If the RSE expression is not valid, or no RSE fits it.
        """
        with speaking_to(self.instance):
            for some in chunks(dids, MOST_DIDS):
                try:
                    rows = self._client().list_replicas(
                        [did._asdict() for did in some],
                        schemes=list(ALL_SCHEMES),
                        ignore_availability=blocked,
                        all_states=True,
                        rse_expression=rse or None,
                        client_location={"site": site} if site else None,
                        resolve_archives=archives,
                    )
                except exception.InvalidRSEExpression as error:
                    raise self._no_rse(rse) from error
                yield from map(_file_replicas, rows)

    def metadata(self, did: DID) -> dict[str, Any]:
        """Give the metadata of a DID, without those that are not set."""
        path = ["dids", *did, "meta"]
        with speaking_to(self.instance):
            try:
                known = self._one(path, {"plugin": "ALL"})
            except LakeBroken:  # a Rucio whose database cannot hold JSON fails on all plugins but its own
                known = self._one(path)
            return {key: value for key, value in sorted(known.items()) if value is not None}

    def datasets(self, info: DidInfo) -> list[DID]:
        """Find the datasets of a container, at any depth, each once; a dataset is its own."""
        if info.type != "container":
            return [info.did]
        found: dict[DID, None] = {}
        seen, todo = {info.did}, [info.did]
        while todo:
            for child in self.contents(todo.pop()):
                if child.type == "dataset":
                    found[child.did] = None
                elif child.type == "container" and child.did not in seen:
                    if len(seen) >= MOST_CONTAINERS:
                        raise BadRequest(
                            f"{info.did} holds more than {MOST_CONTAINERS:,} containers.", "Attach what is in it."
                        )
                    seen.add(child.did)
                    todo.append(child.did)
        return list(found)

    def holdings(self, did: DID) -> Iterator[Holding]:
        """Say which RSEs have how much of a DID, those with the most first."""
        info = self.info(did)
        found: dict[str, Holding] = {}
        if info.type == "file":
            for file in self.replicas([did], blocked=True):
                for rse, state in file.states.items():
                    available = state == "AVAILABLE"
                    found[rse] = Holding(rse, 1, int(available), file.bytes if available else 0)
        else:
            for dataset in self.datasets(info):
                for rse, holding in self.holdings_of(dataset).items():
                    found.setdefault(rse, Holding(rse)).add(holding)
        yield from sorted(found.values(), key=lambda holding: (-holding.available, holding.rse))

    def holdings_of(self, dataset: DID) -> dict[str, Holding]:
        """Say how much of a dataset each RSE has that has available files of it."""
        found: dict[str, Holding] = {}
        with speaking_to(self.instance):
            for each in self._client().rows(["replicas", *dataset, "datasets"], {"deep": True}):
                row = _checked(each, _HoldingRow)
                its = Holding(row.rse, row.length or 0, row.available_length or 0, row.available_bytes or 0)
                found.setdefault(its.rse, Holding(its.rse)).add(its)
        return found

    def scopes(self) -> list[str]:
        """List all scopes, in alphabetical order."""
        with speaking_to(self.instance):
            return sorted(_checked(self._client().list_scopes(), list[str]))

    def rses(self, expression: str = "") -> dict[str, bool]:
        """List RSEs: name -> whether it may be read from.

        Parameters
        ----------
        expression
            An RSE expression that limits them.

        Raises
        ------
        BadRequest
            If the RSE expression is not valid, or no RSE fits it.
        """
        with speaking_to(self.instance):
            try:
                rows = list(self._client().list_rses(expression or None))
            except exception.InvalidRSEExpression as error:
                raise self._no_rse(expression) from error
            return {row.rse: bool(row.availability_read) for row in _checked(rows, list[_RseRow])}

    def rse(self, name: str) -> Rse:
        """Give the settings of an RSE, with its protocols.

        Raises
        ------
        NotFound
            If there is no such RSE.
        """
        with speaking_to(self.instance):
            return _checked(self._client().get_rse(name), Rse)

    def _client(self) -> RucioClient:
        return client_for(self.instance, may_sign_in=self._sign_in, timeout=self._timeout)

    def _one(self, path: list[str], parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask REST for a single thing."""
        for row in self._client().rows(path, parameters):
            return _checked(row, dict[str, Any])
        raise self._out_of_turn("an empty answer")

    def _out_of_turn(self, what: str) -> LakeBroken:
        return LakeBroken(f"Rucio ({self.instance.name}) sent {printable(what)}.", "Check the address of the instance.")

    def _no_rse(self, expression: str) -> BadRequest:
        return BadRequest(
            f"No RSE of {self.instance.name} fits the RSE expression {expression!r}.",
            "Check its spelling; it is built of RSE names and attributes, for example tier=1&country=CH.",
            rucio="InvalidRSEExpression",
        )

    def _check_scope(self, scope: str) -> None:
        """Tell an unknown scope from one without a match: Rucio answers both with an empty list."""
        scopes = self.scopes()
        if scope in scopes:
            return
        near = difflib.get_close_matches(scope, scopes, n=3)
        some = (
            f"It has {', '.join(scopes[:3])}{' and others' if len(scopes) > 3 else ''}." if scopes else "It has none."
        )
        raise NotFound(
            f"{self.instance.name} has no scope {scope!r}.",
            f"Did you mean {' or '.join(near)}?" if near else some,
            rucio="ScopeNotFound",
        )


def _conditions(name: str, filters: Sequence[str]) -> str:
    """Write conditions on metadata as REST wants them."""
    try:
        return json.dumps(parse_filters(",".join(filters), name=name)[0])
    except (exception.DIDFilterSyntaxError, exception.DuplicateCriteriaInDIDFilter, UnboundLocalError) as error:
        raise BadRequest(
            f"The filter {','.join(filters)!r} makes no sense.",
            "Write it as key, operator (=, !=, <, <=, > or >=) and value, for example events>=1000; each at most once.",
        ) from error


def _by_filters(rows: Iterator[Any], filters: Sequence[str]) -> Iterator[Any]:
    """Read what filters found; a value of the wrong kind is an error of most databases, and Rucio hands that on."""
    try:
        yield from rows
    except exception.RucioException as error:
        if "Database" not in str(error):  # DatabaseException, or InvalidMetadata with the database's own words
            raise
        raise BadRequest(
            f"The database of Rucio cannot apply the filter {','.join(filters)!r}.",
            "Give each key a value of its kind: a number, true or false, a time like 2026-01-31T00:00:00, or a text.",
            rucio=type(error).__name__,
        ) from error
