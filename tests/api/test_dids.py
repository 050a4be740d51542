"""Whatever names a DID is taken wherever a DID is: text, rucio://, and what search and ls return."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rucio_lab
from rucio_lab import DID, BadRequest, attach, download, ls, search
from tests.lake.lake import FullLake

Run = Callable[[str], Any]
DATA = "opendata13TeV:data_*"


@pytest.fixture(autouse=True)
def _with_lake(lake: FullLake) -> None:
    """Every test here is on the lake; ``lake`` comes before ``home``, which takes the sign-in elsewhere."""


def test_attaches_what_a_search_found() -> None:
    found = search(DATA, type="dataset")
    files = attach(DATA)
    assert len(found) == 4
    assert attach(*found) == files
    assert attach(found) == files
    assert attach(info.did for info in found) == files
    assert attach(found[:2], str(found[2].did), found[3].did) == files


def test_asks_the_instance_that_a_did_was_found_in(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = {"url": "https://127.0.0.1:9", "auth_url": "https://127.0.0.1:9"}
    config = lake.config("nearest", nearest=dead, other={}, third={})
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(config))
    found = search("opendata13TeV:data_A*", type="dataset", instance="other")
    (dataset,) = found
    assert {info.instance for info in (*found, *ls(dataset))} == {"other"}
    files = attach(*found)
    assert attach(found, instance="other") == attach(str(dataset.did), found) == files
    assert files.fileset("mini")[str(dataset.did)]["metadata"]["instance"] == "other"
    assert search(dataset, type="dataset") == found
    for ask in (attach, download, ls):
        with pytest.raises(BadRequest, match=r"was found in other, but the instance third was asked for"):
            ask(dataset, instance="third")
    also = search("opendata13TeV:data_B*", instance="third")
    with pytest.raises(BadRequest, match=r"from several instances: .*data_A.* \(other\), .*data_B.* \(third\)"):
        attach(found, also)


def test_downloads_what_ls_lists(tmp_path: Path) -> None:
    listed = ls("opendata13TeV:closed")
    files = download(*listed, to=tmp_path)
    assert [entry.did for entry in files] == [info.did for info in listed]
    assert all(Path(entry).stat().st_size == entry.bytes for entry in files)


def test_lists_and_searches_by_what_was_found() -> None:
    (found,) = search("opendata13TeV:GamGam", type="container")
    assert [info.did.name for info in ls(found)] == ["GamGam.Data", "GamGam.MC"]
    assert ls(found.did) == ls(found)
    assert search(found, type="container") == [found]
    assert search(DID("opendata13TeV", "GamGam"), type="container") == [found]


def test_options_that_are_iterables_are_read_once() -> None:
    name = "opendata13TeV:data_A.GamGam"
    assert attach(name, scheme=(each for each in ("http", "root"))) == attach(name, scheme="http,root")
    conditions = (each for each in ("length>=1", "length<=100000"))
    assert search(DATA, type="dataset", filters=conditions) == search(DATA, type="dataset", filters="length>=1")


@pytest.mark.parametrize("given", [1, None, b"s:a", [["s:a"]], ("scope", "name"), [1]])
def test_anything_else_is_no_did(given: Any) -> None:
    with pytest.raises(BadRequest, match="is not a DID"):
        attach(given)


@pytest.mark.parametrize("nothing", [(), ([],), (iter(()),)])
def test_nothing_found_is_no_did(nothing: tuple[Any, ...]) -> None:
    with pytest.raises(BadRequest, match="No DID was given"):
        attach(*nothing)


# ------------------------------------------------------------------------------------------------ rucio://


def test_the_short_form_of_other_tools_names_a_did(run: Run, shell: Any, tmp_path: Path) -> None:
    name = "opendata13TeV:data_A.GamGam"
    files = attach(name)
    assert attach(f"rucio://{name}") == files
    assert attach("rucio://opendata13TeV:data_A*") == attach("opendata13TeV:data_A*")
    assert ls(f"rucio://{name}") == ls(name)
    assert search(f"rucio://{DATA}") == search(DATA)
    assert len(download("rucio://opendata13TeV:closed", to=tmp_path)) == len(attach("opendata13TeV:closed"))
    assert run(f"%rucio_attach rucio://{name}").error is None
    assert shell.user_ns["data_A_GamGam"] == files


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("rucio://s/n", r"write s:n, to open it rucio://INSTANCE/s/n\."),
        ("rucio://test/s/n%2Fm", r"Write s:n/m, and name the instance \(test\)"),
        ("rucio://s", "Write it as scope:name"),
        ("rucio://localhost:8443/s/n", r"Write s:n, and name the instance \(localhost:8443\)"),
        ("https://s:n/x", "Open it as it is"),
    ],
)
def test_the_answer_to_another_address_says_what_to_write(address: str, remedy: str) -> None:
    for take in (attach, ls, download):
        with pytest.raises(rucio_lab.BadRequest, match=remedy):
            take(address)
