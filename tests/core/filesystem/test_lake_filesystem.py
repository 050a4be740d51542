"""``rucio://`` addresses: names, listings, reading and copying."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import uproot

from rucio_lab.core.address import Address
from rucio_lab.core.errors import BadRequest, NotFound, RucioLabError
from rucio_lab.core.filesystem.lake_filesystem import LakeFileSystem
from tests.lake.content import CMS_DATASET, CMS_FILE, HOSTILE, HOSTILE_NAMES, SCOPE
from tests.lake.lake import FullLake
from tests.lake.storages import Nginx
from tests.support.checks import assert_clear
from tests.support.lake_files import BRANCHES, LARGE, configure, content_of, read_branches, url


@pytest.mark.parametrize(
    "name",
    [
        "plain.root",
        CMS_FILE,
        *HOSTILE_NAMES,
        "two words",
        "trailing/",
        "a..b",
        "../../up",
        "x::y",
        "*",
        "[a]?",
        "粒子",
        "~",
    ],
)
def test_every_name_survives_its_address(name: str) -> None:
    address = Address("test", "user.alice", name)
    assert Address.parse("rucio://" + address.path) == address
    assert "/" not in address.path.split("/", 2)[2]
    stripped = LakeFileSystem._strip_protocol("rucio://" + address.path)
    assert stripped == address.path
    _, path = fsspec.url_to_fs("rucio://" + address.path)
    assert path == address.path


def test_a_plain_slash_is_part_of_a_name() -> None:
    assert Address.parse("rucio://test/cms//store/data/x.root").name == "/store/data/x.root"


@pytest.mark.parametrize("name", [*HOSTILE_NAMES])
def test_files_with_hostile_names_are_read(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    configure(lake, monkeypatch, schemes=["https"])
    address = url(f"{name}.root", HOSTILE)
    assert fs.cat_file(address) == lake.path("CERN-EOS", HOSTILE, f"{name}.root").read_bytes()
    with uproot.open({address: "mini"}) as tree:
        assert tree.num_entries > 0


def test_listings(lake: FullLake, fs: LakeFileSystem) -> None:
    assert fs.ls("rucio://", detail=False) == ["test"]
    assert f"test/{SCOPE}" in fs.ls("rucio://test", detail=False)
    names = fs.ls(f"rucio://test/{SCOPE}", detail=False)
    assert {f"test/{SCOPE}/GamGam", f"test/{SCOPE}/{LARGE}", Address("test", SCOPE, CMS_DATASET).path} <= set(names)
    assert fs.ls(url("GamGam"), detail=False) == [f"test/{SCOPE}/GamGam.Data", f"test/{SCOPE}/GamGam.MC"]
    (file,) = fs.ls(url("large"))
    size = len(content_of(lake))
    assert (file["name"], file["type"], file["size"]) == (f"test/{SCOPE}/{LARGE}", "file", size)
    assert fs.ls(url(LARGE), detail=False) == [file["name"]]
    assert fs.info(url("large"))["type"] == "directory"
    assert fs.size(url(LARGE)) == size
    assert fs.isdir(url("large"))
    assert fs.isfile(url(LARGE))
    (file,) = fs.ls(url(CMS_DATASET), detail=False)
    assert Address.parse(file).name == CMS_FILE


def test_everything_below_a_path(lake: FullLake, fs: LakeFileSystem) -> None:
    files = fs.find(url("GamGam.Data"))
    assert len(files) == len(set(files)) > 4
    walked = {path: (folders, names) for path, folders, names in fs.walk(url("GamGam"))}
    assert walked[f"test/{SCOPE}/GamGam"] == (["GamGam.Data", "GamGam.MC"], [])
    assert sorted(f"test/{SCOPE}/{name}" for _, names in walked.values() for name in names) == fs.find(url("GamGam"))
    assert fs.du(url("large")) == len(content_of(lake))
    assert fs.du(url("GamGam.Data")) == sum(fs.info(file)["size"] for file in files)
    assert next(fs.walk(url("GamGam"), maxdepth=1))[1:] == (["GamGam.Data", "GamGam.MC"], [])


def test_patterns(lake: FullLake, fs: LakeFileSystem) -> None:
    assert fs.glob(f"rucio://test/{SCOPE}/data_A*") == sorted(
        [f"test/{SCOPE}/data_A.GamGam", *fs.ls(url("data_A.GamGam"), detail=False)]
    )
    assert fs.glob(f"rucio://test/{SCOPE}/data_?.GamGam") == [f"test/{SCOPE}/data_{x}.GamGam" for x in "ABCD"]
    assert fs.glob(f"rucio://test/{SCOPE}/data_[AB].GamGam/*_0001.root") == [
        f"test/{SCOPE}/data_{x}.GamGam._0001.root" for x in "AB"
    ]
    assert fs.glob(f"rucio://test/{SCOPE}/nothing*") == []
    assert fs.glob(url(LARGE)) == [f"test/{SCOPE}/{LARGE}"]
    assert fs.glob(url("no.such.file")) == []


def test_what_does_not_exist(lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in (url("no.such"), url("x", "no.scope"), "rucio://test/no.scope"):
        assert not fs.exists(missing)
        with pytest.raises(FileNotFoundError) as caught:
            fs.info(missing)
        assert isinstance(caught.value, NotFound)
        assert_clear(caught.value)
    for address in (url("large"), "rucio://test", f"rucio://test/{SCOPE}"):
        with pytest.raises(IsADirectoryError) as is_folder, fsspec.open(address):
            pass
        assert isinstance(is_folder.value, BadRequest)
        assert_clear(is_folder.value)
    with pytest.raises(FileNotFoundError):
        uproot.open(url("no.such.root"))
    assert fs.exists(url(LARGE))
    lake.faulty["rucio"].refuse()
    configure(lake, monkeypatch, url=f"https://127.0.0.1:{lake.faulty['rucio'].port}", account="alice")
    with pytest.raises(RucioLabError, match="cannot be reached"):
        fs.exists(url("large"))


def test_nothing_can_be_written(lake: FullLake, fs: LakeFileSystem, tmp_path: Path) -> None:
    address = url(LARGE)
    (tmp_path / "x").write_text("x")
    for write in (
        lambda: fs.open(address, "wb"),
        lambda: fs.open(address, "ab"),
        lambda: fs.rm(address),
        lambda: fs.rm_file(address),
        lambda: fs.mkdir(url("new")),
        lambda: fs.makedirs(url("new")),
        lambda: fs.rmdir(url("large")),
        lambda: fs.touch(address),
        lambda: fs.mv(address, url("new")),
        lambda: fs.cp_file(address, url("new")),
        lambda: fs.pipe_file(address, b"x"),
        lambda: fs.pipe(address, b"x"),
        lambda: fs.put_file(str(tmp_path / "x"), address),
        lambda: fs.put(str(tmp_path / "x"), address),
        lambda: fs.write_text(address, "x"),
    ):
        with pytest.raises(PermissionError, match="can only be read") as caught:
            write()
        assert isinstance(caught.value, BadRequest)
    assert fs.exists(address)


def test_reading_parts_and_whole_files(lake: FullLake, fs: LakeFileSystem) -> None:
    content, address = content_of(lake), url(LARGE)
    assert fs.cat_file(address) == content
    assert fs.cat_file(address, -100) == content[-100:]
    assert fs.cat_file(address, 10, -10) == content[10:-10]
    assert fs.cat_file(address, 100, 100) == b""
    assert fs.cat_file(address, np.int64(3), np.int64(9)) == content[3:9]
    assert fs.cat_file(address, len(content) - 5, len(content) + 100) == content[-5:]
    starts, ends = [0, 500, 4_000_000, 7], [10, 3_000_000, len(content), 7]
    assert fs.cat_ranges([address] * 4, starts, ends) == [content[a:b] for a, b in zip(starts, ends, strict=True)]
    other = fs.find(url("data_A.GamGam"))[0]
    assert fs.cat_ranges([address, other, address], [0, 0, 5], [4, 4, 9]) == [content[:4], b"root", content[5:9]]
    assert fs.cat([address, other])[f"test/{SCOPE}/{LARGE}"] == content
    with fs.open(address) as file:
        file.seek(1000)
        assert file.read(50) == content[1000:1050]
        assert file.size == len(content)
    with fsspec.open(address) as file:
        assert file.read() == content


def test_a_part_that_cannot_be_read_is_an_error(lake: FullLake, fs: LakeFileSystem) -> None:
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges([url(LARGE), url("no.such")], [0, 0], [4, 4])
    good, bad = fs.cat_ranges([url(LARGE), url("no.such")], [0, 0], [4, 4], on_error="return")
    assert good == b"root"
    assert isinstance(bad, FileNotFoundError)


def test_copies(lake: FullLake, fs: LakeFileSystem, tmp_path: Path) -> None:
    content = content_of(lake)
    fs.get(url(LARGE), str(tmp_path / "one.root"))
    assert (tmp_path / "one.root").read_bytes() == content
    fs.get(url("GamGam.Data"), str(tmp_path / "all"), recursive=True)
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == [
        file.rpartition("/")[2] for file in fs.find(url("GamGam.Data"))
    ]
    fs.get(url(CMS_DATASET), str(tmp_path / "cms"), recursive=True)
    (copied,) = (tmp_path / "cms").iterdir()
    assert copied.read_bytes() == lake.path("CERN-EOS", SCOPE, CMS_FILE).read_bytes()
    fs.get(fs.glob(f"rucio://test/{SCOPE}/large.G*.root"), str(tmp_path / "some") + "/")
    with pytest.raises(IsADirectoryError):
        fs.get(url("large"), str(tmp_path / "folder"))
    assert not (tmp_path / "folder").exists()


def test_a_copy_with_a_flipped_byte_does_not_appear(lake: FullLake, fs: LakeFileSystem, tmp_path: Path) -> None:
    path = lake.path("WEB-DISK", SCOPE, "web._0001.root")
    content = path.read_bytes()
    try:
        path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
        with pytest.raises(OSError, match="checksum"):
            fs.get(url("web._0001.root"), str(tmp_path / "copy"))
    finally:
        path.write_bytes(content)
    assert list(tmp_path.glob("[!j]*")) == []


@pytest.mark.parametrize("form", ["text", "dict"])
def test_uproot(lake: FullLake, form: str) -> None:
    with uproot.open(f"{url(LARGE)}:mini" if form == "text" else {url(LARGE): "mini"}) as tree:
        here = tree.arrays(BRANCHES)
    with uproot.open({str(lake.path("CERN-EOS", SCOPE, LARGE)): "mini"}) as tree:
        assert here.tolist() == tree.arrays(BRANCHES).tolist()


def test_uproot_iterates(lake: FullLake, fs: LakeFileSystem) -> None:
    files = {f"rucio://{path}": "mini" for path in fs.find(url("data_B.GamGam"))}
    entries = sum(len(chunk) for chunk in uproot.iterate(files, ["photon_pt"]))
    assert entries == sum(count for *_, count in uproot.num_entries(files)) > 0


@pytest.mark.parametrize("scheme", ["root", "http"])
def test_costs_the_same_bytes_and_requests_as_the_direct_url(
    lake: FullLake, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    configure(lake, monkeypatch, schemes=[scheme], rse="CERN-EOS")
    storage = lake.storages[scheme]
    path = lake.path("CERN-EOS", SCOPE, LARGE).relative_to(lake.store)
    direct = f"{storage.url}{'//' if scheme == 'root' else '/'}{path}"

    def cost(address: str) -> tuple[int, int]:
        sent, count = storage.sent(), requests()
        read_branches(address)
        return storage.sent() - sent, requests() - count

    def requests() -> int:
        if isinstance(storage, Nginx):
            return sum(line["method"] == "GET" for line in storage.requests())
        text = Path(storage._log).read_text(errors="replace")  # type: ignore[attr-defined]
        return text.count("Xrootd_Protocol:")

    by_name, by_url = cost(url(LARGE)), cost(direct)
    assert by_url[0] > 0
    assert by_name[0] == by_url[0]
    assert by_name[1] <= by_url[1]


def test_pickles_contain_only_names(lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    with fs.open(url(LARGE)) as file:
        file.read(10)
        pickled = pickle.dumps([fs, file])
    assert lake.token().encode() not in pickled
    assert len(pickled) < 1000
    assert b"rucio_lab.core.filesystem\x94" in pickled  # the path that stays the same
    assert json.loads(fs.to_json())["cls"] == "rucio_lab.core.filesystem:LakeFileSystem"
    again, file = pickle.loads(pickled)
    assert again is fs
    assert file.read(4) == content_of(lake)[10:14]
    file.close()


WORKER = """
import json, sys, warnings
import fsspec
try:
    fs, path = fsspec.url_to_fs(sys.argv[1])
    print(json.dumps([fs.size(path), fs.cat_file(path, 0, 4).decode()]))
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


def test_a_worker_with_only_the_documented_variables(lake: FullLake, tmp_path: Path) -> None:
    keep = ("PATH", "PYTHONPATH", "SSL_CERT_FILE")
    bare = {"HOME": str(tmp_path), **{name: os.environ[name] for name in keep if name in os.environ}}

    def worker(**environment: str) -> Any:
        command = [sys.executable, "-c", WORKER, url(LARGE)]
        done = subprocess.run(
            command, env={**bare, **environment}, capture_output=True, check=True, text=True, timeout=60
        )
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)

    assert worker(RUCIO_LAB_CONFIG=os.environ["RUCIO_LAB_CONFIG"]) == [len(content_of(lake)), "root"]
    kind, said = worker()
    assert kind == "ConfigurationError"
    assert "No Rucio instance is configured" in said
    nobody = lake.config(test={"rucio_cfg": str(lake.rucio_cfg(password=""))})
    kind, said = worker(RUCIO_LAB_CONFIG=str(nobody), HOME=str(tmp_path / "another"))
    assert kind == "SignInNeeded"
    assert "not signed in to test" in said
