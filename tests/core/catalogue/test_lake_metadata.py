"""Custom metadata, for which Rucio has no columns: it stores them as JSON, which it cannot do on SQLite."""

from __future__ import annotations

import pytest

from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest
from rucio_lab.core.identity.client import RucioClient
from tests.lake.lake import FullLake, quoted
from tests.lake.packages import on_postgresql
from tests.support.checks import assert_clear

pytestmark = pytest.mark.skipif(
    not on_postgresql(),
    reason="custom metadata need PostgreSQL: set RUCIO_LAB_TEST_DATABASE=postgresql",
)

SCOPE = "user.alice"
ALL = DID(SCOPE, "custom.*")
CUSTOM = {
    "custom.data": {"skim": "GamGam", "luminosity_fb": 0.5, "is_mc": False, "note": "it's 100% ü"},
    "custom.mc": {"skim": "GamGam", "luminosity_fb": 0, "is_mc": True, "channel": 341081, "tags": ["ttH", "Higgs"]},
    "custom.loose": {"skim": "2lep", "luminosity_fb": 4.7, "is_mc": False},
}


@pytest.fixture(scope="module")
def datasets(full_lake: FullLake) -> None:
    """Datasets of alice with custom metadata."""
    for name, custom in CUSTOM.items():
        full_lake.rest("POST", quoted("dids", SCOPE, name), account="alice", json={"type": "DATASET"})
        full_lake.rest("POST", quoted("dids", SCOPE, name, "meta"), account="alice", json={"meta": custom})
    project = quoted("dids", SCOPE, "custom.mc", "meta", "project")
    full_lake.rest("POST", project, account="alice", json={"value": "mc16_13TeV"})


@pytest.fixture
def asked(lake: FullLake, datasets: None) -> Lake:
    return Lake(load_instances().get())


def search(asked: Lake, *filters: str, pattern: DID = ALL) -> set[str]:
    return {info.did.name.removeprefix("custom.") for info in asked.search(pattern, filters=filters)}


@pytest.mark.parametrize("name", CUSTOM)
def test_custom_metadata_is_shown_among_the_others(asked: Lake, name: str) -> None:
    known = asked.metadata(DID(SCOPE, name))
    assert {key: known[key] for key in CUSTOM[name]} == CUSTOM[name]
    assert (known["did_type"], known["account"]) == ("DATASET", "alice")
    assert not set(known) & (set().union(*CUSTOM.values()) - CUSTOM[name].keys())
    assert list(known) == sorted(known)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["skim=GamGam"], {"data", "mc"}),
        (["skim=Gam*"], {"data", "mc"}),
        (["skim!=GamGam"], {"loose"}),
        (["luminosity_fb>0.5"], {"loose"}),
        (["luminosity_fb>=0.5"], {"data", "loose"}),
        (["0<luminosity_fb<4.7"], {"data"}),
        (["is_mc=true"], {"mc"}),
        (["is_mc=false", "skim=GamGam"], {"data"}),
        (["channel=341081"], {"mc"}),
        (["luminosity_fb=0;luminosity_fb=4.7"], {"mc", "loose"}),
        (["note=it's 100% ü"], {"data"}),
        (["skim=gamgam"], set()),
        (["no_such_key=1"], set()),
    ],
    ids=lambda value: " ".join(sorted(value)) or "nothing",
)
def test_search_by_custom_metadata(asked: Lake, filters: list[str], expected: set[str]) -> None:
    assert search(asked, *filters) == expected


def test_custom_metadata_and_the_name_together(asked: Lake) -> None:
    assert search(asked, "skim=GamGam", pattern=DID(SCOPE, "*.mc")) == {"mc"}
    assert search(asked, "skim=GamGam", "name=custom.d*") == {"data"}


def test_rucios_own_metadata_is_still_found(asked: Lake) -> None:
    assert search(asked, "project=mc16_13TeV") == {"mc"}


@pytest.mark.parametrize(
    "filters",
    [["skim=GamGam", "project=mc16_13TeV"], ["skim>5"]],
    ids=["custom and own mixed", "text compared with a number"],
)
def test_filters_that_rucio_cannot_apply(asked: Lake, filters: list[str]) -> None:
    with pytest.raises(BadRequest) as caught:
        search(asked, *filters)
    assert_clear(caught.value)


def test_custom_metadata_can_change(asked: Lake) -> None:
    RucioClient(load_instances().get()).set_metadata(SCOPE, "custom.loose", "skim", "3lep")
    try:
        assert asked.metadata(DID(SCOPE, "custom.loose"))["skim"] == "3lep"
        assert search(asked, "skim=3lep") == {"loose"}
    finally:
        RucioClient(load_instances().get()).set_metadata(SCOPE, "custom.loose", "skim", "2lep")
