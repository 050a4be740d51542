"""Files whose names tools like to misread are read and downloaded, or the error names what is wrong."""

from __future__ import annotations

import warnings
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest

from rucio_lab import attach, download
from rucio_lab.core.errors import FilesUnavailable
from tests.lake import content
from tests.lake.lake import FullLake

NAMES = (
    "double//slash.root",
    "question?mark.root",
    "more  blanks.root",
    "blank at the end.root ",
    " blank.root",
    "a::b.root",
)
DATASET = "odd"


@pytest.fixture(scope="module")
def registered(full_lake: FullLake) -> str:
    """A dataset of these files."""
    replicas = []
    for name in NAMES:
        path = full_lake.path("CERN-EOS", content.HOSTILE, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        known = {"bytes": len(name), "adler32": f"{zlib.adler32(name.encode()):08x}"}
        replicas.append({"scope": content.HOSTILE, "name": name, **known})
    full_lake.rest("POST", "/replicas", json={"rse": "CERN-EOS", "files": replicas})
    files = [{"scope": content.HOSTILE, "name": name} for name in NAMES]
    full_lake.rest(
        "POST", "/dids", json=[{"scope": content.HOSTILE, "name": DATASET, "type": "DATASET", "dids": files}]
    )
    return f"{content.HOSTILE}:{DATASET}"


@pytest.fixture
def odd(lake: FullLake, registered: str) -> str:
    """The dataset, on a lake that is configured."""
    return registered


@pytest.mark.parametrize("how", [{"scheme": "https"}, {"scheme": "http"}, {"access": "lake"}, {}])
def test_odd_names_are_read(odd: str, how: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a::b.root is read as rucio://
        files = attach(odd, **how)
    assert sorted(each.did.name for each in files) == sorted(NAMES)
    for each in files:
        with fsspec.open(each, expand=False) as file:
            assert file.read() == each.did.name.encode()


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_odd_names_are_downloaded(odd: str, tmp_path: Path, scheme: str) -> None:
    for path in download(odd, scheme=scheme, to=tmp_path):
        assert Path(path).read_bytes() == path.did.name.encode()


def test_a_question_mark_in_the_address_of_an_xrootd_server(odd: str, tmp_path: Path) -> None:
    for call in (attach, partial(download, to=tmp_path)):
        with pytest.raises(
            FilesUnavailable, match=r"XRootD takes what follows the \? in its name for options"
        ) as caught:
            call(odd, scheme="root")
        assert set(caught.value.reasons) == {f"{content.HOSTILE}:question?mark.root"}
