"""What Rucio replies, checked and made into values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from rucio_lab.core.did import DID
from rucio_lab.core.model import DidInfo

T = TypeVar("T")


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


# What Rucio's answers hold, as far as it matters here. They are checked when they become one of these.

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
    """One way to the files of an RSE, as its settings say."""

    impl: str
    scheme: str
    hostname: str
    port: _Count | None = None
    prefix: str | None = None
    extended_attributes: Any = None


class Rse(msgspec.Struct, frozen=True):
    """The settings of an RSE that its PFNs follow from."""

    protocols: list[Protocol]
    deterministic: bool | None = None
    lfn2pfn_algorithm: str | None = None


def _checked(row: Any, kind: type[T]) -> T:
    """Make one of them of a part of an answer; a ValueError, and so a `LakeBroken`, if it is something else."""
    return msgspec.convert(row, kind, strict=False)


def _did_info(row: Any) -> DidInfo:
    known = _checked(row, _DidRow)
    return _described(known, (known.did_type or known.type or "").lower())


def _described(row: _DidRow, kind: str) -> DidInfo:
    return DidInfo(DID(row.scope, row.name), kind, row.bytes, row.length, row.open, row.adler32, row.md5)


def _file_replicas(each: Any) -> FileReplicas:
    row = _checked(each, _ReplicasRow)
    pfns = [Pfn(url, its.rse, its.type or "", its.domain or "wan", its.priority or 0) for url, its in row.pfns.items()]
    pfns.sort(key=lambda pfn: pfn.priority)
    states = row.states or dict.fromkeys(row.rses or {}, "AVAILABLE")
    return FileReplicas(DID(row.scope, row.name), row.bytes or 0, row.adler32, tuple(pfns), states, row.md5)
