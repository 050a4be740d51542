"""Questions to a real Rucio: search, contents, files, info, scopes and replicas, and names of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, NotFound, RucioLabError
from rucio_lab.core.model import DidInfo
from rucio_lab.demo import survey
from tests.lake.content import CMS_DATASET, CMS_FILE, HOSTILE, HOSTILE_NAMES
from tests.lake.lake import FullLake
from tests.lake.packages import on_postgresql
from tests.support.checks import assert_clear, instance_of
from tests.support.middle import Answer, middle_of

SCOPE = "opendata13TeV"


@pytest.fixture
def asked(lake: FullLake) -> Lake:
    return Lake(load_instances().get())


def names(found: list[DidInfo]) -> list[str]:
    return sorted(info.did.name for info in found)


# ------------------------------------------------------------------------------------------------ search


@pytest.mark.parametrize(
    ("pattern", "kind", "expected"),
    [
        ("GamGam*", "collection", ["GamGam", "GamGam.Data", "GamGam.MC"]),
        ("GamGam*", "container", ["GamGam", "GamGam.Data", "GamGam.MC"]),
        ("GamGam*", "dataset", []),
        ("GamGam", "collection", ["GamGam"]),
        ("*data_A*", "dataset", ["data_A.GamGam"]),
        ("data_?.GamGam", "dataset", []),
        ("data_*.GamGam", "dataset", [f"data_{period}.GamGam" for period in "ABCD"]),
        ("dataXA*", "all", []),
        ("gamgam", "collection", []),
        ("partly._000*", "file", ["partly._0001.root", "partly._0002.root"]),
        ("partly*", "all", ["partly", "partly._0001.root", "partly._0002.root"]),
        ("no such name", "all", []),
    ],
)
def test_search_by_name(asked: Lake, pattern: str, kind: str, expected: list[str]) -> None:
    found = list(asked.search(DID(SCOPE, pattern), type=kind))  # type: ignore[arg-type]
    assert names(found) == expected
    assert all(info.did.scope == SCOPE for info in found)


def test_search_says_what_things_are(asked: Lake) -> None:
    kinds = {info.did.name: info.type for info in asked.search(DID(SCOPE, "*"), type="all")}
    assert (kinds["GamGam"], kinds["data_A.GamGam"], kinds["partly._0001.root"]) == ("container", "dataset", "file")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["project=data16_13TeV"], ["data_A.GamGam", "data_B.GamGam", "data_C.GamGam", "data_D.GamGam"]),
        (["project=data16_13TeV", "name=data_A*"], ["data_A.GamGam"]),
        (["run_number>=345318"], ["mc_345318.WpH125J_Wincl_gamgam.GamGam", "mc_345319.ZH125J_Zincl_gamgam.GamGam"]),
        (["run_number>345318", "project=mc16_13TeV"], ["mc_345319.ZH125J_Zincl_gamgam.GamGam"]),
        (["343980<run_number<=345041"], ["mc_343981.ggH125_gamgam.GamGam", "mc_345041.VBFH125_gamgam.GamGam"]),
        (
            ["run_number=341081;run_number=345041"],
            ["mc_341081.ttH125_gamgam.GamGam", "mc_345041.VBFH125_gamgam.GamGam"],
        ),
        (["project=nothing"], []),
    ],
)
def test_search_by_metadata(asked: Lake, filters: list[str], expected: list[str]) -> None:
    assert names(list(asked.search(DID(SCOPE, "*GamGam"), filters=filters, type="dataset"))) == expected


def test_search_by_inequality(asked: Lake) -> None:
    found = names(list(asked.search(DID(SCOPE, "*GamGam"), filters=["project!=data16_13TeV"], type="dataset")))
    assert len(found) == 5
    assert all(name.startswith("mc_") for name in found)


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_search_limit(asked: Lake, limit: int) -> None:
    everything = list(asked.search(DID(SCOPE, "*"), type="dataset"))
    assert len(list(asked.search(DID(SCOPE, "*"), type="dataset", limit=limit))) == min(limit, len(everything))


@pytest.mark.parametrize("limit", [0, -1])
def test_search_with_a_limit_below_one(asked: Lake, limit: int) -> None:
    """Rucio would take it for no limit."""
    with pytest.raises(BadRequest, match="limit") as caught:
        list(asked.search(DID(SCOPE, "*"), limit=limit))
    assert_clear(caught.value)


@pytest.mark.parametrize(
    "filters",
    [["events"], [">=5"], ["1=events=2"], ["=;="], ["events>=1", "events>=2"]],
    ids=lambda filters: filters[-1],
)
def test_search_with_an_invalid_filter(asked: Lake, filters: list[str]) -> None:
    with pytest.raises(BadRequest) as caught:
        list(asked.search(DID(SCOPE, "*"), filters=filters))
    assert_clear(caught.value)


def test_search_by_an_unknown_key(asked: Lake) -> None:
    """Any key can be custom metadata. On SQLite, Rucio supports none and refuses it."""
    if on_postgresql():
        assert list(asked.search(DID(SCOPE, "*"), filters=["no_such_key=1"])) == []
        return
    with pytest.raises(BadRequest) as caught:
        list(asked.search(DID(SCOPE, "*"), filters=["no_such_key=1"]))
    assert_clear(caught.value)


@pytest.mark.skipif(not on_postgresql(), reason="SQLite compares anything: set RUCIO_LAB_TEST_DATABASE=postgresql")
@pytest.mark.parametrize("filters", ["events=abc", "bytes>x", "hidden=maybe", "created_at>2020-01-01"])
def test_search_with_a_value_of_the_wrong_type(asked: Lake, filters: str) -> None:
    with pytest.raises(BadRequest) as caught:
        list(asked.search(DID(SCOPE, "*"), filters=[filters]))
    assert_clear(caught.value)
    assert filters in caught.value.message


def test_an_unknown_type(asked: Lake) -> None:
    with pytest.raises(BadRequest) as caught:
        list(asked.search(DID(SCOPE, "*"), type="bogus"))  # type: ignore[arg-type]
    assert_clear(caught.value)


def test_an_unknown_scope_is_an_error_but_no_match_is_not(asked: Lake) -> None:
    assert list(asked.search(DID("user.bob", "*"))) == []
    with pytest.raises(NotFound, match="no scope 'opendata13Tev'") as caught:
        list(asked.search(DID("opendata13Tev", "*")))
    assert_clear(caught.value)
    assert "opendata13TeV?" in caught.value.remedy
    with pytest.raises(NotFound, match="no scope 'xyz'") as caught:
        list(asked.search(DID("xyz", "*")))
    assert_clear(caught.value)
    assert SCOPE in caught.value.remedy


@pytest.mark.parametrize("scope", ["it's", "two words", "ü", "...", "*", "%", "<b>", "a?b", "a#b"])
def test_a_hostile_scope_is_unknown(asked: Lake, scope: str) -> None:
    with pytest.raises(NotFound) as caught:
        list(asked.search(DID(scope, "*")))
    assert_clear(caught.value)
    assert scope in caught.value.message


@pytest.mark.parametrize("did", [DID("..", "*"), DID(SCOPE, ".."), DID(SCOPE, ".")], ids=str)
def test_names_that_no_url_can_contain_are_refused(asked: Lake, did: DID) -> None:
    """In a URL, .. means the folder above, so it would be a different request."""
    for ask in (asked.contents, asked.files, asked.info):
        with pytest.raises(BadRequest) as caught:
            list(ask(did))  # type: ignore[call-overload]
        assert_clear(caught.value)


# ------------------------------------------------------------------------------------------------ what is in it


def test_info(asked: Lake) -> None:
    container, dataset = asked.info(DID(SCOPE, "GamGam")), asked.info(DID(SCOPE, "data_A.GamGam"))
    files = list(asked.files(container.did))
    assert (container.type, container.length) == ("container", len(files))
    assert container.bytes == sum(info.bytes or 0 for info in files) > 0
    assert (dataset.type, dataset.open) == ("dataset", False)
    assert asked.info(DID(SCOPE, "data_D.GamGam")).open is True
    file = asked.info(files[0].did)
    assert (file.type, file.bytes, file.adler32, file.open) == ("file", files[0].bytes, files[0].adler32, None)


def test_contents_are_one_level_and_files_all(asked: Lake) -> None:
    assert {(info.did.name, info.type) for info in asked.contents(DID(SCOPE, "GamGam"))} == {
        ("GamGam.Data", "container"),
        ("GamGam.MC", "container"),
    }
    assert names(list(asked.contents(DID(SCOPE, "GamGam.Data")))) == [f"data_{period}.GamGam" for period in "ABCD"]
    assert list(asked.contents(DID(SCOPE, "empty"))) == []
    files = list(asked.files(DID(SCOPE, "GamGam")))
    assert {info.type for info in files} == {"file"}
    assert all(info.bytes and info.adler32 for info in files)


def test_files_of_several_collections(asked: Lake) -> None:
    found = list(asked.files_of([DID(SCOPE, "data_A.GamGam"), DID(SCOPE, "shared")]))
    shared = {info.did for parent, info in found if parent.name == "shared"}
    of_a = {info.did for parent, info in found if parent.name == "data_A.GamGam"}
    assert len(shared) == 2
    assert len(shared & of_a) == 1


def test_cms_names(asked: Lake) -> None:
    """They start with a slash."""
    assert asked.info(DID(SCOPE, CMS_DATASET)).type == "dataset"
    assert names(list(asked.files(DID(SCOPE, CMS_DATASET)))) == [CMS_FILE]
    assert names(list(asked.contents(DID(SCOPE, CMS_DATASET)))) == [CMS_FILE]
    assert names(list(asked.search(DID(SCOPE, "/DoublePhoton/*")))) == [CMS_DATASET]


def test_scopes_and_rses(asked: Lake) -> None:
    assert asked.scopes() == sorted({HOSTILE, SCOPE, survey.SCOPE, "user.alice", "user.bob"})
    rses = asked.rses()
    assert rses["CERN-EOS"] is True
    assert rses["BLOCKED-DISK"] is False


@pytest.mark.parametrize(
    "ask", [Lake.info, Lake.contents, Lake.files, Lake.metadata], ids=lambda method: method.__name__
)
@pytest.mark.parametrize("did", [DID(SCOPE, "nope"), DID(SCOPE, "x' OR 1=1 --"), DID(SCOPE, "ü/<b>?#%")], ids=str)
def test_an_unknown_did(asked: Lake, ask: Callable[[Lake, DID], Any], did: DID) -> None:
    with pytest.raises(NotFound) as caught:
        list(ask(asked, did))
    assert_clear(caught.value)
    assert str(did) in caught.value.message


def test_replicas(asked: Lake) -> None:
    (row,) = asked.replicas([DID(SCOPE, "tape.and.disk._0001.root")])
    assert row.states == {"CERN-EOS": "AVAILABLE", "CERN-TAPE": "AVAILABLE"}
    assert {pfn.rse_type for pfn in row.pfns if pfn.rse == "CERN-TAPE"} == {"TAPE"}
    assert [pfn.priority for pfn in row.pfns] == sorted(pfn.priority for pfn in row.pfns)
    assert {pfn.url.partition("://")[0] for pfn in row.pfns} == {"root", "https", "davs", "http"}
    (row,) = asked.replicas([row.did], rse="CERN-TAPE")
    assert list(row.states) == ["CERN-TAPE"]


@pytest.mark.parametrize("expression", ["NOPE", "((", "CERN-EOS&", "site=", "' OR 1", "<b>", "site=CERN&country=CA"])
def test_an_rse_expression_without_a_match(asked: Lake, expression: str) -> None:
    with pytest.raises(BadRequest, match="RSE expression") as caught:
        list(asked.replicas([DID(SCOPE, "data_A.GamGam")], rse=expression))
    assert_clear(caught.value)
    assert expression in caught.value.message


# ------------------------------------------------------------------------------------------------ hostile names


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, "two words", "<img src=x onerror=alert(1)>"])
def test_hostile_names_come_back_unchanged(asked: Lake, name: str) -> None:
    did = DID(HOSTILE, name)
    assert asked.info(did).did == did
    assert [info.did for info in asked.contents(did)] == [DID(HOSTILE, f"{name}.root")]
    assert [info.did for info in asked.files(did)] == [DID(HOSTILE, f"{name}.root")]
    assert [info.did for _, info in asked.files_of([did])] == [DID(HOSTILE, f"{name}.root")]
    assert [row.did for row in asked.replicas([did])] == [DID(HOSTILE, f"{name}.root")]
    assert [(holding.rse, holding.files) for holding in asked.holdings(did)] == [("CERN-EOS", 1)]
    if "*" not in name and "\\" not in name and "%" not in name:
        assert did in {info.did for info in asked.search(did)}


def test_a_name_with_a_line_break_comes_back_in_lists(asked: Lake) -> None:
    """Rucio cannot look up such a DID, but a dataset can contain one."""
    files = [info.did for info in asked.files(DID(HOSTILE, "all"))]
    assert DID(HOSTILE, "line\nbreak.root") in files
    assert {row.did for row in asked.replicas([DID(HOSTILE, "all")])} == set(files)


# ------------------------------------------------------------------------------------------------ rows that are none

ROW = {"scope": "s", "name": "n", "type": "FILE", "bytes": 1, "adler32": "0", "pfns": {}, "states": {}}
PFN = {"rse": "R", "type": "DISK", "domain": "wan", "priority": 1}


@pytest.mark.parametrize(
    "row",
    [
        3,
        "text",
        None,
        [],
        {},
        {"ExceptionClass": "Boom"},
        {**ROW, "name": None, "pfns": None},
        {**ROW, "pfns": []},
        {**ROW, "pfns": {"root://a": 3}},
        {**ROW, "pfns": {"root://a": {}}},
        {**ROW, "pfns": {"root://a": {**PFN, "priority": "x"}, "root://b": PFN}},
        {**ROW, "states": ["R"]},
        {**ROW, "states": "AVAILABLE"},
        {**ROW, "bytes": "many"},
        {**ROW, "bytes": {}},
    ],
    ids=str,
)
def test_malformed_rows_are_an_error(lake: FullLake, row: object) -> None:
    with middle_of(lake) as middle:
        asked = Lake(instance_of(lake, url=middle.url))
        asked.scopes()
        stream = {"Content-Type": "application/x-json-stream"}
        middle.change = lambda path, answer: Answer(200, stream, f"{json.dumps(row)}\n".encode())
        with pytest.raises(RucioLabError) as caught:
            list(asked.replicas([DID("s", "n")]))
    assert caught.value.code == "lake_broken"
    assert_clear(caught.value)
