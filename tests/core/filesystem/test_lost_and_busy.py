"""Connections that are lost, servers that restart, and storages that are only busy: none of them is given up."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from rucio_lab import attach
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.errors import FilesUnavailable
from rucio_lab.core.filesystem.lake_filesystem import LakeFileSystem
from rucio_lab.core.reading import probe
from rucio_lab.core.transfer.fetch import Fetcher
from tests.lake.content import SCOPE
from tests.lake.faults import TcpProxy
from tests.lake.lake import FullLake
from tests.support.checks import within
from tests.support.downloads import served
from tests.support.lake_files import FAULTY, configure, content_of, url


def only_on(lake: FullLake, monkeypatch: pytest.MonkeyPatch, scheme: str, patience: float = 8) -> TcpProxy:
    """Leave one replica, on the faulty server of a scheme."""
    rse, storage = f"FAULTY-{scheme.upper()}", {"timeout": 2, "patience": patience}
    configure(lake, monkeypatch, schemes=[scheme], rse=rse, storage=storage)
    return lake.faulty[scheme]


@pytest.fixture
def later() -> Iterator[list[threading.Timer]]:
    timers: list[threading.Timer] = []
    yield timers
    for timer in timers:
        timer.join()


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.mark.parametrize("scheme", ["root", "https"])
def test_a_lost_connection_is_opened_anew(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    proxy, content = only_on(lake, monkeypatch, scheme), content_of(lake)
    with fs.open(url(FAULTY), block_size=1000, cache_type="none") as file:
        for start in (0, 5_000, 700_000):
            file.seek(start)
            assert file.read(10) == content[start : start + 10]
            proxy.drop()
            time.sleep(0.3)
    assert attach(f"{SCOPE}:{FAULTY}", access="lake")


@pytest.mark.parametrize("scheme", ["root", "https"])
def test_many_threads_survive_a_lost_connection(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    proxy, content = only_on(lake, monkeypatch, scheme), content_of(lake)

    def part(number: int) -> bool:
        if number in (40, 80):
            proxy.drop()
        start = number * 10_007
        return fs.cat_file(url(FAULTY), start, start + 5000) == content[start : start + 5000]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(part, range(120)))


def test_a_stalled_connection_is_replaced(lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, content = only_on(lake, monkeypatch, "root", patience=2), content_of(lake)
    assert fs.cat_file(url(FAULTY), 0, 10) == content[:10]
    proxy.stall()
    with within(4):
        assert fs.cat_file(url(FAULTY), 500_000, 500_010) == content[500_000:500_010]
    with within(1):
        assert fs.cat_file(url(FAULTY), 700_000, 700_010) == content[700_000:700_010]


@pytest.mark.parametrize("scheme", ["root", "https"])
def test_a_server_may_restart_in_the_middle(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, scheme: str, later: list[threading.Timer]
) -> None:
    proxy, content = only_on(lake, monkeypatch, scheme), content_of(lake)
    assert fs.cat_file(url(FAULTY), 0, 10) == content[:10]
    proxy.refuse()
    later.append(threading.Timer(1, proxy.forward))
    later[0].start()
    assert fs.cat_file(url(FAULTY), 500_000, 500_010) == content[500_000:500_010]


@pytest.mark.parametrize("scheme", ["root", "https"])
def test_only_a_probe_calls_a_server_dead(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    proxy = only_on(lake, monkeypatch, scheme, patience=1)
    proxy.cut(30_000)  # enough for a probe, but not for a read
    with pytest.raises(OSError, match="cannot be read from any of its replicas"):
        fs.cat_file(url(FAULTY), 0, 200_000)
    where = (f"FAULTY-{scheme.upper()}", f"{scheme}://127.0.0.1:{proxy.port}")
    reason = probe.fault_of(where)
    assert reason is None or not reason.is_down
    assert attach(f"{SCOPE}:{FAULTY}", access="lake")
    proxy.refuse()
    with pytest.raises(OSError, match="cannot be read from any of its replicas"):
        fs.cat_file(url(FAULTY), 0, 200_000)
    with pytest.raises(FilesUnavailable, match="refuses connections"):
        attach(f"{SCOPE}:{FAULTY}", access="stream")


def in_two_seconds() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)


@pytest.mark.parametrize(
    ("status", "asks"), [(503, "1"), (429, "date"), (503, ""), (429, "soon")], ids=["seconds", "date", "absent", "odd"]
)
def test_a_busy_storage_is_waited_for(
    lake: FullLake,
    fs: LakeFileSystem,
    monkeypatch: pytest.MonkeyPatch,
    later: list[threading.Timer],
    status: int,
    asks: str,
) -> None:
    proxy, content = only_on(lake, monkeypatch, "https"), content_of(lake)
    header = in_two_seconds() if asks == "date" else asks
    proxy.answer_http(status, **({"Retry_After": header} if header else {}))
    assert attach(f"{SCOPE}:{FAULTY}", access="lake")  # it is not dead
    later.append(threading.Timer(0.5, proxy.forward))
    later[0].start()
    with within(6):
        assert fs.cat_file(url(FAULTY), 0, 10) == content[:10]


def test_a_storage_that_asks_for_more_than_our_patience_is_given_up(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_on(lake, monkeypatch, "https").answer_http(503, Retry_After="300")
    with within(2), pytest.raises(OSError, match=r"is busy \(HTTP 503\), and asks to wait 300 s") as caught:
        fs.cat_file(url(FAULTY), 0, 10)
    assert "raise patience" in str(caught.value)


def test_another_replica_comes_before_waiting(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(lake, monkeypatch, schemes=["https", "http"], rse="FAULTY-HTTPS|WEB-DISK")
    lake.faulty["https"].answer_http(503, Retry_After="1")
    with within(0.8), pytest.warns(UserWarning, match="is busy"):
        assert fs.cat_file(url(FAULTY), 0, 10) == content_of(lake)[:10]


def test_a_download_waits_for_a_busy_storage(lake: FullLake, tmp_path: Path, later: list[threading.Timer]) -> None:
    proxy = lake.faulty["http"]
    (file,) = served(lake, {"busy": bytes(5_000)}, proxy.port)
    proxy.answer_http(503, Retry_After="1")
    later.append(threading.Timer(2.5, proxy.forward))
    later[0].start()
    (outcome,) = Fetcher(load_instances().get(), [(file, ("busy",))], tmp_path, parallel=1).run()
    assert (outcome.state, (tmp_path / "busy").stat().st_size) == ("fetched", 5_000)
    (file,) = served(lake, {"busier": bytes(5_000)}, proxy.port)
    proxy.answer_http(503, Retry_After="300")
    with within(2):
        (outcome,) = Fetcher(load_instances().get(), [(file, ("busier",))], tmp_path, parallel=1).run()
    assert "asks to wait 300 s" in outcome.reason
