"""From DIDs to files: which files, which replica of each, and why not the others; on real storages, dead ones too."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from rucio_lab.core.address import lake_url
from rucio_lab.core.catalogue.lake import FileReplicas, Lake, Pfn
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, FilesUnavailable, LakeBroken, NotFound
from rucio_lab.core.model import Access, Request, Resolution
from rucio_lab.core.reading import probe
from rucio_lab.core.resolve.choose import readable_replicas
from rucio_lab.core.resolve.resolution import resolve
from tests.lake.content import ESCAPING_NAMES, HOSTILE, HOSTILE_NAMES, LOST, UNAVAILABLE
from tests.lake.lake import FullLake
from tests.support.checks import assert_clear, within
from tests.support.middle import Answer, middle_of

SCOPE = "opendata13TeV"

Configure = Callable[..., None]


@pytest.fixture(autouse=True)
def configured(lake: FullLake) -> Iterator[None]:
    """Every test here asks the test lake."""
    return iter([None])


@pytest.fixture
def configure(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Set more settings of the instance."""

    def write(**settings: Any) -> None:
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config(test=settings)))

    return write


def attach(*names: str, scope: str = SCOPE, **how: Any) -> Resolution:
    return resolve(Request(tuple(f"{scope}:{name}" for name in names), "", **how))


def unavailable(*names: str, **how: Any) -> FilesUnavailable:
    with pytest.raises(FilesUnavailable) as caught:
        attach(*names, **how)
    assert_clear(caught.value)
    return caught.value


def reasons(resolution: Resolution) -> dict[str, str]:
    return {left.replica.rse: left.reason for file in resolution.files for left in file.left_out}


def register(lake: FullLake, rse: str, sizes: dict[str, int]) -> None:
    """Register files without making them."""
    files = [{"scope": SCOPE, "name": name, "bytes": size, "adler32": "00000001"} for name, size in sizes.items()]
    for start in range(0, len(files), 500):
        lake.rest("POST", "/replicas", json={"rse": rse, "files": files[start : start + 500]})


# ------------------------------------------------------------------------------------------------ which files


def test_a_container_of_containers() -> None:
    resolution = attach("GamGam")
    expected = {info.did: info for info in Lake(load_instances().get()).files(DID(SCOPE, "GamGam"))}
    assert [file.did for file in resolution.files] == sorted(expected)
    assert resolution.total == len(expected)
    assert resolution.request.instance == "test"
    for file in resolution.files:
        assert (file.bytes, file.adler32) == (expected[file.did].bytes, expected[file.did].adler32)
        assert file.replica.rse in ("CERN-EOS", "TRIUMF-DISK")
        assert file.url.startswith("root://127.0.0.1:")
        sample = file.did.name.split(".GamGam")[0]
        assert file.datasets == (DID(SCOPE, f"{sample}.GamGam"),)


def test_each_file_once_however_often_it_is_asked_for() -> None:
    whole = attach("GamGam")
    first = whole.files[0].did.name
    again = attach("GamGam", "data_A.GamGam", "GamGam", "GamGam.Data", first, "data_A.GamGam", first)
    assert [file.did for file in again.files] == [file.did for file in whole.files]
    assert again.files[0].datasets == (DID(SCOPE, "data_A.GamGam"),)
    assert again.shared == 0


def test_a_file_of_two_datasets_is_there_once_and_that_is_said() -> None:
    resolution = attach("shared", "data_A.GamGam")
    assert len(resolution.files) == len({file.did for file in resolution.files})
    assert resolution.shared == 1
    (both,) = [file for file in resolution.files if len(file.datasets) == 2]
    assert both.datasets == (DID(SCOPE, "shared"), DID(SCOPE, "data_A.GamGam"))


def test_a_file_by_itself() -> None:
    (file,) = attach("web._0001.root").files
    assert (file.did.name, file.datasets) == ("web._0001.root", ())


def test_patterns() -> None:
    assert [file.did for file in attach("GamGam*").files] == [file.did for file in attach("GamGam").files]
    of_data = attach("data_*.GamGam")
    assert {dataset.name for file in of_data.files for dataset in file.datasets} == {
        f"data_{period}.GamGam" for period in "ABCD"
    }
    assert of_data.open == (DID(SCOPE, "data_D.GamGam"),)
    assert [file.did.name for file in attach("partly._0001*").files] == ["partly._0001.root"]


def test_a_pattern_that_fits_nothing() -> None:
    with pytest.raises(NotFound, match=r"fits opendata13TeV:zz\*") as caught:
        attach("zz*")
    assert_clear(caught.value)


def test_what_fits_a_pattern_may_be_empty() -> None:
    resolution = attach("emp*", "web")
    assert [file.did.name for file in resolution.files] == ["web._0001.root"]
    assert resolution.notes == (f"{SCOPE}:empty is empty.",)


@pytest.mark.parametrize("limit", [1, 5, 10**6])
def test_limit(limit: int) -> None:
    whole = attach("GamGam")
    some = attach("GamGam", limit=limit)
    assert [file.did for file in some.files] == [file.did for file in whole.files][:limit]
    assert some.total == whole.total
    assert [file.datasets for file in some.files] == [file.datasets for file in whole.files][:limit]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request((), ""), "No DID"),
        (Request(("GamGam",), ""), "no colon"),
        (Request((f"{SCOPE}:GamGam", "x:"), ""), "name is empty"),
        (Request((f"{SCOPE}:GamGam",), "", limit=0), "limit of 0"),
        (Request((f"{SCOPE}:GamGam",), "", limit=-1), "limit of -1"),
        (Request((f"{SCOPE}:GamGam",), "", rse="NOPE"), "'NOPE'"),
        (Request((f"{SCOPE}:GamGam",), "", rse="(("), "'\\(\\('"),
    ],
)
def test_requests_that_make_no_sense(request_: Request, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as caught:
        resolve(request_)
    assert_clear(caught.value)


@pytest.mark.parametrize(
    ("name", "scope", "words"),
    [
        ("nope", SCOPE, "has no DID opendata13TeV:nope"),
        ("GamGam", "opendata13", "no scope 'opendata13'"),
        ("empty", SCOPE, "opendata13TeV:empty is empty"),
    ],
)
def test_dids_without_files(name: str, scope: str, words: str) -> None:
    with pytest.raises(NotFound, match=words) as caught:
        attach(name, scope=scope)
    assert_clear(caught.value)


def test_an_empty_dataset_beside_others() -> None:
    with pytest.raises(NotFound, match="empty is empty"):
        attach("empty", "web")
    resolution = attach("empty", "web", allow_missing=True)
    assert [file.did.name for file in resolution.files] == ["web._0001.root"]
    assert resolution.notes == (f"{SCOPE}:empty is empty.",)


def test_what_can_still_grow() -> None:
    assert attach("open", "web").open == (DID(SCOPE, "open"),)


def test_more_files_than_rucio_takes_in_a_request(lake: FullLake) -> None:
    name = f"many.{uuid4().hex[:8]}"
    files = [f"{name}._{number:04d}.root" for number in range(1010)]
    register(lake, "WEB-DISK", {file: number + 1 for number, file in enumerate(files)})
    dids = [{"scope": SCOPE, "name": file} for file in files]
    lake.rest("POST", "/dids", json=[{"scope": SCOPE, "name": name, "type": "DATASET", "dids": dids}])
    resolution = attach(name, limit=1005)  # then they are asked for one by one
    assert [file.bytes for file in resolution.files] == list(range(1, 1006))
    assert resolution.total == 1010
    asked = Lake(load_instances().get())
    missing = [DID(SCOPE, f"nope.{number}") for number in range(1000)]
    assert len(list(asked.files_of([*missing, DID(SCOPE, name)]))) == 1010
    assert len(list(asked.replicas([*missing, DID(SCOPE, "web._0001.root")]))) == 1


# ------------------------------------------------------------------------------------------------ which replica


def test_order_of_schemes() -> None:
    (file,) = attach("closed").files
    assert [replica.scheme for replica in file.replicas] == ["root", "https", "http"]
    assert {replica.rse for replica in file.replicas} == {"CERN-EOS"}
    (file,) = attach("closed", schemes=("http", "root")).files
    assert [replica.scheme for replica in file.replicas] == ["http", "root"]
    (left,) = file.left_out
    assert left.reason == "https is not among the schemes asked for (http, root)"


def test_the_order_of_the_instance(configure: Configure) -> None:
    configure(schemes=["https"])
    assert {file.replica.scheme for file in attach("GamGam").files} == {"https"}


@pytest.mark.parametrize(("asked", "got"), [("davs", "https"), ("xroot", "root")])
def test_rucios_other_names_of_schemes(asked: str, got: str) -> None:
    (file,) = attach("closed", schemes=(asked,)).files
    assert [replica.scheme for replica in file.replicas] == [got]


def test_a_scheme_that_nothing_offers_or_reads() -> None:
    error = unavailable("closed", schemes=("gsiftp",))
    assert "not among the schemes asked for (gsiftp)" in str(error)


def test_the_site_of_this_machine_comes_first(configure: Configure) -> None:
    configure(site="TRIUMF")
    files = attach("data_A.GamGam").files
    assert {(file.replica.rse, file.replica.domain) for file in files} == {("TRIUMF-DISK", "lan")}
    assert {file.replicas[-1].rse for file in files} == {"CERN-EOS"}
    files = attach("data_A.GamGam", schemes=("https", "root")).files  # CERN-EOS has both, TRIUMF-DISK root alone
    assert {(file.replica.rse, file.replica.scheme) for file in files} == {("TRIUMF-DISK", "root")}


def test_rse_expression(configure: Configure) -> None:
    assert {file.replica.rse for file in attach("data_A.GamGam", rse="country=CA").files} == {"TRIUMF-DISK"}
    error = unavailable("data_C.GamGam", rse="country=CA")
    assert "CERN-EOS: it does not fit the RSE expression" in str(error)
    configure(rse="country=CA")
    assert {file.replica.rse for file in attach("data_A.GamGam").files} == {"TRIUMF-DISK"}
    with pytest.raises(BadRequest, match=r"\(country=CA\)&\(site=CERN\)"):
        attach("data_A.GamGam", rse="site=CERN")


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


def test_states_other_than_available() -> None:
    error = unavailable("unavailable")
    assert error.reasons.keys() == {f"{SCOPE}:{name}" for name in UNAVAILABLE}
    assert all(reason.startswith("CERN-EOS: Rucio calls this replica ") for reason in error.reasons.values())
    assert "COPYING" in str(error)
    assert "AVAILABLE replica" not in str(error)


def test_what_is_left_out_is_explained() -> None:
    resolution = attach("tape.and.disk", "certificate.and.open")
    assert [file.replica.rse for file in resolution.files] == ["WEB-DISK", "CERN-EOS"]
    why = reasons(resolution)
    assert "on tape" in why["CERN-TAPE"]
    assert "credentials" in why["CERT-DISK"]


# ------------------------------------------------------------------------------------------------ missing files


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
    """There is nothing that could be allowed."""
    assert "--allow-missing" not in str(unavailable("on.tape", allow_missing=True))


def test_many_files_are_missing() -> None:
    error = unavailable("GamGam", rse="CERN-TAPE")
    shown = error.message.partition(" and ")[0].count(SCOPE)
    assert shown == 3
    assert len(str(error)) < 600
    assert len(error.reasons) == attach("GamGam").total


# ------------------------------------------------------------------------------------------------ dead storages


@pytest.mark.parametrize("name", ["dead.and.alive", "silent.and.alive"])
def test_a_dead_storage_first_in_line(configure: Configure, name: str) -> None:
    configure(site=name.partition(".")[0].upper())
    with within(5):
        (file,) = attach(name).files
    assert file.replica.rse == "WEB-DISK"
    assert {left.replica.rse for left in file.left_out} == {f"{name.partition('.')[0].upper()}-DISK"}
    with within(1):  # remembered
        attach(name)


def test_a_storage_that_dies_and_comes_back(lake: FullLake) -> None:
    lake.faulty["root"].refuse()
    (file,) = attach("faulty.and.alive").files
    assert file.replica.rse == "WEB-DISK"
    assert "refuses connections" in file.left_out[0].reason
    lake.faulty["root"].forward()
    assert attach("faulty.and.alive").files[0].replica.rse == "WEB-DISK"  # for two minutes
    probe.forget()
    assert attach("faulty.and.alive").files[0].replica.rse == "FAULTY-ROOT"


def test_only_the_best_two_storages_are_asked(lake: FullLake) -> None:
    """The rest is for failover: root and https of CERN-EOS are well, so nobody asks its http."""
    attach("closed")
    asked = {scheme for _, (scheme, _, _) in ((key, key[1].partition("://")) for key in probe._verdicts)}
    assert asked == {"root", "https"}


def test_one_storage_is_asked_once_for_all_its_files(lake: FullLake) -> None:
    proxy = lake.faulty["http"]
    name = f"many.{uuid4().hex[:8]}"
    register(lake, "FAULTY-HTTP", {f"{name}._{number:03d}": 1 for number in range(300)})
    proxy.forget()
    assert len(attach(f"{name}*").files) == 300
    assert proxy.connections == 1


def test_a_file_of_no_bytes(lake: FullLake) -> None:
    """It has no first byte that a probe could ask for; that must not speak for its server."""
    name = f"aaa.{uuid4().hex[:8]}.root"
    register(lake, "WEB-DISK", {name: 0})
    path = lake.path("WEB-DISK", SCOPE, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    resolution = attach(name, "web")
    assert resolution.files[0].bytes == 0
    assert len(resolution.files) == 2


# ------------------------------------------------------------------------------------------------ mounted RSEs


def test_a_mounted_rse_comes_first(lake: FullLake, configure: Configure) -> None:
    configure(mounts={"CERN-EOS": lake.mount("CERN-EOS"), "NOTEBOOK-POSIX": lake.mount("NOTEBOOK-POSIX")})
    resolution = attach("GamGam", "posix")
    for file in resolution.files:
        assert Path(file.url).stat().st_size == file.bytes
        assert file.replica.scheme == "file"
    (posix,) = [file for file in resolution.files if file.did.name.startswith("posix")]
    assert [replica.scheme for replica in posix.replicas] == ["file"]
    others = [file for file in resolution.files if file is not posix]
    assert all("root" in {replica.scheme for replica in file.replicas[1:]} for file in others)
    assert {file.replica.scheme for file in attach("GamGam", access="stream").files} == {"root"}
    assert {len(file.replicas) for file in attach("GamGam", access="mount").files} <= {1, 2}


def test_only_paths_where_only_paths_are_asked_for(configure: Configure, lake: FullLake) -> None:
    assert "no folder is configured" in str(unavailable("closed", access="mount"))
    configure(mounts={"CERN-EOS": lake.mount("CERN-EOS")})
    (file,) = attach("closed", access="mount").files
    assert [replica.scheme for replica in file.replicas] == ["file"]


@pytest.mark.parametrize("how", ["missing", "another size", "a folder", "a dead mount", "no such folder"])
def test_a_mount_that_is_of_no_use_leaves_the_url(
    lake: FullLake, configure: Configure, tmp_path: Path, how: str
) -> None:
    """The same RSE can still be streamed from."""
    real = lake.path("CERN-EOS", SCOPE, "closed._0001.root")
    path = tmp_path / real.relative_to(lake.store / "eos")
    path.parent.mkdir(parents=True)
    if how == "another size":
        path.write_bytes(real.read_bytes() + b"x")
    elif how == "a folder":
        path.mkdir()
    elif how == "a dead mount":
        os.mkfifo(path)
    folder = tmp_path / "nope" if how == "no such folder" else tmp_path
    configure(mounts={"CERN-EOS": {"prefix": "/eos/", "folder": str(folder)}})
    with within(probe.TIMEOUT + 3):
        (file,) = attach("closed").files
    assert (file.replica.rse, file.replica.scheme) == ("CERN-EOS", "root")
    (left,) = [left for left in file.left_out if left.replica.scheme == "file"]
    words = {
        "missing": "No such file",
        "another size": "but Rucio has registered",
        "a folder": "directory",
        "a dead mount": "did not answer",
        "no such folder": "No such file",
    }
    assert words[how] in left.reason


def test_a_dead_mount_does_not_hold_up_a_good_one(lake: FullLake, configure: Configure, tmp_path: Path) -> None:
    for file in attach("data_A.GamGam").files:
        real = lake.path("CERN-EOS", *file.did)
        dead = tmp_path / real.relative_to(lake.store / "eos")
        dead.parent.mkdir(parents=True)
        os.mkfifo(dead)
    mounts = {"CERN-EOS": {"prefix": "/eos/", "folder": str(tmp_path)}, "TRIUMF-DISK": lake.mount("TRIUMF-DISK")}
    configure(mounts=mounts)
    with within(probe.TIMEOUT + 3):
        files = attach("data_A.GamGam").files
    assert {(file.replica.rse, file.replica.scheme) for file in files} == {("TRIUMF-DISK", "file")}


@pytest.mark.parametrize("prefix", ["/eos", "/eos/", "eos", "//eos/"])
def test_the_prefix_of_a_mount_is_a_folder(lake: FullLake, configure: Configure, prefix: str) -> None:
    configure(mounts={"CERN-EOS": {"prefix": prefix, "folder": str(lake.store / "eos")}})
    (file,) = attach("closed").files
    assert file.url == str(lake.path("CERN-EOS", SCOPE, "closed._0001.root"))


def test_a_prefix_that_only_looks_like_the_beginning_of_a_folder(configure: Configure, tmp_path: Path) -> None:
    configure(mounts={"CERN-EOS": {"prefix": "/eo", "folder": str(tmp_path)}})
    (file,) = attach("closed").files
    assert not any(str(tmp_path) in left.replica.url for left in file.left_out)
    assert file.replica.scheme == "root"


# ------------------------------------------------------------------------------------------------ hostile names


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_on_a_mount_are_the_path_of_that_file_or_none(
    lake: FullLake, configure: Configure, name: str
) -> None:
    configure(mounts={"CERN-EOS": lake.mount("CERN-EOS")})
    (file,) = attach(name, scope=HOSTILE).files
    paths = [replica.url for replica in file.replicas if replica.scheme == "file"]
    assert set(paths) <= {str(lake.path("CERN-EOS", HOSTILE, f"{name}.root"))}
    assert all(Path(path).stat().st_size == file.bytes for path in paths)


def test_no_name_leads_out_of_a_mount(lake: FullLake, configure: Configure) -> None:
    mount = lake.mount("CERN-EOS")
    configure(mounts={"CERN-EOS": mount})
    resolution = attach("all", scope=HOSTILE, allow_missing=True)
    seen = {file.did.name for file in resolution.files} | {did.name for did in resolution.missing}
    assert {f"{name}.root" for name in ESCAPING_NAMES} <= seen
    for file in resolution.files:
        for replica in [*file.replicas, *(left.replica for left in file.left_out)]:
            if replica.url.startswith("/"):
                assert Path(os.path.normpath(replica.url)).is_relative_to(mount["folder"])


# ------------------------------------------------------------------------------------------------ addresses from Rucio


@pytest.mark.parametrize(
    "address",
    [
        "root://[broken//a/b",
        "root://host:port//a/b",
        "root://two..dots:1094//a/b",
        f"root://{'x' * 70}.org//a/b",
        "root://127.0.0.1:99999//a/b",
        "http://[::1]:1/a",
        "https://two..dots/a",
        "http:///a",
        "root:",
        "nonsense",
        "",
        "javascript:alert(1)",
    ],
)
def test_an_address_that_is_none_costs_only_itself(lake: FullLake, configure: Configure, address: str) -> None:
    with middle_of(lake) as middle:

        def change(path: str, answer: Answer) -> Answer:
            if not path.startswith("/replicas/list"):
                return answer
            row = json.loads(answer.body.splitlines()[0])
            bad = {"rse": "BAD-RSE", "type": "DISK", "domain": "lan", "priority": 0, "volatile": False}
            row["pfns"] = {address: bad, **row["pfns"]}
            row["states"]["BAD-RSE"] = "AVAILABLE"
            return replace(answer, body=json.dumps(row).encode() + b"\n")

        middle.change = change
        configure(url=middle.url, auth_url=middle.url)
        (file,) = attach("web").files
    assert file.replica.rse == "WEB-DISK"
    (left,) = file.left_out
    assert left.replica.rse == "BAD-RSE"
    assert left.reason


def test_options_for_other_tools_are_stripped(lake: FullLake, configure: Configure) -> None:
    with middle_of(lake) as middle:

        def change(path: str, answer: Answer) -> Answer:
            body = re.sub(rb'(http://[^"]+)"', rb'\1&#multirange=false&nconnections=30"', answer.body)
            return replace(answer, body=body) if path.startswith("/replicas/list") else answer

        middle.change = change
        configure(url=middle.url, auth_url=middle.url)
        (file,) = attach("web._0001.root").files
    assert file.url.endswith("/web._0001.root")


def test_a_name_may_look_like_options_for_other_tools(lake: FullLake, configure: Configure) -> None:
    row = FileReplicas(DID(SCOPE, "a&#b"), 1, None, (Pfn("https://a/x/a&#b", "RSE", "DISK", "wan", 1),), {})
    (replica,), _ = readable_replicas(load_instances().get(), row)
    assert replica.url == "https://a/x/a&%23b"


def test_metadata_and_addresses_may_lack_values(lake: FullLake, configure: Configure) -> None:
    """Python's own JSON writes NaN, which others do not read."""
    with middle_of(lake) as middle:

        def change(path: str, answer: Answer) -> Answer:
            if path.startswith("/replicas/list"):
                return replace(answer, body=re.sub(rb'"(priority|domain|type)": [^,}]+', rb'"\1": null', answer.body))
            return replace(answer, body=b'{"mass": NaN, "name": "x"}') if "/meta" in path else answer

        middle.change = change
        configure(url=middle.url, auth_url=middle.url)
        assert len(attach("web._0001.root").files) == 1
        assert Lake(load_instances().get()).metadata(DID(SCOPE, "web"))["name"] == "x"


def test_a_listing_that_was_cut_on_its_way(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy can end an answer early without a sign of it; fewer files must not pass for all."""

    def cut(path: str, answer: Answer) -> Answer:
        body = answer.body.splitlines(keepends=True)[:-1] if "bulkfiles" in path else [answer.body]
        return Answer(answer.status, answer.headers, b"".join(body))

    with middle_of(lake) as middle:
        middle.change = cut
        config = lake.config(test={"url": middle.url, "auth_url": middle.url})
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(config))
        with pytest.raises(LakeBroken, match="arrived") as caught:
            resolve(Request((f"{SCOPE}:data_D.GamGam",), ""))
        assert_clear(caught.value)


# ------------------------------------------------------------------------------------------------ rucio:// addresses


def test_addresses_that_are_resolved_when_they_are_opened(lake: FullLake, configure: Configure) -> None:
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


def test_no_replica_is_asked_for_before_a_file_is_opened(
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
def test_where_a_plain_url_does_not_suffice(lake: FullLake, configure: Configure, tmp_path: Path, name: str) -> None:
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
    assert "are read as rucio://" in note
    with fsspec.open(file.url) as stream:
        assert stream.read(4) == b"root"
    with pytest.raises(FilesUnavailable, match="credentials"):
        attach(name, schemes=("https", "roots"), access="stream" if name != "roots" else "auto")


def test_a_storage_that_refuses_says_what_is_missing(lake: FullLake, configure: Configure, tmp_path: Path) -> None:
    configure(storage={"ca": str(lake.authority.ca)})
    said = str(unavailable("token"))
    assert re.search(r"TOKEN-DISK: https://\S+ asks for credentials \(HTTP 403\); no storage token is configured", said)
    wrong = tmp_path / "wrong-token"
    wrong.write_text(lake.issuer.token(forged=True, audience="https://other.example"))
    configure(storage={"ca": str(lake.authority.ca), "token_file": str(wrong)})
    assert "refuses the storage token for https://other.example" in str(unavailable("token"))


def test_xcache_is_put_before_an_address_once(lake: FullLake, configure: Configure) -> None:
    cache = lake.storages["root"].url
    configure(storage={"xcache": f"{cache}/"}, schemes=["root"])
    (file,) = attach("faulty.root").files
    origin = f"root://127.0.0.1:{lake.faulty['root'].port}"
    assert [replica.url[: len(cache) + 2 + len(origin)] for replica in file.replicas[:1]] == [f"{cache}//{origin}"]
    assert file.replicas[1].endpoint == origin
    (file,) = attach("large").files  # lies on the very server of the cache
    assert file.url.count("root://") == 1


def test_names_that_mean_something_in_web_addresses(configure: Configure) -> None:
    configure(schemes=["https"])
    for name in ("hash#fragment", "question?mark=1&x=2", "per%20cent"):
        (file,) = resolve(Request((f"{HOSTILE}:{name}.root",), "test")).files
        with fsspec.open(file.url) as stream:
            assert stream.read(4) == b"root"
