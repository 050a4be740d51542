"""The content of the test lake: datasets, replicas, rules and names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.identity.client import RucioClient
from rucio_lab.core.upstream.rucio_api import exception
from rucio_lab.demo.content import SCOPE
from tests.lake import content, files
from tests.lake.lake import FullLake, quoted
from tests.lake.queries import connect, get, replicas, rows, web_path


def test_every_replica_of_gamgam_is_at_its_pfn(lake: FullLake) -> None:
    found = replicas(lake, "GamGam")
    assert len(found) == 17
    for row in found:
        for rse in row["rses"]:
            path = lake.path(rse, SCOPE, row["name"])
            assert path.stat().st_size == row["bytes"]
            assert all(urlsplit(pfn).path.endswith(str(path.relative_to(path.parents[4]))) for pfn in row["rses"][rse])
    twice = {row["name"] for row in found if len(row["rses"]) == 2}
    assert {name.split(".")[0] for name in twice} == {"data_A", "mc_343981", "mc_341081"}


def test_gamgam_has_the_datasets_of_the_demo(lake: FullLake) -> None:
    contents = rows(lake.rest("GET", quoted("dids", SCOPE, "GamGam", "dids")))
    assert {row["name"] for row in contents} == {"GamGam.Data", "GamGam.MC"}
    data = rows(lake.rest("GET", quoted("dids", SCOPE, "GamGam.Data", "dids")))
    assert {row["name"] for row in data} == {f"data_{letter}.GamGam" for letter in "ABCD"}
    assert sum(sample.files for sample in files.SAMPLES) == 17


def rses_of(lake: FullLake, name: str) -> dict[str, str]:
    """Return RSE -> state for the only file of a dataset."""
    (row,) = replicas(lake, name, all_states=True)
    return dict(row["states"])


@pytest.mark.parametrize(
    ("name", "rses"),
    [
        ("on.tape", {"CERN-TAPE"}),
        ("tape.and.disk", {"CERN-TAPE", "CERN-EOS"}),
        ("posix", {"NOTEBOOK-POSIX"}),
        ("dead", {"DEAD-DISK"}),
        ("dead.and.alive", {"DEAD-DISK", "WEB-DISK"}),
        ("silent", {"SILENT-DISK"}),
        ("silent.and.alive", {"SILENT-DISK", "WEB-DISK"}),
    ],
)
def test_datasets_with_faults_have_the_right_rses(lake: FullLake, name: str, rses: set[str]) -> None:
    assert rses_of(lake, name) == dict.fromkeys(rses, "AVAILABLE")


def test_unavailable_files_are_in_other_states(lake: FullLake) -> None:
    assert not any(row["rses"] for row in replicas(lake, "unavailable"))
    states = [row["states"]["CERN-EOS"] for row in replicas(lake, "unavailable", all_states=True)]
    assert sorted(states) == ["BAD", "COPYING", "UNAVAILABLE"]


def test_a_lost_file_has_no_replica(lake: FullLake) -> None:
    assert [row["name"] for row in rows(lake.rest("GET", quoted("dids", SCOPE, "no.replica", "files")))] == [
        content.LOST
    ]
    assert not [row for row in replicas(lake, "no.replica", all_states=True, ignore_availability=True) if row["rses"]]


def test_a_blocked_rse_is_listed_only_on_request(lake: FullLake) -> None:
    assert not [row for row in replicas(lake, "blocked", ignore_availability=False) if row["rses"]]
    (row,) = replicas(lake, "blocked", ignore_availability=True)
    assert set(row["rses"]) == {"BLOCKED-DISK"}


def test_open_closed_empty_shared_and_partly_unavailable_datasets(lake: FullLake) -> None:
    def is_open(name: str) -> bool:
        return bool(lake.rest("GET", quoted("dids", SCOPE, name)).json()["open"])

    assert [is_open(name) for name in ("open", "empty", "data_D.GamGam", "closed", "data_A.GamGam")] == [True] * 3 + [
        False
    ] * 2
    assert lake.rest("GET", quoted("dids", SCOPE, "empty", "files")).text.strip() == ""
    first = {row["name"] for row in replicas(lake, "data_A.GamGam")}
    assert first < {row["name"] for row in replicas(lake, "shared")}
    assert {tuple(row["rses"]) for row in replicas(lake, "partly")} == {("CERN-EOS",), ("CERN-TAPE",)}


def test_names_with_slashes(lake: FullLake) -> None:
    (row,) = replicas(lake, content.CMS_DATASET)
    assert row["name"] == content.CMS_FILE
    assert lake.rest("GET", quoted("dids", SCOPE, content.CMS_FILE)).json()["type"] == "FILE"
    assert lake.path("CERN-EOS", SCOPE, content.CMS_FILE).exists()


def test_rules_have_the_right_states(lake: FullLake) -> None:
    rules = rows(lake.rest("GET", f"/rules/?scope={SCOPE}"))
    states = {(rule["name"], rule["rse_expression"], rule["account"]): rule["state"] for rule in rules}
    assert states == {
        ("GamGam", "CERN-EOS", "root"): "OK",
        ("on.tape", "CERN-TAPE", "root"): "OK",
        ("data_A.GamGam", "TRIUMF-DISK", "alice"): "OK",
        ("data_B.GamGam", "TRIUMF-DISK", "alice"): "REPLICATING",
    }


def test_a_dead_storage_refuses_and_a_silent_one_never_answers(lake: FullLake) -> None:
    (dead,), (silent,) = replicas(lake, "dead"), replicas(lake, "silent")
    assert {urlsplit(pfn).port for pfn in dead["pfns"]} != {urlsplit(pfn).port for pfn in silent["pfns"]}
    for pfn in dead["pfns"]:
        with pytest.raises(ConnectionRefusedError):
            connect(urlsplit(pfn).port or 0)
    for pfn in silent["pfns"]:
        with connect(urlsplit(pfn).port or 0) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(1)


def test_hostile_names_are_listed_and_have_readable_files(lake: FullLake) -> None:
    listed = rows(lake.rest("GET", f"/dids/{content.HOSTILE}/dids/search?type=dataset&name=*", account="alice"))
    names = (*content.HOSTILE_NAMES, *content.UNASKABLE_NAMES)
    assert set(listed) - {content.UNSEEN} == {*names, *content.ESCAPING_NAMES, "all"}
    known = {row["name"]: row for row in replicas(lake, "all", content.HOSTILE)}
    for name in names:
        pfn = next(pfn for pfn in known[f"{name}.root"]["pfns"] if pfn.startswith("http:"))
        path = lake.path("CERN-EOS", content.HOSTILE, f"{name}.root")
        assert unquote(pfn).endswith(f"/{unquote(name)}.root")
        assert len(get(lake, "http", web_path(path, lake)).content) == known[f"{name}.root"]["bytes"]
    assert {f"{name}.root" for name in content.ESCAPING_NAMES} < known.keys()


@pytest.mark.parametrize("name", content.HOSTILE_NAMES)
def test_hostile_names_can_be_looked_up(lake: FullLake, name: str) -> None:
    client = RucioClient(load_instances().get())
    assert [row["name"] for row in client.list_files(content.HOSTILE, name)] == [f"{name}.root"]


def test_hostile_names_are_refused_in_other_scopes(lake: FullLake) -> None:
    client = RucioClient(load_instances().get())
    with pytest.raises(exception.InvalidObject):
        client.add_dataset("user.alice", "two words")


def test_mount_settings_point_to_the_files(lake: FullLake) -> None:
    for rse, dataset, scheme in (("NOTEBOOK-POSIX", "posix", "file"), ("CERN-EOS", "closed", "root")):
        (row,) = replicas(lake, dataset)
        mount = lake.mount(rse)
        pfn = next(pfn for pfn in row["rses"][rse] if pfn.startswith(scheme))
        path = "/" + urlsplit(pfn).path.lstrip("/")
        assert path.startswith(mount["prefix"])
        assert (Path(mount["folder"]) / path.removeprefix(mount["prefix"])).stat().st_size == row["bytes"]


def test_bulk_has_ten_thousand_files(lake: FullLake, bulk: str) -> None:
    files = rows(lake.rest("GET", quoted("dids", SCOPE, bulk, "files")))
    assert len({file["name"] for file in files}) == len(files) == 10_000
    dataset = lake.rest("GET", quoted("dids", SCOPE, bulk)).json()
    assert (dataset["length"], dataset["bytes"], dataset["open"]) == (10_000, sum(f["bytes"] for f in files), False)
    (first,) = replicas(lake, f"{bulk}._000000.root")
    (last,) = replicas(lake, f"{bulk}._009999.root")
    assert first["states"] == last["states"] == {"BULK-MOCK": "AVAILABLE"}
