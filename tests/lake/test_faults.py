"""The proxies of the test lake fail on request."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import pytest
import requests
import uproot

from rucio_lab.demo.content import SCOPE
from tests.lake.lake import FullLake
from tests.lake.queries import connect, replicas, web_path
from tests.support.processes import wait_until


@pytest.fixture
def url(lake: FullLake) -> str:
    """An address on the storage http, through its proxy."""
    path = lake.path("FAULTY-HTTP", SCOPE, "faulty.http._0001.root")
    lake.faulty["http"].forget()
    return f"http://127.0.0.1:{lake.faulty['http'].port}{web_path(path, lake)}"


def test_the_faulty_rses_are_behind_proxies(lake: FullLake) -> None:
    for scheme in ("root", "http", "https"):
        proxy = lake.faulty[scheme]
        proxy.forget()
        (row,) = replicas(lake, f"faulty.{scheme}")
        (pfn,) = row["pfns"]
        assert urlsplit(pfn).port == proxy.port
        with uproot.open({pfn.partition("&#")[0]: "mini"}) as tree:
            assert tree.num_entries > 10
        assert proxy.sent > 1000  # XRootD may reuse a connection of an earlier test


def test_a_proxy_forwards_and_counts(lake: FullLake, url: str) -> None:
    proxy = lake.faulty["http"]
    size, again = (len(requests.get(url, timeout=5).content) for _ in range(2))
    assert size == again > 10_000
    assert proxy.connections == 2
    assert 2 * size < proxy.sent < 2 * size + 2000
    assert 50 < proxy.received < 2000


def test_a_proxy_refuses_resets_and_stays_silent(lake: FullLake, url: str) -> None:
    proxy = lake.faulty["http"]
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy.port)
    proxy.reset()
    with pytest.raises(ConnectionResetError), connect(proxy.port) as connection:
        connection.recv(1)
    proxy.silent()
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(url, timeout=0.3)
    proxy.forward()
    assert requests.get(url, timeout=5).status_code == 200


def test_a_proxy_silences_and_closes_open_connections(lake: FullLake, url: str) -> None:
    proxy = lake.faulty["http"]
    with requests.Session() as session:
        assert session.get(url, timeout=5).status_code == 200
        proxy.silent()
        with pytest.raises(requests.exceptions.ReadTimeout):
            session.get(url, timeout=0.3)
    proxy.forward()
    with connect(proxy.port) as first, connect(proxy.port) as second:
        wait_until(lambda: proxy.connections == 3)
        proxy.drop()
        assert first.recv(1) == b""
        assert second.recv(1) == b""
    with connect(proxy.port) as reset:
        wait_until(lambda: proxy.connections == 4)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            reset.recv(1)


def test_a_proxy_delays(lake: FullLake, url: str) -> None:
    lake.faulty["http"].delay(0.2)
    begin = time.monotonic()
    assert requests.get(url, timeout=5).status_code == 200
    assert 0.35 < time.monotonic() - begin < 2


def test_a_proxy_limits_the_rate(lake: FullLake, url: str) -> None:
    size = len(requests.get(url, timeout=5).content)
    lake.faulty["http"].far(0.1, size / 0.5)
    begin = time.monotonic()
    assert len(requests.get(url, timeout=5).content) == size
    assert 0.6 < time.monotonic() - begin < 4


def test_a_proxy_closes_after_a_number_of_bytes(lake: FullLake, url: str) -> None:
    proxy = lake.faulty["http"]
    proxy.cut(5000)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _ = requests.get(url, timeout=5).content
    assert proxy.sent == 5000


def test_a_proxy_sends_a_given_answer(lake: FullLake, url: str) -> None:
    lake.faulty["http"].answer(b"\x00\x01 rubbish")
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(url, timeout=5)
    rucio = lake.faulty["rucio"]
    rucio.answer_http(503, "<h1>Down for maintenance</h1>", Retry_After="60")
    answer = requests.get(f"https://127.0.0.1:{rucio.port}/ping", verify=str(lake.authority.ca), timeout=5)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    rucio.forward()
    answer = requests.get(f"https://127.0.0.1:{rucio.port}/ping", verify=str(lake.authority.ca), timeout=5)
    assert answer.json()["version"]
