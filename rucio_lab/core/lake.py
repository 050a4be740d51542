"""What Rucio is asked: search, contents, files, replicas, scopes and RSEs of one instance."""

from __future__ import annotations

import difflib
import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from rucio_lab.core.auth import RucioClient, client_for
from rucio_lab.core.config import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, LakeBroken, NotFound
from rucio_lab.core.faults import speaking_to
from rucio_lab.core.model import DidInfo, DIDType
from rucio_lab.core.rucio_api import chunks, exception, parse_filters

MOST_DIDS = 1000
"""Rucio refuses more DIDs than this in one request for replicas."""

ALL_SCHEMES = ("root", "roots", "xroot", "xroots", "https", "davs", "http", "file", "gsiftp", "srm")
"""What replicas are asked for: also schemes that no reader here knows, so that it can be said why they are left out."""


class Pfn(NamedTuple):
    """One address of a replica, as Rucio gave it."""

    url: str
    rse: str
    rse_type: str
    domain: str
    priority: int


class FileReplicas(NamedTuple):
    """A file with all its replicas, whatever their state.

    Attributes
    ----------
    did, bytes, adler32
        The file, as registered.
    pfns
        Addresses, in Rucio's order.
    states
        RSE -> state of the replica there, for example ``AVAILABLE``.
    md5
        Another checksum, as registered.
    """

    did: DID
    bytes: int
    adler32: str | None
    pfns: tuple[Pfn, ...]
    states: dict[str, str]
    md5: str | None = None


@dataclass(slots=True)
class Holding:
    """What one RSE has of a DID.

    Attributes
    ----------
    rse
        Its name.
    files
        Number of files of the DID that have a replica there, in any state.
    available
        Number of those that are AVAILABLE.
    bytes
        Size of the available ones, in bytes.
    """

    rse: str
    files: int = 0
    available: int = 0
    bytes: int = 0

    def add(self, more: Holding) -> None:
        """Add what the RSE has of another DID."""
        self.files += more.files
        self.available += more.available
        self.bytes += more.bytes


_HOLDING = ("length", "available_length", "available_bytes")  # in a row of Rucio's answer


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
                yield _did_info(_row(row))
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
            return _did_info(self._one(["dids", *did], {"dynamic_depth": "FILE"}))
        self._check_scope(did.scope)
        raise NotFound(
            f"{self.instance.name} has no DID {did}.",
            f"Look for it with %rucio_search '{did.scope}:*'.",
            rucio="DataIdentifierNotFound",
        )

    def contents(self, did: DID) -> Iterator[DidInfo]:
        """List what a container or dataset holds, one level down."""
        with speaking_to(self.instance):
            for row in self._client().rows(["dids", *did, "dids"]):
                yield _did_info(_row(row))

    def files(self, did: DID) -> Iterator[DidInfo]:
        """List all files below a DID."""
        with speaking_to(self.instance):
            for row in self._client().rows(["dids", *did, "files"]):
                yield _did_info({**_row(row), "type": "FILE"})

    def files_of(self, collections: Iterable[DID]) -> Generator[tuple[DID, DidInfo], None, None]:
        """List all files of several containers and datasets in few requests, each with the collection it is in."""
        with speaking_to(self.instance):
            for some in chunks(collections, MOST_DIDS):
                for row in self._client().bulk_list_files([did._asdict() for did in some]):
                    parent = DID(_row(row)["parent_scope"], row["parent_name"])
                    yield parent, _did_info({**row, "type": "FILE"})

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
                for row in rows:
                    yield _file_replicas(_row(row))

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
            for row in self._client().rows(["replicas", *dataset, "datasets"], {"deep": True}):
                its = Holding(_row(row)["rse"], *(int(row[key] or 0) for key in _HOLDING))
                found.setdefault(its.rse, Holding(its.rse)).add(its)
        return found

    def scopes(self) -> list[str]:
        """List all scopes, in alphabetical order."""
        with speaking_to(self.instance):
            return sorted(str(scope) for scope in self._client().list_scopes())

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
            return {row["rse"]: bool(row.get("availability_read", True)) for row in rows}

    def rse(self, name: str) -> dict[str, Any]:
        """Give the settings of an RSE, with its protocols.

        Raises
        ------
        NotFound
            If there is no such RSE.
        """
        with speaking_to(self.instance):
            return _row(self._client().get_rse(name))

    def _client(self) -> RucioClient:
        return client_for(self.instance, may_sign_in=self._sign_in, timeout=self._timeout)

    def _one(self, path: list[str], parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask REST for a single thing."""
        for row in self._client().rows(path, parameters):
            return _row(row)
        raise LakeBroken(f"Rucio ({self.instance.name}) sent an empty answer.", "Check the address of the instance.")

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


def _row(row: Any) -> dict[str, Any]:
    """Check that a line of an answer is what it should be: a server that is no Rucio can send anything."""
    if not isinstance(row, dict):
        raise LakeBroken("Rucio sent a line that is no row of a list.", "Check the address of the instance.")
    return row


def _did_info(row: dict[str, Any]) -> DidInfo:
    kind = str(row.get("did_type") or row.get("type") or "").lower()
    size = row.get("bytes")
    return DidInfo(
        did=DID(row["scope"], row["name"]),
        type=kind,
        bytes=int(size) if size is not None else None,
        length=row.get("length"),
        open=row.get("open"),
        adler32=row.get("adler32"),
        md5=row.get("md5"),
    )


def _file_replicas(row: dict[str, Any]) -> FileReplicas:
    pfns = (
        Pfn(url, about["rse"], about["type"], about["domain"], about["priority"])
        for url, about in _row(row["pfns"]).items()
    )
    return FileReplicas(
        did=DID(row["scope"], row["name"]),
        bytes=int(row["bytes"] if row["bytes"] is not None else 0),
        adler32=row.get("adler32"),
        pfns=tuple(sorted(pfns, key=lambda pfn: pfn.priority)),
        states=_row(row.get("states") or dict.fromkeys(row.get("rses") or {}, "AVAILABLE")),
        md5=row.get("md5"),
    )
