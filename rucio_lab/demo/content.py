"""The content of a lake as plain values: accounts, RSEs, files, datasets, containers and rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from rucio_lab.demo import survey
from rucio_lab.demo.samples import SAMPLES, Sample, file_names

SCOPE = "opendata13TeV"
"""Scope of the demo data."""

RSE = "DEMO-DISK"
"""The main storage."""

MIRROR = "DEMO-MIRROR"
"""A second storage, with a copy of `MIRRORED`."""

MIRRORED = "data_D"
"""The sample with replicas on both storages."""

SITE = "DEMO"
"""Site of the main storage and of the users; the mirror belongs to another site."""

STUDENT = "student"
"""The account of the demo's user; also the user name and the password."""

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
        The password, for USERPASS only.
    """

    kind: str
    name: str
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Account:
    """An account and the scopes it owns."""

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
        As in Rucio.
    read, write, delete
        Priority among the RSE's protocols for this operation: 1 is the best, 0 means never.
    domains
        Where clients may use it from: ``lan``, ``wan``.
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
    """One RSE.

    Attributes
    ----------
    name
        Name of the RSE.
    protocols
        Its protocols.
    attributes
        RSE attributes, such as ``site``.
    settings
        Parameters of Rucio's ``add_rse``: ``deterministic``, ``rse_type``, ...
    folder
        Local folder that the paths of its PFNs are relative to; files with a source are copied there. Empty for a
        remote RSE.
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
        Name in the scope of its dataset.
    rses
        The RSEs that have a replica.
    source
        Local file to copy to each RSE that has a folder; gives the size and checksums.
    bytes, adler32
        Size and checksum of a file without a source.
    pfns
        RSE -> PFN, for RSEs that are not deterministic.
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
    """A dataset with its files; closed unless `is_open`."""

    scope: str
    name: str
    files: tuple[File, ...]
    metadata: Mapping[str, str | int] = field(default_factory=dict)
    is_open: bool = False


@dataclass(frozen=True)
class Container:
    """A container. Its contents are names in the same scope that are registered before it."""

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
    """Everything to register, in this order."""

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
        Folder with the files of :mod:`rucio_lab.demo.ntuples`.
    storages
        For `RSE` and `MIRROR`, the folder the storage serves and its port on 127.0.0.1.
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
    """Return the astronomy data of the demo lake.

    Parameters
    ----------
    folder
        Folder with the files of :mod:`rucio_lab.demo.survey`.
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
