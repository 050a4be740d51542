"""DIDs, replicas, requests and their results as plain values: frozen, picklable, without secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rucio_lab.core.did import DID
from rucio_lab.core.reasons import Reason

ReadAccess = Literal["auto", "stream", "mount", "lake"]
"""How files are read in place: from a URL (stream), from a path on a mounted RSE (mount), from a ``rucio://`` URL that
is resolved when it is opened (lake), or from whichever is best (auto)."""

Access = Literal[ReadAccess, "download"]
"""How files are made usable: read in place, or as verified copies on this machine (download)."""

ReplicaKind = Literal["direct", "mounted", "copy", "lake"]

DIDType = Literal["all", "collection", "container", "dataset", "file"]


@dataclass(frozen=True, slots=True)
class DidInfo:
    """What Rucio says about a DID.

    Attributes
    ----------
    did
        The identifier.
    type
        ``container``, ``dataset`` or ``file``.
    bytes
        Size in bytes, including everything it contains; None if Rucio did not say.
    length
        Number of files in it; None if Rucio did not say.
    open
        Whether a container or dataset can still grow; None for files.
    adler32, md5
        Checksums of a file, as hexadecimal text.
    instance
        Name of the instance that `search` or `ls` found it in; else empty.
    """

    did: DID
    type: str
    bytes: int | None = None
    length: int | None = None
    open: bool | None = None
    adler32: str | None = None
    md5: str | None = None
    instance: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Replica:
    """One way to read one copy of a file: a PFN of one RSE and one protocol.

    Attributes
    ----------
    rse
        Name of the RSE; empty for a copy on this machine, and for a ``rucio://`` address, unless an RSE was seen to
        work for it.
    url
        What a reader opens: the PFN as readers expect it, or a local path.
    pfn
        The PFN as Rucio gave it; empty if the RSE has no protocol that can be read.
    domain
        ``lan`` or ``wan``.
    priority
        Rucio's own ranking of the PFNs of a file; smaller is better.
    """

    rse: str
    url: str
    pfn: str = ""
    domain: str = "wan"
    priority: int = 0

    def __repr__(self) -> str:
        # The query of a URL can be a signature.
        return f"Replica(rse={self.rse!r}, url={self.url.partition('?')[0]!r}, domain={self.domain!r})"

    @property
    def scheme(self) -> str:
        """How it is read: ``root``, ``roots``, ``https``, ``http``, ``rucio``, or ``file`` for a local path."""
        scheme, separator, _ = self.url.partition("://")
        return scheme if separator else "file"

    @property
    def kind(self) -> ReplicaKind:
        """How it is reached: a URL of its storage, a mounted folder, a copy on this machine, or ``rucio://``."""
        match self.scheme:
            case "rucio":
                return "lake"
            case "file":
                return "mounted" if self.rse else "copy"
            case _:
                return "direct"

    @classmethod
    def of_copy(cls, path: Path) -> Replica:
        """Make a replica for a copy on this machine."""
        return cls("", str(path), domain="lan")

    @classmethod
    def in_lake(cls, url: str, rse: str = "") -> Replica:
        """Make a replica for a ``rucio://`` address, with an RSE if it was seen to work there."""
        return cls(rse, url)

    @property
    def endpoint(self) -> str:
        """Its server, as ``scheme://host:port``."""
        scheme, _, rest = self.url.partition("://")  # not urlsplit, which raises on odd addresses
        return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A replica that is not used, and why."""

    replica: Replica
    why: Reason

    @property
    def reason(self) -> str:
        """The reason as text."""
        server = f"{self.replica.endpoint} " if isinstance(self.why, Reason) and self.why.is_of_server else ""
        return f"{server}{self.why}"


@dataclass(frozen=True, slots=True)
class ResolvedFile:
    """A file, the replicas that can be read, and those that were left out.

    Attributes
    ----------
    did
        The file.
    datasets
        The requested datasets that contain it, in the order of the request; empty if the file itself was requested.
    bytes
        Size in bytes, as registered in Rucio.
    adler32
        Checksum, as registered in Rucio; None if there is none.
    replicas
        All replicas that can be read from here, best first. Never empty.
    left_out
        Replicas that cannot be read from here or did not answer, each with the reason.
    md5
        Another checksum, as registered in Rucio; None if there is none.
    """

    did: DID
    datasets: tuple[DID, ...]
    bytes: int
    adler32: str | None
    replicas: tuple[Replica, ...]
    left_out: tuple[LeftOut, ...] = ()
    md5: str | None = None

    @property
    def replica(self) -> Replica:
        """The replica to read."""
        return self.replicas[0]

    @property
    def url(self) -> str:
        """What a reader opens."""
        return self.replicas[0].url


@dataclass(frozen=True, slots=True)
class Request:
    """A request to `rucio_lab.core.resolve.resolution.resolve`, complete, so that it can be repeated.

    Attributes
    ----------
    dids
        DIDs as text; a name may contain the wildcard ``*``.
    instance
        Name of the instance.
    access
        How to read the files; empty for the instance's default.
    schemes
        The only schemes to use, best first; empty for the instance's schemes.
    rse
        An RSE expression that limits the replicas; empty for all.
    limit
        The largest number of files; None for all.
    allow_missing
        Whether files that cannot be read are left out and reported, instead of raising an error.
    folder
        Where to download to; empty for the configured folder.
    """

    dids: tuple[str, ...]
    instance: str
    access: Access | Literal[""] = ""
    schemes: tuple[str, ...] = ()
    rse: str = ""
    limit: int | None = None
    allow_missing: bool = False
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Resolution:
    """The answer to a `Request`.

    Attributes
    ----------
    request
        The request.
    files
        The files that can be read, each once, sorted by scope and name.
    missing
        Files that cannot be read, with the reason; always empty unless the request allows them.
    total
        Number of files before `Request.limit` cut it.
    open
        The requested datasets and containers that can still grow.
    shared
        Number of files that are in more than one of the datasets.
    notes
        Sentences that the user should read.
    """

    request: Request
    files: tuple[ResolvedFile, ...]
    missing: dict[DID, str] = field(default_factory=dict)
    total: int = 0
    open: tuple[DID, ...] = ()
    shared: int = 0
    notes: tuple[str, ...] = ()
