"""What a lake holds, as plain values: accounts, RSEs, files, datasets, containers and rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from rucio_lab.demo import survey
from rucio_lab.demo.samples import SAMPLES, Sample, file_names

SCOPE = "opendata13TeV"
"""Scope of the demo's data."""

RSE = "DEMO-DISK"
"""The demo's storage."""

MIRROR = "DEMO-MIRROR"
"""Another storage, with a copy of `MIRRORED`."""

MIRRORED = "data_D"
"""The sample that lies on both storages."""

SITE = "DEMO"
"""Site of the demo's storage, and of its users: the mirror is elsewhere."""

STUDENT = "student"
"""The account that the demo's users work with; also its user name and its password."""

WEBDAV = "rucio.rse.protocols.webdav.Default"
XROOTD = "rucio.rse.protocols.xrootd.Default"


@dataclass(frozen=True)
class Identity:
    """One way for an account to sign in.

    Attributes
    ----------
    kind
        ``USERPASS``, ``X509``, ``OIDC``, ...
    name
        User name, DN or ``SUB=..., ISS=...``.
    password
        Of USERPASS.
    """

    kind: str
    name: str
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Account:
    """An account, with the scopes that it owns."""

    name: str
    identities: tuple[Identity, ...] = ()
    scopes: tuple[str, ...] = ()
    type: str = "USER"


@dataclass(frozen=True)
class Protocol:
    """One protocol of an RSE.

    Attributes
    ----------
    scheme, hostname, port, prefix, impl
        As Rucio has them.
    read, write, delete
        Priority among the RSE's protocols for these operations, 1 is the best; 0 is never.
    domains
        From where: ``lan``, ``wan``.
    """

    scheme: str
    hostname: str
    port: int
    prefix: str
    impl: str
    read: int = 1
    write: int = 0
    delete: int = 0
    domains: tuple[str, ...] = ("lan", "wan")


@dataclass(frozen=True)
class Rse:
    """One storage.

    Attributes
    ----------
    name
        Of the RSE.
    protocols
        What it speaks.
    attributes
        As Rucio has them, such as ``site``.
    settings
        Parameters of Rucio's ``add_rse``: ``deterministic``, ``rse_type``, ...
    folder
        Local folder where the paths of its PFNs begin; files with a source are copied there. Empty if it is elsewhere.
    """

    name: str
    protocols: tuple[Protocol, ...]
    attributes: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, bool | str] = field(default_factory=dict)
    folder: str = ""


@dataclass(frozen=True)
class File:
    """One file.

    Attributes
    ----------
    name
        In the scope of its dataset.
    rses
        Where it lies.
    source
        Local path to copy it from to those RSEs that have a folder; size and checksums are then its own.
    bytes, adler32
        Size and checksum of a file without a source.
    pfns
        On RSEs which are not deterministic: RSE -> PFN.
    metadata
        Columns of the DID, such as ``events``.
    """

    name: str
    rses: tuple[str, ...]
    source: str = ""
    bytes: int = 0
    adler32: str = ""
    pfns: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """A dataset with its files; closed, unless it is to stay open."""

    scope: str
    name: str
    files: tuple[File, ...]
    metadata: Mapping[str, str | int] = field(default_factory=dict)
    is_open: bool = False


@dataclass(frozen=True)
class Container:
    """A container; its contents are names in the same scope, defined before it."""

    scope: str
    name: str
    contents: tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """One copy of a DID on an RSE expression, for an account."""

    scope: str
    name: str
    rse: str
    account: str = "root"
    lifetime: int | None = None


@dataclass(frozen=True)
class Catalogue:
    """All that is to be registered, in this order."""

    accounts: tuple[Account, ...] = ()
    rses: tuple[Rse, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    containers: tuple[Container, ...] = ()
    rules: tuple[Rule, ...] = ()

    def __add__(self, other: Catalogue) -> Catalogue:
        """Join two catalogues."""
        names = [f.name for f in dataclasses.fields(self)]
        return Catalogue(**{name: getattr(self, name) + getattr(other, name) for name in names})


def demo_catalogue(ntuple_folder: str, storages: Mapping[str, tuple[str, int]]) -> Catalogue:
    """Return the content of the demo lake.

    Parameters
    ----------
    ntuple_folder
        Where the files of :mod:`rucio_lab.demo.ntuples` are.
    storages
        For `RSE` and `MIRROR`, the folder that the storage serves, and its port on 127.0.0.1.
    """
    return Catalogue(
        accounts=(
            Account("root", scopes=(SCOPE,)),
            Account(STUDENT, (Identity("USERPASS", STUDENT, STUDENT),), (f"user.{STUDENT}",)),
        ),
        rses=(_rse(RSE, SITE, *storages[RSE]), _rse(MIRROR, "ELSEWHERE", *storages[MIRROR])),
        datasets=tuple(_dataset(sample, ntuple_folder) for sample in SAMPLES),
        containers=(
            Container(SCOPE, "GamGam.Data", tuple(f"{s.name}.GamGam" for s in SAMPLES if s.is_data)),
            Container(SCOPE, "GamGam.MC", tuple(f"{s.name}.GamGam" for s in SAMPLES if not s.is_data)),
            Container(SCOPE, "GamGam", ("GamGam.Data", "GamGam.MC")),
        ),
        rules=(
            Rule(SCOPE, "GamGam", RSE),
            Rule(SCOPE, f"{MIRRORED}.GamGam", MIRROR),
            Rule(SCOPE, "data_A.GamGam", RSE, STUDENT, lifetime=30 * 86400),
        ),
    )


def survey_catalogue(folder: str) -> Catalogue:
    """Return what astronomers find in the demo lake.

    Parameters
    ----------
    folder
        Where the files of :mod:`rucio_lab.demo.survey` are.
    """
    files = tuple(File(name, (RSE,), source=f"{folder}/{name}") for name in survey.FILES)
    return Catalogue(
        accounts=(Account("root", scopes=(survey.SCOPE,)),),
        datasets=(Dataset(survey.SCOPE, survey.DATASET, files),),
        rules=(Rule(survey.SCOPE, survey.DATASET, RSE),),
    )


def _rse(name: str, site: str, folder: str, port: int) -> Rse:
    http = Protocol("http", "127.0.0.1", port, "/lake/", WEBDAV)
    return Rse(name, (http,), {"site": site, "country": "CH"}, folder=folder)


def _dataset(sample: Sample, folder: str) -> Dataset:
    metadata: dict[str, str | int] = {
        "project": "data16_13TeV" if sample.is_data else "mc16_13TeV",
        "datatype": "NTUP_GAMGAM",
        "run_number": sample.number,
    }
    files = []
    for name in file_names(sample):
        path = f"{folder}/{name}"
        rses = (RSE, MIRROR) if sample.name == MIRRORED else (RSE,)
        files.append(File(name, rses, source=path, metadata={"events": _events(path)}))
    return Dataset(SCOPE, f"{sample.name}.GamGam", tuple(files), metadata)


def _events(path: str) -> int:
    import uproot

    with uproot.open(path) as file:
        return int(file["mini"].num_entries)
