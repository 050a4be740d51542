"""``rucio://``: names, listings, reads that move what the direct URL moves, and replicas that fail in every way."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import uproot

from rucio_lab.core.address import Address, lake_url
from rucio_lab.core.catalogue import read_ahead
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, NotFound, RucioLabError
from rucio_lab.core.filesystem import lake_file
from rucio_lab.core.filesystem.lake_filesystem import LakeFileSystem
from rucio_lab.core.reading import probe
from tests.lake.content import CMS_DATASET, CMS_FILE, HOSTILE, HOSTILE_NAMES, SCOPE
from tests.lake.lake import FullLake
from tests.lake.storages import Nginx
from tests.support.checks import assert_clear, within

LARGE = "large.GamGam._0001.root"
FAULTY = "large.faulty._0001.root"
BRANCHES = ["photon_pt", "photon_eta"]


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    forget()
    yield
    forget()


def forget() -> None:
    probe.forget()
    lake_file._files.clear()
    read_ahead.forget()


@pytest.fixture
def fs() -> LakeFileSystem:
    return fsspec.filesystem("rucio")


def configure(lake: FullLake, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    known = {"storage": {"ca": str(lake.authority.ca), "timeout": 1.0, "patience": 1.5, **settings.pop("storage", {})}}
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config(test={**known, **settings})))


def url(name: str, scope: str = SCOPE) -> str:
    return lake_url("test", DID(scope, name))


def content_of(lake: FullLake, name: str = LARGE, rse: str = "CERN-EOS") -> bytes:
    return lake.path(rse, SCOPE, name).read_bytes()


# ------------------------------------------------------------------------------------------------ names


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


# ------------------------------------------------------------------------------------------------ listings


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


def test_what_is_below(lake: FullLake, fs: LakeFileSystem) -> None:
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


def test_what_is_not_there(lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
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


# ------------------------------------------------------------------------------------------------ reading


def test_parts_and_wholes(lake: FullLake, fs: LakeFileSystem) -> None:
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


def test_a_part_that_cannot_be_had_is_no_data(lake: FullLake, fs: LakeFileSystem) -> None:
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


def read_branches(address: str) -> list[Any]:
    with uproot.open({address: "mini"}) as tree:
        branches: list[Any] = tree.arrays(BRANCHES).tolist()
    return branches


@pytest.mark.parametrize("scheme", ["root", "http"])
def test_bytes_and_requests_equal_those_of_the_direct_url(
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


# ------------------------------------------------------------------------------------------------ failover


def on_faulty(lake: FullLake, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """Make the faulty server of a scheme the first choice, and another storage the next."""
    configure(lake, monkeypatch, schemes=[scheme, "http"], rse=f"FAULTY-{scheme.upper()}|WEB-DISK")


def break_it(lake: FullLake, scheme: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lake.path("FAULTY-ROOT", SCOPE, FAULTY)
    if how == "gone":
        path.rename(path.with_suffix(".away"))
    elif how == "short":
        path.with_suffix(".away").write_bytes(path.read_bytes())
        os.truncate(path, 1_000_000)
    elif how.isdigit():
        lake.faulty[scheme].answer_http(int(how))
    elif how == "cut":
        lake.faulty[scheme].cut(10_000)
    else:
        getattr(lake.faulty[scheme], how)()


@pytest.fixture
def mended(lake: FullLake) -> Iterator[None]:
    yield
    path = lake.path("FAULTY-ROOT", SCOPE, FAULTY)
    if path.with_suffix(".away").exists():
        path.with_suffix(".away").replace(path)


WAYS = [
    *((scheme, how) for scheme in ("root", "https") for how in ("refuse", "silent", "reset", "gone", "short", "cut")),
    ("https", "401"),
    ("https", "403"),
    ("https", "500"),
    ("https", "200"),
]


@pytest.mark.usefixtures("mended")
@pytest.mark.parametrize("when", ["before", "during"])
@pytest.mark.parametrize(("scheme", "how"), WAYS)
def test_the_next_replica_takes_over(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, scheme: str, how: str, when: str
) -> None:
    on_faulty(lake, monkeypatch, scheme)
    content = content_of(lake)
    if when == "during":
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert fs.cat_file(url(FAULTY), 0, 50_000) == content[:50_000]
        if scheme == "root" and how in ("gone", "short"):
            pytest.skip("an open file stays whole")
    break_it(lake, scheme, how, monkeypatch)
    starts = list(range(1_100_000, 1_900_000, 40_000))
    with warnings.catch_warnings(record=True) as caught, within(3):
        warnings.simplefilter("always")
        parts = fs.cat_ranges([url(FAULTY)] * len(starts), starts, [start + 20_000 for start in starts])
        assert parts == [content[start : start + 20_000] for start in starts]
        assert fs.cat_file(url(FAULTY), 5, 500) == content[5:500]
    (warning,) = [each for each in caught if "large.faulty" in str(each.message)]
    assert str(warning.message).startswith(f"{SCOPE}:{FAULTY}: FAULTY-{scheme.upper()} ({scheme}://127.0.0.1:")
    assert "Reading goes on from WEB-DISK (http://127.0.0.1:" in str(warning.message)


@pytest.mark.usefixtures("mended")
def test_when_all_fail_each_is_named(lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(lake, monkeypatch, rse="FAULTY-ROOT|FAULTY-HTTPS")
    lake.faulty["root"].refuse()
    lake.faulty["https"].answer_http(403)
    with within(4), pytest.raises(OSError, match="cannot be read from any of its replicas") as caught:
        fs.cat_file(url(FAULTY))
    said = str(caught.value)
    assert "FAULTY-ROOT (root://127.0.0.1:" in said
    assert "FAULTY-HTTPS (https://127.0.0.1:" in said
    assert "HTTP 403" in said
    assert isinstance(caught.value, RucioLabError)
    assert_clear(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == said
    with pytest.raises(OSError, match="any of its replicas"):
        uproot.open(url(FAULTY))


def test_the_only_replica_is_given_more_time(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(lake, monkeypatch, rse="FAULTY-HTTP", storage={"timeout": 0.5, "patience": 5})
    lake.faulty["http"].delay(1)
    assert fs.cat_file(url("faulty.http._0001.root"), 0, 4) == b"root"


def test_a_slow_replica_is_the_last_chance(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, mended: None
) -> None:
    configure(lake, monkeypatch, rse="FAULTY-ROOT|FAULTY-HTTPS", storage={"timeout": 0.5, "patience": 8})
    lake.faulty["root"].refuse()
    lake.faulty["https"].delay(0.7)
    assert fs.cat_file(url(FAULTY), 0, 4) == b"root"


def test_a_replica_that_failed_is_not_tried_first_again(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_faulty(lake, monkeypatch, "https")
    lake.faulty["https"].silent()
    with pytest.warns(UserWarning, match="did not answer"):
        fs.cat_file(url(FAULTY), 0, 10)
    with within(0.3), warnings.catch_warnings():
        warnings.simplefilter("error")
        lake_file._files.clear()
        fs.cat_file(url(FAULTY), 0, 10)
    where = ("FAULTY-HTTPS", f"https://127.0.0.1:{lake.faulty['https'].port}")
    assert probe.fault_of(where)


def test_a_dead_mount_is_left_for_the_next_replica(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / lake.path("CERN-EOS", SCOPE, LARGE).relative_to(lake.store / "eos")
    path.parent.mkdir(parents=True)
    os.mkfifo(path)  # to open it blocks, as a dead network mount does
    configure(lake, monkeypatch, mounts={"CERN-EOS": {"prefix": "/eos/", "folder": str(tmp_path)}})
    with within(2), pytest.warns(UserWarning, match="did not answer within 1 s. Reading goes on from CERN-EOS"):
        assert fs.cat_file(url(LARGE), 0, 4) == b"root"
    with within(0.5):
        assert fs.cat_file(url(LARGE), 4, 9) == content_of(lake)[4:9]
    path.unlink()
    path.symlink_to(lake.path("CERN-EOS", SCOPE, LARGE))
    forget()
    sent = lake.storages["root"].sent()
    assert fs.cat_file(url(LARGE), 100, 900) == content_of(lake)[100:900]
    assert lake.storages["root"].sent() == sent


def test_threads_that_meet_a_dead_storage_warn_once(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_faulty(lake, monkeypatch, "https")
    lake.faulty["https"].refuse()
    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(12) as pool:
        warnings.simplefilter("always")
        assert set(pool.map(lambda start: fs.cat_file(url(FAULTY), start, start + 4), [0] * 24)) == {b"root"}
    assert len([each for each in caught if "Reading goes on" in str(each.message)]) == 1


@pytest.mark.parametrize("scheme", ["root", "https"])
def test_threads_go_on_when_their_storage_dies(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    on_faulty(lake, monkeypatch, scheme)
    content = content_of(lake)

    def part(number: int) -> bool:
        if number == 40:
            lake.faulty[scheme].reset()
        start = number * 10_007
        return fs.cat_file(url(FAULTY), start, start + 5000) == content[start : start + 5000]

    with pytest.warns(UserWarning, match="Reading goes on from WEB-DISK"), ThreadPoolExecutor(8) as pool:
        assert all(list(pool.map(part, range(120))))


def test_the_replica_in_use_is_kept(lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the failure of a better one is forgotten, it is not tried again in the middle of a file."""
    on_faulty(lake, monkeypatch, "https")
    lake.faulty["https"].refuse()
    with fs.open(url(FAULTY)) as file:
        with pytest.warns(UserWarning, match="Reading goes on from WEB-DISK"):
            assert file.read(4) == b"root"
        probe.forget()
        lake_file.known_file(load_instances().get(), DID(SCOPE, FAULTY))._bad.clear()  # type: ignore[union-attr]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert fs.cat_file(url(FAULTY), 0, 4) == b"root"


@pytest.mark.usefixtures("mended")
def test_replicas_that_moved_are_asked_for_again(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(lake, monkeypatch, schemes=["http"], rse="WEB-DISK")
    assert fs.cat_file(url(FAULTY), 0, 4) == b"root"
    path = lake.path("WEB-DISK", SCOPE, FAULTY)
    file = lake_file.known_file(load_instances().get(), DID(SCOPE, FAULTY))
    assert file is not None
    file._asked -= 10  # some time later
    path.rename(path.with_suffix(".away"))
    try:
        with pytest.raises(OSError, match="has no such file"):
            fs.cat_file(url(FAULTY), 0, 4)
        asked: list[Any] = []
        real = read_ahead._rows_of
        monkeypatch.setattr(read_ahead, "_rows_of", lambda *args: asked.append(args) or real(*args))
        file._asked -= 10
        with pytest.raises(OSError, match="has no such file"):
            fs.cat_file(url(FAULTY), 0, 4)
        assert len(asked) == 1
    finally:
        path.with_suffix(".away").rename(path)


@pytest.mark.parametrize("scheme", ["root", "https"])
def test_an_interrupt_is_heeded_at_once(lake: FullLake, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    configure(lake, monkeypatch, schemes=[scheme], rse=f"FAULTY-{scheme.upper()}", storage={"patience": 60})
    lake.faulty[scheme].silent()
    code = (
        "import fsspec, os, signal, sys, threading; fs = fsspec.filesystem('rucio'); fs.info(sys.argv[1]);"
        "threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start(); fs.cat_file(sys.argv[1])"
    )
    with within(8):
        done = subprocess.run([sys.executable, "-c", code, url(FAULTY)], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "\nKeyboardInterrupt\n" in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_file_without_replicas(lake: FullLake, fs: LakeFileSystem) -> None:
    with pytest.raises(OSError, match="Rucio has no replica of it"):
        fs.cat_file(url("no.replica._0001.root"))
    with pytest.raises(OSError, match="it is on tape"):
        fs.cat_file(url("on.tape._0001.root"))
    assert fs.exists(url("no.replica._0001.root"))


def test_rucio_is_asked_once(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    rucio = lake.faulty["rucio"]
    configure(lake, monkeypatch, url=f"https://127.0.0.1:{rucio.port}", auth_url=lake.url)
    read_branches(url(LARGE))
    rucio.forget()
    read_branches(url(LARGE))
    assert rucio.received == 0


def test_files_of_a_list_are_looked_up_together(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [Address.parse(path).did for path in fs.find(url("GamGam"))]
    rucio = lake.faulty["rucio"]
    configure(lake, monkeypatch, url=f"https://127.0.0.1:{rucio.port}", auth_url=lake.url)
    read_ahead.expect(load_instances().get(), names)
    for did in names[:2]:
        fs.cat_file(lake_url("test", did), 0, 4)
    rucio.forget()
    for did in names[2:]:
        assert fs.cat_file(lake_url("test", did), 0, 4) == b"root"
    assert rucio.received == 0


# ------------------------------------------------------------------------------------------------ credentials


def test_storages_that_want_credentials(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(lake.issuer.token())
    token.chmod(0o600)
    configure(lake, monkeypatch, storage={"token_file": str(token), "proxy": str(lake.users["alice"].pem)})
    for name in ("token", "door", "roots", "certificate"):
        with uproot.open({url(f"{name}._0001.root"): "mini"}) as tree:
            assert tree.num_entries > 0
    lake_file._files.clear()
    configure(lake, monkeypatch)
    with pytest.raises(
        OSError, match=r"TOKEN-DISK .* asks for credentials \(HTTP 403\); no storage token is configured"
    ):
        fs.cat_file(url("token._0001.root"))


def test_pickles_hold_nothing_but_names(lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    with fs.open(url(LARGE)) as file:
        file.read(10)
        pickled = pickle.dumps([fs, file])
    assert lake.token().encode() not in pickled
    assert len(pickled) < 1000
    again, file = pickle.loads(pickled)
    assert again is fs
    assert file.read(4) == content_of(lake)[10:14]
    file.close()


# ------------------------------------------------------------------------------------------------ threads, processes


def test_many_threads(lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    content = content_of(lake)
    asked: list[Any] = []
    real = read_ahead._rows_of
    monkeypatch.setattr(read_ahead, "_rows_of", lambda *args: asked.append(args) or real(*args))

    def part(number: int) -> bool:
        start = number * 10_007
        return fs.cat_file(url(LARGE), start, start + 5000) == content[start : start + 5000]

    with ThreadPoolExecutor(24) as pool:
        assert all(pool.map(part, range(150)))
    assert len(asked) == 1


@pytest.mark.parametrize("scheme", ["root", "https"])
def test_after_a_fork(lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    configure(lake, monkeypatch, schemes=[scheme, "http"], rse="FAULTY-ROOT|FAULTY-HTTPS|WEB-DISK")
    content = content_of(lake)
    file = fs.open(url(FAULTY))
    assert file.read(10) == content[:10]
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            good = fs.cat_file(url(FAULTY), 6_000, 9_000) == content[6_000:9_000]
            file.seek(3_000_000)
            good = good and file.read(100) == content[3_000_000:3_000_100]
            os._exit(0 if good else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert fs.cat_file(url(FAULTY), 20, 30) == content[20:30]
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


def test_a_worker_with_nothing_but_the_documented_variables(lake: FullLake, tmp_path: Path) -> None:
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
