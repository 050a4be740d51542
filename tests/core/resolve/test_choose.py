"""Which replica is chosen, on real storages: schemes, mounts, dead storages, odd addresses."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.catalogue.replies import FileReplicas, Pfn
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest
from rucio_lab.core.model import Request
from rucio_lab.core.reading import probe
from rucio_lab.core.resolve.choose import readable_replicas
from rucio_lab.core.resolve.resolution import resolve
from tests.lake.content import ESCAPING_NAMES, HOSTILE, HOSTILE_NAMES
from tests.lake.lake import FullLake, quoted
from tests.support.checks import within
from tests.support.middle import Answer, middle_of
from tests.support.put import registered, write
from tests.support.resolving import SCOPE, Configure, attach, register, unavailable


def test_the_order_of_schemes() -> None:
    (file,) = attach("closed").files
    assert [replica.scheme for replica in file.replicas] == ["root", "https", "http"]
    assert {replica.rse for replica in file.replicas} == {"CERN-EOS"}
    (file,) = attach("closed", schemes=("http", "root")).files
    assert [replica.scheme for replica in file.replicas] == ["http", "root"]
    (left,) = file.left_out
    assert left.reason == "https is not among the schemes asked for (http, root)"


def test_the_schemes_of_the_instance(configure: Configure) -> None:
    configure(schemes=["https"])
    assert {file.replica.scheme for file in attach("GamGam").files} == {"https"}


@pytest.mark.parametrize(("asked", "got"), [("davs", "https"), ("xroot", "root")])
def test_other_names_of_schemes(asked: str, got: str) -> None:
    (file,) = attach("closed", schemes=(asked,)).files
    assert [replica.scheme for replica in file.replicas] == [got]


def test_a_scheme_that_no_storage_offers() -> None:
    error = unavailable("closed", schemes=("gsiftp",))
    assert "not among the schemes asked for (gsiftp)" in str(error)


def test_the_site_of_this_machine_comes_first(configure: Configure) -> None:
    configure(site="TRIUMF")
    files = attach("data_A.GamGam").files
    assert {(file.replica.rse, file.replica.domain) for file in files} == {("TRIUMF-DISK", "lan")}
    assert {file.replicas[-1].rse for file in files} == {"CERN-EOS"}
    files = attach("data_A.GamGam", schemes=("https", "root")).files  # CERN-EOS has both, TRIUMF-DISK only root
    assert {(file.replica.rse, file.replica.scheme) for file in files} == {("TRIUMF-DISK", "root")}


@pytest.mark.parametrize(("site", "domain"), [("", "lan"), ("HERE", "wan")])
def test_protocols_for_the_other_side_of_a_sites_border(
    lake: FullLake, configure: Configure, site: str, domain: str
) -> None:
    """Rucio gives LAN protocols to machines of the RSE's site, and WAN protocols to all others."""
    rse = f"{domain.upper()}-{uuid4().hex[:8].upper()}"
    lake.rest("POST", quoted("rses", rse), json={"deterministic": True})
    lake.rest("POST", quoted("rses", rse, "attr", "site"), json={"value": "HERE"})
    known = next(each for each in lake.rest("GET", quoted("rses", "WEB-DISK")).json()["protocols"])
    domains = {name: {"read": int(name == domain) or None, "write": None, "delete": None} for name in ("lan", "wan")}
    lake.rest("POST", quoted("rses", rse, "protocols", known["scheme"]), json={**known, "domains": domains})
    name = f"only.{domain}.{uuid4().hex[:8]}"
    try:
        write(lake, "WEB-DISK", name, b"bytes")  # the same storage
        lake.rest("POST", "/replicas", json={"rse": rse, "files": [registered(name, b"bytes")]})
        configure(site=site)
        said = {str(unavailable(name)), str(unavailable(name, access="download"))}
        with pytest.raises(OSError, match="cannot be read") as caught:
            fsspec.filesystem("rucio").cat(attach(name, access="lake").files[0].url)
        for words in (*said, str(caught.value)):
            assert re.search(rf"{rse}: the RSE has no known protocol .*site.* in rucio_lab.toml", words), words
        configure(site="" if site else "HERE")
        (file,) = attach(name).files
        assert file.replica.domain == domain
        with fsspec.open(file.url) as stream:
            assert stream.read() == b"bytes"
    finally:
        lake.rest("DELETE", quoted("rses", rse))


def test_rse_expressions(configure: Configure) -> None:
    assert {file.replica.rse for file in attach("data_A.GamGam", rse="country=CA").files} == {"TRIUMF-DISK"}
    error = unavailable("data_C.GamGam", rse="country=CA")
    assert "CERN-EOS: it does not match the RSE expression" in str(error)
    configure(rse="country=CA")
    assert {file.replica.rse for file in attach("data_A.GamGam").files} == {"TRIUMF-DISK"}
    with pytest.raises(BadRequest, match=r"\(country=CA\)&\(site=CERN\)"):
        attach("data_A.GamGam", rse="site=CERN")


@pytest.mark.parametrize("name", ["dead.and.alive", "silent.and.alive"])
def test_the_best_storage_is_dead(configure: Configure, name: str) -> None:
    configure(site=name.partition(".")[0].upper())
    with within(5):
        (file,) = attach(name).files
    assert file.replica.rse == "WEB-DISK"
    assert {left.replica.rse for left in file.left_out} == {f"{name.partition('.')[0].upper()}-DISK"}
    with within(1):  # remembered
        attach(name)


def test_a_storage_that_fails_and_recovers(lake: FullLake) -> None:
    lake.faulty["root"].refuse()
    (file,) = attach("faulty.and.alive").files
    assert file.replica.rse == "WEB-DISK"
    assert "refuses connections" in file.left_out[0].reason
    lake.faulty["root"].forward()
    assert attach("faulty.and.alive").files[0].replica.rse == "WEB-DISK"  # still, for two minutes
    probe.forget()
    assert attach("faulty.and.alive").files[0].replica.rse == "FAULTY-ROOT"


def test_only_the_two_best_servers_are_probed(lake: FullLake) -> None:
    """The others are for failover: root and https of CERN-EOS work, so its http is not probed."""
    attach("closed")
    asked = {scheme for _, (scheme, _, _) in ((key, key[1].partition("://")) for key in probe._verdicts)}
    assert asked == {"root", "https"}


def test_a_server_is_probed_once_for_all_its_files(lake: FullLake) -> None:
    proxy = lake.faulty["http"]
    name = f"many.{uuid4().hex[:8]}"
    register(lake, "FAULTY-HTTP", {f"{name}._{number:03d}": 1 for number in range(300)})
    proxy.forget()
    assert len(attach(f"{name}*").files) == 300
    assert proxy.connections == 1


def test_an_empty_file(lake: FullLake) -> None:
    """It has no first byte that a probe could request; that must not count against its server."""
    name = f"aaa.{uuid4().hex[:8]}.root"
    register(lake, "WEB-DISK", {name: 0})
    path = lake.path("WEB-DISK", SCOPE, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    resolution = attach(name, "web")
    assert resolution.files[0].bytes == 0
    assert len(resolution.files) == 2


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


def test_access_mount_gives_only_paths(configure: Configure, lake: FullLake) -> None:
    assert "no folder is configured" in str(unavailable("closed", access="mount"))
    configure(mounts={"CERN-EOS": lake.mount("CERN-EOS")})
    (file,) = attach("closed", access="mount").files
    assert [replica.scheme for replica in file.replicas] == ["file"]


@pytest.mark.parametrize("how", ["missing", "another size", "a folder", "a dead mount", "no such folder"])
def test_if_a_mount_does_not_work_the_url_is_used(
    lake: FullLake, configure: Configure, tmp_path: Path, how: str
) -> None:
    """The same RSE can still be read by URL."""
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


def test_a_dead_mount_does_not_block_a_working_one(lake: FullLake, configure: Configure, tmp_path: Path) -> None:
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


def test_a_prefix_must_be_a_whole_folder_name(configure: Configure, tmp_path: Path) -> None:
    configure(mounts={"CERN-EOS": {"prefix": "/eo", "folder": str(tmp_path)}})
    (file,) = attach("closed").files
    assert not any(str(tmp_path) in left.replica.url for left in file.left_out)
    assert file.replica.scheme == "root"


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_on_a_mount_gives_its_own_path_or_none(lake: FullLake, configure: Configure, name: str) -> None:
    configure(mounts={"CERN-EOS": lake.mount("CERN-EOS")})
    (file,) = attach(name, scope=HOSTILE).files
    paths = [replica.url for replica in file.replicas if replica.scheme == "file"]
    assert set(paths) <= {str(lake.path("CERN-EOS", HOSTILE, f"{name}.root"))}
    assert all(Path(path).stat().st_size == file.bytes for path in paths)


def test_no_path_is_outside_its_mount(lake: FullLake, configure: Configure) -> None:
    mount = lake.mount("CERN-EOS")
    configure(mounts={"CERN-EOS": mount})
    resolution = attach("all", scope=HOSTILE, allow_missing=True)
    seen = {file.did.name for file in resolution.files} | {did.name for did in resolution.missing}
    assert {f"{name}.root" for name in ESCAPING_NAMES} <= seen
    for file in resolution.files:
        for replica in [*file.replicas, *(left.replica for left in file.left_out)]:
            if replica.url.startswith("/"):
                assert Path(os.path.normpath(replica.url)).is_relative_to(mount["folder"])


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
def test_an_invalid_address_affects_no_other_replica(lake: FullLake, configure: Configure, address: str) -> None:
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


def test_options_for_other_tools_are_removed(lake: FullLake, configure: Configure) -> None:
    with middle_of(lake) as middle:

        def change(path: str, answer: Answer) -> Answer:
            body = re.sub(rb'(http://[^"]+)"', rb'\1&#multirange=false&nconnections=30"', answer.body)
            return replace(answer, body=body) if path.startswith("/replicas/list") else answer

        middle.change = change
        configure(url=middle.url, auth_url=middle.url)
        (file,) = attach("web._0001.root").files
    assert file.url.endswith("/web._0001.root")


def test_a_name_can_look_like_options_for_other_tools(lake: FullLake, configure: Configure) -> None:
    row = FileReplicas(DID(SCOPE, "a&#b"), 1, None, (Pfn("https://a/x/a&#b", "RSE", "DISK", "wan", 1),), {})
    (replica,), _ = readable_replicas(load_instances().get(), row)
    assert replica.url == "https://a/x/a&%23b"


def test_values_can_be_missing_in_metadata_and_addresses(lake: FullLake, configure: Configure) -> None:
    """Python's JSON encoder writes NaN, which is not valid JSON."""
    with middle_of(lake) as middle:

        def change(path: str, answer: Answer) -> Answer:
            if path.startswith("/replicas/list"):
                return replace(answer, body=re.sub(rb'"(priority|domain|type)": [^,}]+', rb'"\1": null', answer.body))
            return replace(answer, body=b'{"mass": NaN, "name": "x"}') if "/meta" in path else answer

        middle.change = change
        configure(url=middle.url, auth_url=middle.url)
        assert len(attach("web._0001.root").files) == 1
        assert Lake(load_instances().get()).metadata(DID(SCOPE, "web"))["name"] == "x"


def test_an_address_goes_through_the_xcache_only_once(lake: FullLake, configure: Configure) -> None:
    cache = lake.storages["root"].url
    configure(storage={"xcache": f"{cache}/"}, schemes=["root"])
    (file,) = attach("faulty.root").files
    origin = f"root://127.0.0.1:{lake.faulty['root'].port}"
    assert [replica.url[: len(cache) + 2 + len(origin)] for replica in file.replicas[:1]] == [f"{cache}//{origin}"]
    assert file.replicas[1].endpoint == origin
    (file,) = attach("large").files  # is on the server that acts as the cache
    assert file.url.count("root://") == 1


def test_names_with_special_characters_of_web_addresses(configure: Configure) -> None:
    configure(schemes=["https"])
    for name in ("hash#fragment", "question?mark=1&x=2", "per%20cent"):
        (file,) = resolve(Request((f"{HOSTILE}:{name}.root",), "test")).files
        with fsspec.open(file.url) as stream:
            assert stream.read(4) == b"root"
