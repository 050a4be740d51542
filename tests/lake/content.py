"""The content of the test lake: GamGam and the stars, a DID for everything that can go wrong, and hostile names."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rucio_lab.demo import survey
from rucio_lab.demo.content import (
    SCOPE,
    XROOTD,
    Account,
    Catalogue,
    Container,
    Dataset,
    File,
    Identity,
    Protocol,
    Rse,
    Rule,
)
from rucio_lab.demo.samples import Sample, file_names
from tests.lake import files
from tests.lake.pki import User

ROOT_PASSWORD = "root-pass"
PASSWORDS = {"alice": "alice-pass", "bob": "bob-pass"}

HOSTILE = "hostile"
"""Scope of the hostile names. Each is a dataset with one file of the same name plus ``.root``."""

HOSTILE_NAMES = (
    'it\'s"quoted"',
    "colon:inside",
    "Ünïcödé-粒子",
    "<img/src=x/onerror=alert(1)>",
    "<script>alert(1)</script>",
    "{braces}{0.__class__}",
    "$HOME`id`$(id)",
    "%matplotlib",
    "!id",
    "hash#fragment",
    "per%20cent",
    "question?mark=1&x=2",
    "back\\slash",
    "');import(os)#",
    "-rf",
)
"""Names with files on CERN-EOS (root, https, http)."""

UNASKABLE_NAMES = ("two words", "<img src=x onerror=alert(1)>", "line\nbreak")
"""Names that can be listed but not looked up, because Rucio's client encodes a space in the path of a URL as ``+``."""

UNSEEN = "unseen"
"""A dataset of names that are not what they look like, in the scope of the hostile names; registered on request."""

UNSEEN_NAMES = (
    "evil\u2028!x\u2028!touch pwned #",
    "cut\x85!x\x85!touch pwned #.root",
    "mirror\u202etoor.ataD",
    "clip\x1b]52;c;cm0gLXJmIC8=\x07.root",
)
"""Its files: the first is on tape, the others are registered on CERN-EOS but do not exist."""

ESCAPING_NAMES = ("../../../../../../../../tmp/escape", "..", "/etc/passwd")
"""Names that point outside the folder when used as paths; their files do not exist."""

_ALL_HOSTILE = (*HOSTILE_NAMES, *UNASKABLE_NAMES, *ESCAPING_NAMES)

UNAVAILABLE = {"unavailable._0001.root": "C", "unavailable._0002.root": "D", "unavailable._0003.root": "U"}
"""The files of ``unavailable``: name -> state of the only replica (COPYING, BAD and UNAVAILABLE)."""

LOST = "no.replica._0001.root"
"""A lost file: Rucio knows it, but it has no replica."""

CMS_FILE = "/store/data/Run2012B/DoublePhoton/AOD/22Jan2013-v1/10000/0A1B2C.root"
CMS_DATASET = "/DoublePhoton/Run2012B-22Jan2013-v1/AOD"

BULK = "bulk.10000"
"""A dataset of 10,000 files that are only registered; created on request."""

QUOTA = {"alice": 10**12, "bob": 0}
"""Quota of each account on every RSE, in bytes."""

# nginx answers a MOVE with 204, which Rucio's client treats as a failure
_WEBDAV = "rucio.rse.protocols.webdav.NoRename"
_POSIX = "rucio.rse.protocols.posix.Default"
_GFAL = "rucio.rse.protocols.gfal.Default"


@dataclass(frozen=True)
class Places:
    """Folders and ports.

    Attributes
    ----------
    store
        The folder all storages serve.
    sources
        The folder of :mod:`tests.lake.files`.
    ports
        Kind of server, such as ``https-cert`` or ``dead-root`` -> its port on 127.0.0.1.
    """

    store: str
    sources: str
    ports: Mapping[str, int]


def catalogue(places: Places, users: Mapping[str, User]) -> Catalogue:
    """Return everything to register.

    Parameters
    ----------
    places
        Folders and ports.
    users
        The users with certificates: root, alice and bob.
    """
    content = _Content(places)
    return Catalogue(
        accounts=_accounts(users),
        rses=content.rses(),
        datasets=(*content.gamgam(), content.survey(), *content.faults()),
        containers=(
            Container(SCOPE, "GamGam.Data", tuple(_dataset_name(s) for s in files.SAMPLES if s.is_data)),
            Container(SCOPE, "GamGam.MC", tuple(_dataset_name(s) for s in files.SAMPLES if not s.is_data)),
            Container(SCOPE, "GamGam", ("GamGam.Data", "GamGam.MC")),
        ),
        rules=(
            Rule(SCOPE, "GamGam", "CERN-EOS"),
            Rule(SCOPE, "on.tape", "CERN-TAPE"),
            Rule(SCOPE, "data_A.GamGam", "TRIUMF-DISK", "alice", lifetime=30 * 86400),
            Rule(SCOPE, "data_B.GamGam", "TRIUMF-DISK", "alice"),  # has no data there, so it stays REPLICATING
        ),
    )


def hostile_files(content: bytes) -> list[dict[str, Any]]:
    """Return the files in the scope ``hostile`` as replicas for Rucio's REST interface, all with the same content."""
    known = {"scope": HOSTILE, "bytes": len(content), "adler32": f"{zlib.adler32(content):08x}"}
    return [{"name": f"{name}.root", **known} for name in _ALL_HOSTILE]


def hostile_datasets() -> list[dict[str, Any]]:
    """Return the datasets in the scope ``hostile`` as a request body for Rucio, so that no URL has their names."""
    each = {name: [f"{name}.root"] for name in _ALL_HOSTILE}
    return [
        {"scope": HOSTILE, "name": name, "type": "DATASET", "dids": [{"scope": HOSTILE, "name": file} for file in its]}
        for name, its in {"all": [f"{name}.root" for name in _ALL_HOSTILE], **each}.items()
    ]


def path_of(scope: str, name: str) -> str:
    """Return the path of a file below the prefix of an RSE of this lake, by Rucio's algorithm ``hash``."""
    digest = hashlib.md5(f"{scope}:{name}".encode()).hexdigest()
    folder = scope.replace(".", "/") if scope.startswith(("user", "group")) else scope
    return f"{folder}/{digest[:2]}/{digest[2:4]}/{name}"


def _accounts(users: Mapping[str, User]) -> tuple[Account, ...]:
    people = [
        Account(name, (Identity("USERPASS", name, password), Identity("X509", users[name].dn)), (f"user.{name}",))
        for name, password in PASSWORDS.items()
    ]
    return (Account("root", (Identity("X509", users["root"].dn),), (SCOPE, HOSTILE, survey.SCOPE)), *people)


def _dataset_name(sample: Sample) -> str:
    return f"{sample.name}.GamGam"


class _Content:
    """Builds the parts of the catalogue."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._small = f"{places.sources}/{file_names(files.SMALL)[0]}"

    # ------------------------------------------------------------------------------------ RSEs

    def rses(self) -> tuple[Rse, ...]:
        store = self._places.store
        posix, user = (
            Protocol("file", "localhost", 0, f"{store}/{folder}/", _POSIX, write=1, delete=1)
            for folder in ("posix", "posix-user")
        )
        # the server exists but the files do not: enough to resolve them
        registered = Protocol("root", "127.0.0.1", self._places.ports["root"], "//bulk/", XROOTD)
        return (
            self._rse("CERN-EOS", "eos", "root", "https", "davs", "http", site="CERN", country="CH"),
            self._rse("TRIUMF-DISK", "triumf", "root", "http", site="TRIUMF", country="CA"),
            self._rse("WEB-DISK", "web", "http", site="WEB"),
            self._rse("NORANGE-DISK", "norange", "http-norange", site="NORANGE"),
            self._rse("OPEN-DISK", "open", "https", site="OPEN"),
            self._rse("CERT-DISK", "cert", "https-cert", site="CERT"),
            self._rse("TOKEN-DISK", "token", "https-token", site="TOKEN"),
            self._rse("DOOR-DISK", "door", "https-door", site="DOOR"),
            self._rse("ROOTS-DISK", "roots", "roots", site="ROOTS"),
            self._rse("GSI-DISK", "gsi", "root-gsi", "https-gsi", site="GSI"),
            self._rse("CERN-TAPE", "tape", "root", settings={"rse_type": "TAPE"}, site="CERN", country="CH"),
            self._rse("BLOCKED-DISK", "blocked", "root", settings={"availability_read": False}, site="BLOCKED"),
            self._rse("DEAD-DISK", "dead", "dead-root", "dead-http", site="DEAD"),
            self._rse("SILENT-DISK", "silent", "silent-root", "silent-http", site="SILENT"),
            self._rse("FAULTY-ROOT", "faulty", "faulty-root", site="FAULTY"),
            self._rse("FAULTY-HTTP", "faulty", "faulty-http", site="FAULTY"),
            self._rse("FAULTY-HTTPS", "faulty", "faulty-https", site="FAULTY"),
            Rse("NOTEBOOK-POSIX", (posix,), {"site": "NOTEBOOK", "country": "CH"}, folder="/"),
            # Rucio's generic policy lets ordinary users write to RSEs whose names end like this
            self._rse("CERN-USERDISK", "userdisk", "root", "https", "http", site="CERN", country="CH"),
            Rse("NOTEBOOK-USERDISK", (user,), {"site": "NOTEBOOK", "country": "CH"}, folder="/"),
            Rse("BULK-MOCK", (registered,), {"site": "BULK"}),
        )

    def _rse(
        self, name: str, folder: str, *speaks: str, settings: Mapping[str, bool | str] | None = None, **attributes: str
    ) -> Rse:
        protocols = tuple(self._protocol(what, folder, number) for number, what in enumerate(speaks, start=1))
        return Rse(name, protocols, attributes, settings or {}, folder=self._places.store)

    def _protocol(self, what: str, folder: str, priority: int) -> Protocol:
        scheme = next(scheme for scheme in ("roots", "root", "davs", "https", "http") if scheme in what.split("-"))
        prefix = f"//{folder}/" if scheme in ("root", "roots") else f"/{folder}/"
        impl = {"root": XROOTD, "roots": XROOTD, "davs": _GFAL}.get(scheme, _WEBDAV)
        writes = priority if scheme in ("root", "https") else 0
        port = self._places.ports[what]
        host = "localhost" if "gsi" in what else "127.0.0.1"  # gsi checks it against the server certificate
        return Protocol(scheme, host, port, prefix, impl, read=priority, write=writes, delete=writes)

    # ------------------------------------------------------------------------------------ datasets

    def gamgam(self) -> tuple[Dataset, ...]:
        second = {
            "data_A": "TRIUMF-DISK",
            "mc_343981.ggH125_gamgam": "TRIUMF-DISK",
            "mc_341081.ttH125_gamgam": "NOTEBOOK-POSIX",
        }
        return tuple(self._sample(sample, second.get(sample.name, "")) for sample in files.SAMPLES)

    def _sample(self, sample: Sample, second: str) -> Dataset:
        rses = ("CERN-EOS", second) if second else ("CERN-EOS",)
        metadata: dict[str, str | int] = {"datatype": "NTUP_GAMGAM", "run_number": sample.number}
        metadata["project"] = "data16_13TeV" if sample.is_data else "mc16_13TeV"
        its = tuple(File(name, rses, f"{self._places.sources}/{name}") for name in file_names(sample))
        return Dataset(SCOPE, _dataset_name(sample), its, metadata, is_open=sample.name == "data_D")

    def survey(self) -> Dataset:
        rses = ("CERN-EOS", "NOTEBOOK-POSIX")
        its = tuple(File(name, rses, f"{self._places.sources}/{name}") for name in survey.FILES)
        return Dataset(survey.SCOPE, survey.DATASET, its)

    def faults(self) -> tuple[Dataset, ...]:
        first_of_a = file_names(files.SAMPLES[0])[0]
        shared = File(first_of_a, ("CERN-EOS",), f"{self._places.sources}/{first_of_a}")
        large = file_names(files.LARGE)[0]
        return (
            *(self._one(name, *rses) for name, rses in _ONE_FILE.items()),
            Dataset(SCOPE, "large", (File(large, ("CERN-EOS",), f"{self._places.sources}/{large}"),)),
            Dataset(
                SCOPE,
                "large.norange",
                (File("large.norange._0001.root", ("NORANGE-DISK",), f"{self._places.sources}/{large}"),),
            ),
            Dataset(
                SCOPE,
                "large.faulty",
                (
                    File(
                        "large.faulty._0001.root",
                        ("FAULTY-ROOT", "FAULTY-HTTPS", "WEB-DISK"),
                        f"{self._places.sources}/{large}",
                    ),
                ),
            ),
            Dataset(SCOPE, "empty", (), is_open=True),
            Dataset(SCOPE, "open", (self._file("open._0001.root", "CERN-EOS"),), is_open=True),
            Dataset(SCOPE, "unavailable", tuple(self._file(name, "CERN-EOS") for name in UNAVAILABLE)),
            Dataset(SCOPE, "no.replica", (self._file(LOST, "DEAD-DISK"),)),
            Dataset(SCOPE, "shared", (shared, self._file("shared._0001.root", "CERN-EOS"))),
            Dataset(
                SCOPE,
                "partly",
                (self._file("partly._0001.root", "CERN-EOS"), self._file("partly._0002.root", "CERN-TAPE")),
            ),
            Dataset(SCOPE, CMS_DATASET, (self._file(CMS_FILE, "CERN-EOS"),)),
        )

    def _one(self, name: str, *rses: str) -> Dataset:
        return Dataset(SCOPE, name, (self._file(f"{name}._0001.root", *rses),))

    def _file(self, name: str, *rses: str) -> File:
        return File(name, rses, self._small)


_ONE_FILE = {
    "web": ("WEB-DISK",),
    "no.range": ("NORANGE-DISK",),
    "https": ("OPEN-DISK",),
    "certificate": ("CERT-DISK",),
    "token": ("TOKEN-DISK",),
    "door": ("DOOR-DISK",),
    "roots": ("ROOTS-DISK",),
    "gsi": ("GSI-DISK",),
    "certificate.and.open": ("CERT-DISK", "WEB-DISK"),
    "posix": ("NOTEBOOK-POSIX",),
    "on.tape": ("CERN-TAPE",),
    "tape.and.disk": ("CERN-TAPE", "CERN-EOS"),
    "blocked": ("BLOCKED-DISK",),
    "dead": ("DEAD-DISK",),
    "dead.and.alive": ("DEAD-DISK", "WEB-DISK"),
    "silent": ("SILENT-DISK",),
    "silent.and.alive": ("SILENT-DISK", "WEB-DISK"),
    "faulty.root": ("FAULTY-ROOT",),
    "faulty.http": ("FAULTY-HTTP",),
    "faulty.https": ("FAULTY-HTTPS",),
    "faulty.and.alive": ("FAULTY-ROOT", "WEB-DISK"),
    "closed": ("CERN-EOS",),
}
"""Datasets of one file: name -> RSEs of the file."""
