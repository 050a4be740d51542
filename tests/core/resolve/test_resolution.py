"""The result of a request: the files that can be read, and why others cannot."""

from __future__ import annotations

import re
from pathlib import Path

import fsspec
import pytest

from rucio_lab.core.address import lake_url
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, FilesUnavailable
from rucio_lab.core.model import Access
from tests.lake.content import LOST, UNAVAILABLE
from tests.lake.lake import FullLake
from tests.support.resolving import SCOPE, Configure, attach, reasons, unavailable


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("on.tape", "CERN-TAPE: it is on tape"),
        ("blocked", "BLOCKED-DISK: it is blocked for reading"),
        ("dead", "DEAD-DISK: root://127.0.0.1:[0-9]+ refuses connections; DEAD-DISK: http://.* refuses connections"),
        ("posix", "NOTEBOOK-POSIX: no folder is configured"),
        ("no.range", "NORANGE-DISK: http://.* does not serve parts of files"),
        ("certificate", "CERT-DISK: https://.* asks for credentials"),
        ("no.replica", "Rucio has no replica of it"),
    ],
)
def test_why_a_file_cannot_be_read(name: str, words: str) -> None:
    error = unavailable(name)
    assert re.search(words, error.message)
    assert "1 file cannot be read from here" in error.message
    (reason,) = error.reasons.values()
    assert re.search(words, reason)
    assert list(error.reasons) == [f"{SCOPE}:{name}._0001.root"]


def test_why_a_lost_file_cannot_be_read() -> None:
    assert unavailable(LOST).reasons == {f"{SCOPE}:{LOST}": "Rucio has no replica of it"}


def test_replicas_in_other_states_are_not_read() -> None:
    error = unavailable("unavailable")
    assert error.reasons.keys() == {f"{SCOPE}:{name}" for name in UNAVAILABLE}
    assert all(reason.startswith("CERN-EOS: Rucio calls this replica ") for reason in error.reasons.values())
    assert "COPYING" in str(error)
    assert "AVAILABLE replica" not in str(error)


def test_replicas_that_are_left_out_are_explained() -> None:
    resolution = attach("tape.and.disk", "certificate.and.open")
    assert [file.replica.rse for file in resolution.files] == ["WEB-DISK", "CERN-EOS"]
    why = reasons(resolution)
    assert "on tape" in why["CERN-TAPE"]
    assert "credentials" in why["CERT-DISK"]


def test_some_files_are_missing() -> None:
    error = unavailable("partly")
    assert "1 of 2 files cannot be read from here: opendata13TeV:partly._0002.root." in error.message
    assert "on tape" in error.message
    assert "--allow-missing" in error.remedy
    resolution = attach("partly", allow_missing=True)
    assert [file.did.name for file in resolution.files] == ["partly._0001.root"]
    assert "on tape" in resolution.missing[DID(SCOPE, "partly._0002.root")]
    assert resolution.total == 2


def test_all_files_are_missing() -> None:
    """--allow-missing would not help."""
    assert "--allow-missing" not in str(unavailable("on.tape", allow_missing=True))


def test_many_files_are_missing() -> None:
    error = unavailable("GamGam", rse="CERN-TAPE")
    shown = error.message.partition(" and ")[0].count(SCOPE)
    assert shown == 3
    assert len(str(error)) < 600
    assert len(error.reasons) == attach("GamGam").total


def test_access_lake_gives_addresses_that_are_resolved_when_opened(lake: FullLake, configure: Configure) -> None:
    resolution = attach("GamGam", access="lake")
    direct = attach("GamGam")
    assert [file.did for file in resolution.files] == [file.did for file in direct.files]
    assert [(file.bytes, file.adler32) for file in resolution.files] == [
        (file.bytes, file.adler32) for file in direct.files
    ]
    assert [file.datasets for file in resolution.files] == [file.datasets for file in direct.files]
    assert all(file.url == lake_url("test", file.did) for file in resolution.files)
    (file,) = attach("dead._0001.root", access="lake").files
    assert file.replica.scheme == "rucio"
    with pytest.raises(BadRequest, match="no schemes and no RSE expression"):
        attach("GamGam", access="lake", schemes=("root",))
    configure(access="lake")
    assert attach("large").files[0].replica.scheme == "rucio"
    assert attach("large", schemes=("root",)).files[0].replica.scheme == "root"
    assert attach("large", access="stream").files[0].replica.scheme == "root"


def test_access_lake_looks_up_no_replicas_before_a_file_is_opened(
    lake: FullLake, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach("GamGam")
    rucio = lake.faulty["rucio"]
    configure(url=f"https://127.0.0.1:{rucio.port}", auth_url=lake.url)
    attach("large", access="lake")

    def cost(access: Access) -> int:
        rucio.forget()
        assert len(attach("GamGam", access=access).files) > 10
        return rucio.sent

    assert cost("lake") < cost("stream") / 2


@pytest.mark.parametrize("name", ["token", "certificate", "roots"])
def test_files_that_need_credentials_are_read_as_rucio(
    lake: FullLake, configure: Configure, tmp_path: Path, name: str
) -> None:
    token = tmp_path / "token"
    token.write_text(lake.issuer.token())
    storage = {"ca": str(lake.authority.ca), "proxy": str(lake.users["alice"].pem), "token_file": str(token)}
    configure(storage=storage)
    resolution = attach(name)
    (file,) = resolution.files
    assert file.url == lake_url("test", file.did)
    assert file.replica.rse == {"token": "TOKEN-DISK", "certificate": "CERT-DISK", "roots": "ROOTS-DISK"}[name]
    assert "asks for credentials that a plain URL cannot carry" in file.left_out[0].reason
    (note,) = resolution.notes
    assert note.startswith("The file is read as rucio://, because its storage asks for credentials")
    with fsspec.open(file.url) as stream:
        assert stream.read(4) == b"root"
    with pytest.raises(FilesUnavailable, match="credentials"):
        attach(name, schemes=("https", "roots"), access="stream" if name != "roots" else "auto")


def test_a_note_says_how_many_files_are_read_as_rucio(lake: FullLake, configure: Configure, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(lake.issuer.token())
    storage = {"ca": str(lake.authority.ca), "proxy": str(lake.users["alice"].pem), "token_file": str(token)}
    configure(storage=storage)
    for names, words in (
        (("token", "certificate"), "The files are read as rucio://, because their storages ask for credentials"),
        (("token", "web"), "1 of 2 files is read as rucio://, because its storage asks for credentials"),
        (("token", "certificate", "web"), "2 of 3 files are read as rucio://, because their storages ask"),
    ):
        (note,) = attach(*names).notes
        assert note.startswith(words)


def test_a_refusal_says_which_credentials_are_missing(lake: FullLake, configure: Configure, tmp_path: Path) -> None:
    configure(storage={"ca": str(lake.authority.ca)})
    said = str(unavailable("token"))
    assert re.search(r"TOKEN-DISK: https://\S+ asks for credentials \(HTTP 403\); no storage token is configured", said)
    wrong = tmp_path / "wrong-token"
    wrong.write_text(lake.issuer.token(forged=True, audience="https://other.example"))
    configure(storage={"ca": str(lake.authority.ca), "token_file": str(wrong)})
    assert "refuses the storage token for https://other.example" in str(unavailable("token"))
