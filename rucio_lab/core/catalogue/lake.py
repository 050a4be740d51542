"""Questions to the Rucio of one instance: search, contents, files, replicas, scopes and RSEs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from rucio_lab.core.catalogue.parallel import together
from rucio_lab.core.catalogue.replies import (
    FileReplicas,
    Holding,
    Rse,
    checked,
    did_info,
    file_in_collection,
    file_info,
    file_replicas,
    holding,
    readable_rses,
)
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, LakeBroken, NotFound
from rucio_lab.core.identity.client import RucioClient, client_for
from rucio_lab.core.model import DidInfo, DIDType
from rucio_lab.core.text import printable
from rucio_lab.core.upstream.faults import speaking_to
from rucio_lab.core.upstream.rucio_api import chunks, exception, parse_filters

MOST_DIDS = 1000
"""Rucio refuses a request for the replicas of more DIDs than this."""

MOST_CONTAINERS = 10_000
"""Containers that hold more containers than this are refused: each costs a request to Rucio."""

ALL_SCHEMES = ("root", "roots", "xroot", "xroots", "https", "davs", "http", "file", "gsiftp", "srm")
"""The schemes to ask for, including those that cannot be read here, so that a user learns why a replica is left out."""


class Lake:
    """The catalogue of one instance. Cheap to make; each thread can make its own.

    Parameters
    ----------
    instance
        Which Rucio to ask.
    sign_in
        Whether to sign in without a valid token, if that needs no questions to the user.
    timeout
        How long Rucio may stay silent, in seconds; by default as the instance says.

    Notes
    -----
    Every method can raise `SignInNeeded`, `Refused`, `LakeBroken`, `LakeUnreachable` and `LakeTooSlow`. Methods that
    return an iterator send the request when it is first read, and abandon it when it is closed.
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
            A scope, and a name that can contain the wildcard ``*``.
        type
            What to find. ``collection`` means containers and datasets.
        filters
            Conditions on metadata in Rucio's own syntax, for example ``events>=1000``. All must hold.
        limit
            The most DIDs to return; None for all.

        Raises
        ------
        NotFound
            If the scope does not exist. A scope without a match gives nothing.
        BadRequest
            If a filter is not valid.
        """
        if limit is not None and limit < 1:
            raise BadRequest(f"The limit {limit} is too low.", "Ask for at least 1.")
        found = False
        parameters = {"type": type, "filters": _conditions(pattern.name, filters), "long": True, "recursive": False}
        if limit is not None:
            parameters["limit"] = limit
        with speaking_to(self.instance):
            rows = self._client().rows(["dids", pattern.scope, "dids", "search"], parameters)
            for row in _by_filters(rows, filters) if filters else rows:
                found = True
                yield did_info(row)
        if not found:
            self._check_scope(pattern.scope)

    def info(self, did: DID) -> DidInfo:
        """Describe one DID, with the size and the number of all files in it.

        Raises
        ------
        NotFound
            If Rucio has no such DID.
        """
        with speaking_to(self.instance), suppress(exception.DataIdentifierNotFound):
            found = did_info(self._one(["dids", *did], {"dynamic_depth": "FILE"}))
            if found.did != did:
                raise self._unexpected(f"{found.did} when it was asked for {did}")
            return found
        self._check_scope(did.scope)
        raise NotFound(
            f"{self.instance.name} has no DID {did}.",
            f"Look for it with %rucio_search '{did.scope}:*'.",
            rucio="DataIdentifierNotFound",
        )

    def contents(self, did: DID) -> Iterator[DidInfo]:
        """List the contents of a container or dataset, one level down."""
        with speaking_to(self.instance):
            yield from map(did_info, self._client().rows(["dids", *did, "dids"]))

    def files(self, did: DID) -> Iterator[DidInfo]:
        """List all files of a DID, at any depth."""
        with speaking_to(self.instance):
            yield from map(file_info, self._client().rows(["dids", *did, "files"]))

    def files_of(self, collections: Iterable[DID]) -> Generator[tuple[DID, DidInfo], None, None]:
        """List all files of several containers and datasets in few requests, each file with its collection."""
        with speaking_to(self.instance):
            for some in chunks(collections, MOST_DIDS):
                asked = set(some)
                for row in self._client().bulk_list_files([did._asdict() for did in some]):
                    parent, file = file_in_collection(row)
                    if parent not in asked:
                        raise self._unexpected(f"files of {parent}, which it was not asked for")
                    yield parent, file

    def replicas(
        self, dids: Iterable[DID], *, rse: str = "", site: str = "", blocked: bool = False, archives: bool = True
    ) -> Generator[FileReplicas, None, None]:
        """List the replicas of files, or of all files of collections.

        Parameters
        ----------
        dids
            Files, datasets and containers.
        rse
            An RSE expression that limits the replicas.
        site
            The site of this machine. Rucio puts the replicas there first, with their LAN addresses.
        blocked
            Whether to include replicas on RSEs that are blocked for reading.
        archives
            Whether an archive counts as a replica of the files in it. For collections, Rucio never lists archives.

        Raises
        ------
        BadRequest
            If the RSE expression is not valid, or matches no RSE.
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
                yield from map(file_replicas, rows)

    def metadata(self, did: DID) -> dict[str, Any]:
        """Give the metadata of a DID that are set."""
        path = ["dids", *did, "meta"]
        with speaking_to(self.instance):
            try:
                known = self._one(path, {"plugin": "ALL"})
            except LakeBroken:  # if its database cannot store JSON, Rucio fails for all plugins but its own
                known = self._one(path)
            return {key: value for key, value in sorted(known.items()) if value is not None}

    def datasets(self, *infos: DidInfo) -> dict[DID, list[DID]]:
        """Find the datasets in each of some containers, at any depth, each once; for a dataset, the dataset itself."""
        children = self._containers([info.did for info in infos if info.type == "container"])
        return {
            info.did: _datasets_below(info.did, children) if info.type == "container" else [info.did] for info in infos
        }

    def _containers(self, level: list[DID]) -> dict[DID, list[DidInfo]]:
        """List the contents of containers and of all containers in them, one level after another."""
        children: dict[DID, list[DidInfo]] = {}
        first = level
        while level:
            if len(children) + len(level) > MOST_CONTAINERS:
                raise BadRequest(
                    f"{first[0]} holds more than {MOST_CONTAINERS:,} containers.", "Attach its parts instead."
                )
            contents = together(self.instance, [lambda did=did: list(self.contents(did)) for did in level])  # type: ignore[misc]
            children.update(zip(level, contents, strict=True))
            found = (child.did for its in contents for child in its if child.type == "container")
            level = [did for did in dict.fromkeys(found) if did not in children]
        return children

    def holdings(self, did: DID) -> Iterator[Holding]:
        """Say how much of a DID each RSE has, those with the most files first."""
        info = self.info(did)
        found: dict[str, Holding] = {}
        if info.type == "file":
            for file in self.replicas([did], blocked=True):
                for rse, state in file.states.items():
                    available = state == "AVAILABLE"
                    found[rse] = Holding(rse, 1, int(available), file.bytes if available else 0)
        else:
            for dataset in self.datasets(info)[did]:
                for rse, its in self.holdings_of(dataset).items():
                    found.setdefault(rse, Holding(rse)).add(its)
        yield from sorted(found.values(), key=lambda its: (-its.available, its.rse))

    def holdings_of(self, dataset: DID) -> dict[str, Holding]:
        """Say how much of a dataset each RSE has. RSEs without an available file are left out."""
        found: dict[str, Holding] = {}
        with speaking_to(self.instance):
            for its in map(holding, self._client().rows(["replicas", *dataset, "datasets"], {"deep": True})):
                found.setdefault(its.rse, Holding(its.rse)).add(its)
        return found

    def scopes(self) -> list[str]:
        """List all scopes, in alphabetical order."""
        with speaking_to(self.instance):
            return sorted(checked(self._client().list_scopes(), list[str]))

    def rses(self, expression: str = "") -> dict[str, bool]:
        """List RSEs: name -> whether it can be read from.

        Parameters
        ----------
        expression
            An RSE expression that limits the RSEs.

        Raises
        ------
        BadRequest
            If the RSE expression is not valid, or matches no RSE.
        """
        with speaking_to(self.instance):
            try:
                rows = list(self._client().list_rses(expression or None))
            except exception.InvalidRSEExpression as error:
                raise self._no_rse(expression) from error
            return readable_rses(rows)

    def rse(self, name: str) -> Rse:
        """Give the settings of an RSE, with its protocols.

        Raises
        ------
        NotFound
            If there is no such RSE.
        """
        with speaking_to(self.instance):
            return checked(self._client().get_rse(name), Rse)

    def _client(self) -> RucioClient:
        return client_for(self.instance, may_sign_in=self._sign_in, timeout=self._timeout)

    def _one(self, path: list[str], parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask Rucio's REST interface for a single object."""
        for row in self._client().rows(path, parameters):
            return checked(row, dict[str, Any])
        raise self._unexpected("an empty answer")

    def _unexpected(self, what: str) -> LakeBroken:
        return LakeBroken(f"Rucio ({self.instance.name}) sent {printable(what)}.", "Check the address of the instance.")

    def _no_rse(self, expression: str) -> BadRequest:
        return BadRequest(
            f"No RSE of {self.instance.name} matches the RSE expression {expression!r}.",
            "Check the spelling. It combines RSE names and attributes, for example tier=1&country=CH.",
            rucio="InvalidRSEExpression",
        )

    def _check_scope(self, scope: str) -> None:
        """Raise `NotFound` for a scope that does not exist: Rucio answers with an empty list, as for no match."""
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


def _datasets_below(container: DID, children: Mapping[DID, Sequence[DidInfo]]) -> list[DID]:
    found: dict[DID, None] = {}
    seen, todo = {container}, [container]
    while todo:
        for child in children[todo.pop()]:
            if child.type == "dataset":
                found[child.did] = None
            elif child.type == "container" and child.did not in seen:
                seen.add(child.did)
                todo.append(child.did)
    return list(found)


def _conditions(name: str, filters: Sequence[str]) -> str:
    """Write conditions on metadata in the form that Rucio's REST interface takes."""
    try:
        return json.dumps(parse_filters(",".join(filters), name=name)[0])
    except (exception.DIDFilterSyntaxError, exception.DuplicateCriteriaInDIDFilter, UnboundLocalError) as error:
        raise BadRequest(
            f"The filter {','.join(filters)!r} is not valid.",
            "Write key, operator (=, !=, <, <=, > or >=) and value, for example events>=1000; each at most once.",
        ) from error


def _by_filters(rows: Iterator[Any], filters: Sequence[str]) -> Iterator[Any]:
    """Read the matches. Most databases fail for a value of the wrong type, and Rucio passes their error on."""
    try:
        yield from rows
    except exception.RucioException as error:
        if "Database" not in str(error):  # DatabaseException, or InvalidMetadata with the database's own words
            raise
        raise BadRequest(
            f"Rucio's database cannot apply the filter {','.join(filters)!r}.",
            "Give each key a value of its type: a number, true or false, a time like 2026-01-31T00:00:00, or text.",
            rucio=type(error).__name__,
        ) from error
