from __future__ import annotations

import os
import stat
import tomllib
import urllib.request
import zlib
from configparser import ConfigParser
from pathlib import Path

from rucio.client import Client

from rucio_lab.demo import survey
from rucio_lab.demo.content import MIRROR, MIRRORED, RSE, SCOPE
from rucio_lab.demo.lake import DemoLake
from rucio_lab.demo.samples import SAMPLES

PUBLIC = "/eos/opendata/atlas/OutreachDatasets/2020-08-19/GamGam"


def test_a_search_finds_the_containers(student: Client) -> None:
    found = student.list_dids(SCOPE, {"name": "GamGam*"}, did_type="container")
    assert sorted(found) == ["GamGam", "GamGam.Data", "GamGam.MC"]


def test_the_containers_have_the_datasets_of_the_release(student: Client) -> None:
    data = {row["name"] for row in student.list_content(SCOPE, "GamGam.Data")}
    simulated = {row["name"] for row in student.list_content(SCOPE, "GamGam.MC")}
    assert data == {f"data_{period}.GamGam" for period in "ABCD"}
    assert "mc_343981.ggH125_gamgam.GamGam" in simulated
    assert len(simulated) == 5
    assert {row["name"] for row in student.list_content(SCOPE, "GamGam")} == {"GamGam.Data", "GamGam.MC"}


def test_the_storages_have_as_many_bytes_as_rucio_says(demo_lake: DemoLake, student: Client) -> None:
    whole = student.get_did(SCOPE, "GamGam", dynamic_depth="FILE")
    stars = student.get_did(survey.SCOPE, survey.DATASET, dynamic_depth="FILE")
    assert whole["bytes"] + stars["bytes"] == demo_lake.storage.size()
    assert student.get_did(SCOPE, f"{MIRRORED}.GamGam", dynamic_depth="FILE")["bytes"] == demo_lake.mirror.size()
    assert whole["length"] == sum(sample.files for sample in SAMPLES)
    assert 100e6 < whole["bytes"] < 150e6


def test_every_replica_is_at_its_pfn_with_the_right_checksum(student: Client) -> None:
    rows = list(student.list_replicas([{"scope": SCOPE, "name": "GamGam"}]))
    assert len(rows) == sum(sample.files for sample in SAMPLES)
    for row in rows:
        assert row["rses"].keys() == ({RSE, MIRROR} if row["name"].startswith(MIRRORED) else {RSE})
        for url in row["pfns"]:
            with urllib.request.urlopen(url) as answer:
                content = answer.read()
            assert (len(content), f"{zlib.adler32(content):08x}") == (row["bytes"], row["adler32"])


def test_column_metadata_can_be_searched(student: Client) -> None:
    assert list(student.list_dids(SCOPE, {"project": "mc16_13TeV", "run_number": 343981})) == [
        "mc_343981.ggH125_gamgam.GamGam"
    ]
    file = student.get_metadata(SCOPE, "data_A.GamGam._0001.root")
    assert file["events"] > 10_000
    assert student.get_metadata(SCOPE, "data_A.GamGam")["events"] == file["events"]


def test_datasets_are_closed_and_have_rules(student: Client) -> None:
    assert student.get_did(SCOPE, "data_A.GamGam")["open"] is False
    rules = {(rule["account"], rule["name"], rule["state"]) for rule in student.list_replication_rules()}
    assert rules == {
        ("root", "GamGam", "OK"),
        ("root", "data_D.GamGam", "OK"),
        ("root", "field_01", "OK"),
        ("student", "data_A.GamGam", "OK"),
    }


def test_the_student_owns_a_scope_and_can_write_to_it(student: Client) -> None:
    student.add_dataset("user.student", "mine")
    assert list(student.list_dids("user.student", {}, did_type="dataset")) == ["mine"]


def test_the_public_files_have_their_public_addresses(student: Client) -> None:
    files = [{"scope": "opendata", "name": "GamGam.2020"}]
    rows = {row["name"]: row for row in student.list_replicas(files, schemes=["root", "https"])}
    assert len(rows) == 9
    assert set(rows["data_A.GamGam.root"]["pfns"]) == {
        f"root://eospublic.cern.ch:1094/{PUBLIC}/Data/data_A.GamGam.root",
        f"https://opendata.cern.ch:443{PUBLIC}/Data/data_A.GamGam.root",
    }
    assert (
        f"root://eospublic.cern.ch:1094/{PUBLIC}/MC/mc_345318.WpH125J_Wincl_gamgam.GamGam.root"
        in (rows["mc_345318.WpH125J_Wincl_gamgam.GamGam.root"]["pfns"])
    )
    assert (rows["data_A.GamGam.root"]["bytes"], rows["data_A.GamGam.root"]["adler32"]) == (81250713, "29634ba7")
    assert sum(row["bytes"] for row in rows.values()) == 2_116_039_826


def test_one_environment_variable_points_clients_to_the_lake(demo_lake: DemoLake) -> None:
    configuration = tomllib.loads(Path(demo_lake.env["RUCIO_LAB_CONFIG"]).read_text())
    path = Path(configuration["instances"][configuration["default"]]["rucio_cfg"])
    client = ConfigParser()
    client.read(path)
    assert client["client"]["rucio_host"] == client["client"]["auth_host"] == demo_lake.url
    assert client["client"]["account"] == "student"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {name for name in demo_lake.env if name.startswith("RUCIO_")} <= {"RUCIO_LAB_CONFIG", "RUCIO_LAB_DEMO_HOME"}
    assert os.environ.get("RUCIO_LAB_CONFIG") != demo_lake.env["RUCIO_LAB_CONFIG"]
