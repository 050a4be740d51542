"""What Rucio replies, checked and made into values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from rucio_lab.core.did import DID
from rucio_lab.core.model import DidInfo

T = TypeVar("T")


class Pfn(NamedTuple):
    """One address of a replica, as Rucio gives it."""

    url: str
    rse: str
    rse_type: str
    domain: str
    priority: int


class FileReplicas(NamedTuple):
    """A file with all its replicas, in any state.

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
    """What one RSE holds of a DID.

    Attributes
    ----------
    rse
        Name of the RSE.
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
        """Add what the same RSE holds of another DID."""
        self.files += more.files
        self.available += more.available
        self.bytes += more.bytes


# The parts of Rucio's replies that are used here. Converting a reply to one of these checks it.

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _DidRow(msgspec.Struct):
    scope: _Text
    name: _Text
    did_type: str | None = None
    type: str | None = None
    bytes: _Count | None = None
    length: _Count | None = None
    open: bool | None = None
    adler32: str | None = None
    md5: str | None = None


class _FileRow(_DidRow, kw_only=True):
    parent_scope: str
    parent_name: str


class _PfnRow(msgspec.Struct):
    rse: _Text
    type: str | None = None
    domain: str | None = None
    priority: int | None = None


class _ReplicasRow(msgspec.Struct):
    scope: _Text
    name: _Text
    bytes: _Count | None
    pfns: dict[str, _PfnRow]
    adler32: str | None = None
    md5: str | None = None
    states: dict[str, str] | None = None
    rses: dict[str, Any] | None = None


class _HoldingRow(msgspec.Struct):
    rse: _Text
    length: _Count | None = None
    available_length: _Count | None = None
    available_bytes: _Count | None = None


class _RseRow(msgspec.Struct):
    rse: _Text
    availability_read: bool | None = True


class Protocol(msgspec.Struct, frozen=True):
    """A protocol of an RSE, from its settings."""

    impl: str
    scheme: str
    hostname: str
    port: _Count | None = None
    prefix: str | None = None
    extended_attributes: Any = None


class Rse(msgspec.Struct, frozen=True):
    """The settings of an RSE that determine its PFNs."""

    protocols: list[Protocol]
    deterministic: bool | None = None
    lfn2pfn_algorithm: str | None = None


def checked(reply: Any, kind: type[T]) -> T:
    """Convert a part of a reply. A part of another form raises a ValueError, which becomes a `LakeBroken`."""
    return msgspec.convert(reply, kind, strict=False)


def did_info(row: Any) -> DidInfo:
    """Read the row of a DID."""
    known = checked(row, _DidRow)
    return _described(known, (known.did_type or known.type or "").lower())


def file_info(row: Any) -> DidInfo:
    """Read the row of a file, which does not say that it is one."""
    return _described(checked(row, _DidRow), "file")


def file_in_collection(row: Any) -> tuple[DID, DidInfo]:
    """Read the row of a file, with the container or dataset that it is in."""
    known = checked(row, _FileRow)
    return DID(known.parent_scope, known.parent_name), _described(known, "file")


def _described(row: _DidRow, kind: str) -> DidInfo:
    return DidInfo(DID(row.scope, row.name), kind, row.bytes, row.length, row.open, row.adler32, row.md5)


def file_replicas(row: Any) -> FileReplicas:
    """Read the row of a file with its replicas."""
    known = checked(row, _ReplicasRow)
    pfns = [
        Pfn(url, its.rse, its.type or "", its.domain or "wan", its.priority or 0) for url, its in known.pfns.items()
    ]
    pfns.sort(key=lambda pfn: pfn.priority)
    states = known.states or dict.fromkeys(known.rses or {}, "AVAILABLE")
    did = DID(known.scope, known.name)
    return FileReplicas(did, known.bytes or 0, known.adler32, tuple(pfns), states, known.md5)


def holding(row: Any) -> Holding:
    """Read the row of a dataset at an RSE."""
    known = checked(row, _HoldingRow)
    return Holding(known.rse, known.length or 0, known.available_length or 0, known.available_bytes or 0)


def readable_rses(rows: Any) -> dict[str, bool]:
    """Read the rows of RSEs: name -> whether it can be read from."""
    return {row.rse: bool(row.availability_read) for row in checked(rows, list[_RseRow])}
