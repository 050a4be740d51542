from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from rucio_lab.core.errors import RucioLabError
from rucio_lab.demo.file_server import Traffic, folder_of, start_storage, stop_storage
from rucio_lab.demo.lake import Storage
from rucio_lab.demo.processes import Children
from tests.support.processes import wait_until

CONTENT = random.Random(1).randbytes(3_000_000)
Get = Callable[..., requests.Response]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = Storage(tmp_path / "storage")
    (storage.root / "a").mkdir()
    (storage.root / "a" / "f 1.root").write_bytes(CONTENT)
    (storage.root / "b.root").write_bytes(CONTENT[:1000])
    (tmp_path / "storage" / "secret").write_text("secret")
    with Children(tmp_path / "logs") as children:
        storage.wait_ready(storage.start(children))
        yield storage


@pytest.fixture
def get(storage: Storage) -> Get:
    def get(path: str, method: str = "GET", **headers: str) -> requests.Response:
        session = requests.Session()
        session.trust_env = False
        return session.request(method, f"http://127.0.0.1:{storage.port}/{path}", headers=headers)

    return get


def records(storage: Storage, count: int) -> list[dict[str, Any]]:
    """Wait until a number of file requests are in the log, which is written just after each answer."""

    def found() -> list[dict[str, Any]]:
        lines = map(json.loads, storage.log.read_text().splitlines())
        return [line for line in lines if line["path"] != "/"]  # the readiness check asks for /

    wait_until(lambda: len(found()) >= count, seconds=10)
    return found()


def test_a_whole_file_is_sent_and_counted(storage: Storage, get: Get) -> None:
    assert get("a/f%201.root").content == CONTENT
    (record,) = records(storage, 1)
    assert (record["method"], record["path"], record["status"]) == ("GET", "/a/f 1.root", 200)
    assert (record["range"], record["start"], record["sent"]) == (None, 0, len(CONTENT))
    assert storage.traffic() == Traffic(sent=len(CONTENT), touched=1, whole=1)


def test_ranges_are_sent_and_counted_exactly(storage: Storage, get: Get) -> None:
    first, last = get("a/f%201.root", Range="bytes=1000-500999"), get("a/f%201.root", Range="bytes=-10")
    assert (first.status_code, first.content) == (206, CONTENT[1000:501000])
    assert last.content == CONTENT[-10:]
    assert [(r["start"], r["sent"]) for r in records(storage, 2)] == [(1000, 500_000), (len(CONTENT) - 10, 10)]
    assert storage.traffic() == Traffic(sent=500_010, touched=1, whole=0)


def test_a_file_read_in_overlapping_parts_counts_as_downloaded_once_all_of_it_was_sent(
    storage: Storage, get: Get
) -> None:
    for part in ("bytes=0-599", "bytes=400-799", "bytes=400-799"):
        get("b.root", Range=part)
    records(storage, 3)
    assert storage.traffic() == Traffic(sent=1400, touched=1, whole=0)
    get("b.root", Range="bytes=800-999")
    records(storage, 4)
    assert storage.traffic() == Traffic(sent=1600, touched=1, whole=1)


def test_head_sends_no_content(storage: Storage, get: Get) -> None:
    answer = get("b.root", method="HEAD")
    assert (answer.headers["Content-Length"], answer.headers["Accept-Ranges"]) == ("1000", "bytes")
    assert records(storage, 1)[0]["sent"] == 0
    assert storage.traffic() == Traffic(0, 0, 0)


def test_for_a_client_that_disconnects_the_sent_bytes_are_counted(storage: Storage) -> None:
    (storage.root / "large.root").write_bytes(bytes(200_000_000))
    with socket.create_connection(("127.0.0.1", storage.port)) as reader:
        reader.sendall(b"GET /large.root HTTP/1.1\r\nHost: lake\r\n\r\n")
        received = len(reader.recv(100_000))
    (record,) = records(storage, 1)
    assert received / 2 < record["sent"] < 50_000_000


@pytest.mark.parametrize("path", ["../secret", "a/../../secret", "%2e%2e/secret", "a/..%2f..%2fsecret", "/etc/passwd"])
def test_paths_do_not_escape_the_folder(storage: Storage, path: str) -> None:
    with socket.create_connection(("127.0.0.1", storage.port)) as reader:  # requests would normalise the path
        reader.sendall(f"GET /{path} HTTP/1.1\r\nHost: lake\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: reader.recv(4096), b""))
    assert answer.split()[1] in {b"403", b"404"}
    assert b"secret\n" not in answer
    assert b"root:" not in answer


def test_nothing_can_be_written(storage: Storage, get: Get) -> None:
    assert get("b.root", method="PUT").status_code == 405
    assert get("b.root", method="DELETE").status_code == 405
    assert (storage.root / "b.root").read_bytes() == CONTENT[:1000]


def test_it_can_be_stopped_and_started_from_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(folder_of(tmp_path, "DEMO-DISK"))
    (storage.root / "f").write_bytes(CONTENT)
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(tmp_path / "rucio_lab.toml"))
    with Children(tmp_path / "logs") as children:
        storage.wait_ready(storage.start(children))
        reader = socket.create_connection(("127.0.0.1", storage.port))
        reader.sendall(b"HEAD /f HTTP/1.1\r\nHost: x\r\n\r\n")
        assert reader.recv(10_000)
        for _ in range(2):
            stop_storage("DEMO-DISK")
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", storage.port))
            start_storage("DEMO-DISK")
            socket.create_connection(("127.0.0.1", storage.port)).close()
        assert reader.recv(1) == b""  # the open connection was closed


def test_only_storages_of_a_demo_lake_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(tmp_path / "rucio_lab.toml"))
    with pytest.raises(RucioLabError, match="does not run on a demo lake"):
        stop_storage("DEMO-DISK")
    Storage(folder_of(tmp_path, "DEMO-DISK"))
    with pytest.raises(RucioLabError, match=r"no storage '../x'.* It has DEMO-DISK"):
        stop_storage("../x")
    monkeypatch.delenv("RUCIO_LAB_CONFIG")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RucioLabError, match="does not run on a demo lake"):
        start_storage("DEMO-DISK")
