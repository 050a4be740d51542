"""Connections that are lost, servers that restart, and storages that are only busy: none of them is given up."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from rucio_lab import attach
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.errors import FilesUnavailable
from rucio_lab.core.filesystem import lake_file
from rucio_lab.core.filesystem.lake_filesystem import LakeFileSystem
from rucio_lab.core.reading import probe
from rucio_lab.core.storage.http_status import wait_of
from rucio_lab.core.transfer.fetch import Fetcher
from tests.lake.content import SCOPE
from tests.lake.faults import TcpProxy
from tests.lake.lake import FullLake
from tests.support.checks import within
from tests.support.downloads import forked, served
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
    assert attach(f"{SCOPE}:{FAULTY}", access="stream")


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


def test_many_kept_connections_may_be_lost_unnoticed(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, content = only_on(lake, monkeypatch, "https"), content_of(lake)
    starts = range(0, 640_000, 20_000)
    expected = [content[start : start + 1000] for start in starts]
    for _ in range(2):
        assert fs.cat_ranges([url(FAULTY)] * 32, list(starts), [start + 1000 for start in starts]) == expected
    proxy.restart_firewall()
    assert fs.cat_file(url(FAULTY), 0, 1000) == expected[0]
    assert fs.cat_ranges([url(FAULTY)] * 32, list(starts), [start + 1000 for start in starts]) == expected


def test_threads_that_wait_for_the_same_replica_fail_together(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = only_on(lake, monkeypatch, "root", patience=2)
    assert fs._lake_file(url(FAULTY)).size
    proxy.silent()

    def fails(number: int) -> bool:
        with pytest.raises(OSError, match="did not answer"):
            fs.cat_file(url(FAULTY), number, number + 10)
        return True

    with within(5), ThreadPoolExecutor(8) as pool:
        assert all(pool.map(fails, range(8)))


def test_a_forked_child_closes_a_file_that_its_parent_opens(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = only_on(lake, monkeypatch, "root", patience=3)
    file = fs.open(url(FAULTY))
    proxy.silent()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(fs.cat_file, url(FAULTY), 0, 10)
        time.sleep(0.3)
        pid = forked(file.close)
        try:
            with within(1):
                while os.waitpid(pid, os.WNOHANG) == (0, 0):
                    assert reading.running()
                    time.sleep(0.05)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            proxy.forward()
        assert reading.exception() is None or "did not answer" in str(reading.exception())


def test_garbage_collection_may_close_a_file_while_it_is_opened(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_on(lake, monkeypatch, "root")
    content, opening = content_of(lake), lake_file.open_replica

    def collected(*args: Any, **kwargs: Any) -> Any:
        gc.collect()
        return opening(*args, **kwargs)

    monkeypatch.setattr(lake_file, "open_replica", collected)
    file = fs.open(url(FAULTY))
    file.itself = file
    del file
    read: Future[bytes] = Future()
    threading.Thread(target=lambda: read.set_result(fs.cat_file(url(FAULTY), 0, 10)), daemon=True).start()
    assert read.result(20) == content[:10]


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
    assert attach(f"{SCOPE}:{FAULTY}", access="stream")
    probe.forget()
    proxy.refuse()
    with pytest.raises(OSError, match="cannot be read from any of its replicas"):
        fs.cat_file(url(FAULTY), 0, 200_000)
    with within(5):
        while not probe.is_known(where):  # it is asked in the background
            time.sleep(0.05)
    with pytest.raises(FilesUnavailable, match="refuses connections"):
        attach(f"{SCOPE}:{FAULTY}", access="stream")


@pytest.mark.parametrize("paths", [[FAULTY], [FAULTY, "faulty.https._0001.root"]], ids=["one", "two"])
def test_an_interrupt_ends_the_wait_for_a_busy_storage(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, later: list[threading.Timer], paths: list[str]
) -> None:
    only_on(lake, monkeypatch, "https", patience=12).answer_http(503, Retry_After="10")
    later.append(threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)))
    later[0].start()
    with within(2), pytest.raises(KeyboardInterrupt):
        fs.cat_ranges([url(path) for path in paths], 0, 10)


@pytest.mark.parametrize(
    "said",
    ["0", "-5", "", "soon", "Mon, 01 Jan 999999999999999999999 00:00:00 GMT"],
)
def test_a_storage_may_ask_for_nonsense(said: str) -> None:
    assert wait_of(said) == 1
    assert wait_of("Fri, 31 Dec 9999 23:59:59 -0100") > 1e9


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y", "%A, %d-%b-%y %H:%M:%S GMT"])
def test_every_form_of_a_date_is_in_utc(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert 15 < wait_of((datetime.now(UTC) + timedelta(seconds=20)).strftime(form)) <= 20
    finally:
        monkeypatch.undo()
        time.tzset()


def in_three_seconds() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)


@pytest.mark.parametrize(
    ("status", "asks"), [(503, "2"), (429, "date"), (503, ""), (429, "soon")], ids=["seconds", "date", "absent", "odd"]
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
    header = in_three_seconds() if asks == "date" else asks
    proxy.answer_http(status, **({"Retry_After": header} if header else {}))
    assert attach(f"{SCOPE}:{FAULTY}", access="stream")  # it is not dead
    assert fs._lake_file(url(FAULTY)).size
    proxy.forget()
    later.append(threading.Timer(1.5 if asks in ("2", "date") else 0.5, proxy.forward))
    later[0].start()
    with within(6):
        assert fs.cat_file(url(FAULTY), 0, 10) == content[:10]
    assert proxy.connections <= 2  # it was not asked again earlier than it had said


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
