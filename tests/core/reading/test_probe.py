"""Probes of real servers with all kinds of answers, and of paths that hang."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from rucio_lab.core.model import Replica
from rucio_lab.core.reading import probe
from tests.lake.faults import TcpProxy
from tests.lake.lake import FullLake
from tests.support.checks import within


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    probe.forget()
    yield
    probe.forget()


@pytest.fixture
def server() -> Iterator[TcpProxy]:
    with TcpProxy(0) as proxy:
        yield proxy


def is_alive(where: probe.Endpoint) -> bool:
    return probe.is_known(where) and probe.fault_of(where) is None


def judge(url: str, rse: str = "RSE") -> str:
    replica = Replica(rse, url)
    probe.probe([replica])
    assert probe.is_known(probe.endpoint(replica))
    verdict = str(probe.fault_of(probe.endpoint(replica)) or "")
    assert "\n" not in verdict
    return verdict


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (206, ""),
        (404, ""),
        (416, ""),
        (200, "does not serve parts"),
        (204, "HTTP 204"),
        (400, "credentials"),
        (401, "credentials"),
        (403, "credentials"),
        (405, "HTTP 405"),
        (429, ""),
        (500, "HTTP 500"),
        (503, ""),
    ],
)
def test_statuses_of_a_web_server(server: TcpProxy, status: int, words: str) -> None:
    server.answer_http(status, "" if status == 204 else "x" * 100)
    verdict = judge(f"http://127.0.0.1:{server.port}/file")
    assert words in verdict
    assert bool(verdict) is bool(words)


def test_statuses_for_an_empty_file(server: TcpProxy) -> None:
    server.answer_http(200, "")
    assert judge(f"http://127.0.0.1:{server.port}/file") == ""
    server.answer_http(403, "")
    assert "credentials" in judge(f"http://127.0.0.1:{server.port}/file")


def test_a_redirect_from_https_to_http(lake: FullLake) -> None:
    """Other readers would follow it, so such a storage is left out unless the site allows it."""
    own = {"certificate": lake.authority.server_cert, "key": lake.authority.server_key}
    target = f"{lake.storages['http'].url}/open"
    with TcpProxy(0, **own) as server:
        server.answer_http(302, "", Location=target)
        url = f"https://localhost:{server.port}/file"
        verdict = judge(url)
        assert "from https to plain http" in verdict
        assert "redirects_to_http" in verdict
        assert judge(f"https://127.0.0.1:{server.port}/file", "OTHER")
        probe.forget()
        probe.probe([Replica("RSE", url)], ["localhost"])
        assert "plain http" not in str(probe.fault_of(probe.endpoint(Replica("RSE", url))))


@pytest.mark.parametrize("scheme", ["root", "http", "https"])
@pytest.mark.parametrize("how", ["refuse", "silent", "reset", "rubbish", "nothing"])
def test_a_server_that_does_not_work(server: TcpProxy, scheme: str, how: str) -> None:
    if how in ("rubbish", "nothing"):
        server.answer(b"220 Welcome to this FTP server\r\n" if how == "rubbish" else b"")
    else:
        getattr(server, how)()
    with within(probe.TIMEOUT + 1):
        assert judge(f"{scheme}://127.0.0.1:{server.port}//file")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("root://no.such.host.invalid//f", "cannot be reached"),
        ("http://no.such.host.invalid/f", "cannot be reached"),
        ("root://two..dots//f", "invalid address"),
        ("http://two..dots/f", ""),
        ("root://[::1]:1//f", "refuses"),
        ("http://[::1]:1/f", "refuses"),
    ],
)
def test_an_address_without_a_server(url: str, words: str) -> None:
    verdict = judge(url)
    assert verdict
    assert words in verdict


def test_a_large_body_is_not_read(server: TcpProxy) -> None:
    """A server without Range support sends the whole file."""
    server.answer_http(200, "x" * 50_000_000)
    with within(1):
        assert "parts" in judge(f"http://127.0.0.1:{server.port}/file")


def test_ipv6() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(206)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6

    try:
        http = Server(("::1", 0), Handler)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            assert judge(f"http://[::1]:{http.server_port}/file") == ""
        finally:
            http.shutdown()
            thread.join()


def test_all_servers_are_probed_in_parallel(server: TcpProxy) -> None:
    server.silent()
    replicas = [Replica(f"RSE-{number}", f"root://127.0.0.1:{server.port}//file") for number in range(30)]
    with within(probe.TIMEOUT + 1, least=probe.TIMEOUT):
        probe.probe(replicas)
    assert all("did not answer within 2 s" in str(probe.fault_of(probe.endpoint(replica))) for replica in replicas)


def test_results_are_remembered_for_a_while(server: TcpProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer_http(206)
    replica = Replica("RSE", f"http://127.0.0.1:{server.port}/file")
    assert not probe.is_known(probe.endpoint(replica))
    probe.probe([replica])
    assert is_alive(probe.endpoint(replica))
    assert not probe.is_known(("OTHER", replica.endpoint))
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 301)
    assert not probe.is_known(probe.endpoint(replica))


def test_an_endpoint_has_no_credentials() -> None:
    assert Replica("RSE", "root://ann:secret@host:1094//file").endpoint == "root://host:1094"


# ------------------------------------------------------------------------------------------------ paths


def test_sizes_of_paths(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "Ünï cödé\n'\"", "empty")]
    for number, path in enumerate(paths):
        path.write_bytes(b"x" * (2 - number) * 1000)
    asked = [*map(str, paths), str(tmp_path), str(tmp_path / "nope"), "nul\x00", "relative/nope", ""]
    answers = probe.sizes_on_disk(asked)
    assert answers[:3] == [2000, 1000, 0]
    assert all(isinstance(answer, str) and answer for answer in answers[3:])


def test_no_paths() -> None:
    assert probe.sizes_on_disk([]) == []


def test_many_paths(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number:05d}" for number in range(3000)]
    for path in paths[::2]:
        path.touch()
    with within(5):
        answers = probe.sizes_on_disk([str(path) for path in paths])
    assert answers[::2] == [0] * 1500
    assert set(answers[1::2]) == {"No such file or directory"}


def test_a_path_that_hangs(tmp_path: Path) -> None:
    """Opening a FIFO without a writer never returns, like opening a file on a dead mount."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(b"four")
    os.mkfifo(bad)
    with within(probe.TIMEOUT + 1, least=probe.TIMEOUT):
        first, second, third = probe.sizes_on_disk([str(bad), str(good), str(bad)])
    assert second == 4
    assert first == third == "the mount did not answer within 2 s"


def test_a_mount_that_hangs_takes_the_time_limit_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "bad")
    with within(probe.TIMEOUT + 1.5):
        answers = probe.sizes_on_disk([str(tmp_path / "bad")] * 5000)
    assert set(answers) == {"the mount did not answer within 2 s"}


def test_probes_leave_no_processes_and_no_open_files(tmp_path: Path, server: TcpProxy) -> None:
    os.mkfifo(tmp_path / "bad")
    this = psutil.Process()
    server.refuse()
    probe.probe([Replica("RSE", f"http://127.0.0.1:{server.port}/file")])  # what the first use opens stays open
    server.silent()
    gc.collect()
    files, children = this.num_fds(), set(this.children())
    probe.sizes_on_disk([str(tmp_path / "bad")])
    probe.probe([Replica("RSE", f"{scheme}://127.0.0.1:{server.port}//file") for scheme in ("http", "root")])
    server.drop()
    end = time.monotonic() + 5
    while this.num_fds() > files and time.monotonic() < end:
        time.sleep(0.1)
        gc.collect()
    assert set(this.children()) == children
    assert this.num_fds() <= files


def test_a_refused_file_counts_against_itself_only(tmp_path: Path) -> None:
    """Sites can protect single folders: a private file must not hide public ones on the same server."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403 if "private" in self.path else 206)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        folder = f"http://127.0.0.1:{site.server_address[1]}"
        private, public = (Replica("RSE", f"{folder}/{name}.root") for name in ("private", "public"))
        for _ in range(2):  # the first answer of a server, then what is concluded from it
            for replica in (private, public):
                if not probe.is_known(probe.endpoint(replica)):
                    probe.probe([replica])
        assert "HTTP 403" in str(probe.fault_of(probe.endpoint(private)))
        assert is_alive(probe.endpoint(public))
        site.shutdown()


_SLOW_IMPORT = """
import sys, time
from rucio_lab.core.reading import probe
from rucio_lab.core.model import Replica

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "aiohttp":
            time.sleep(1.5)

sys.meta_path.insert(0, Slow())
probe.TIMEOUT = 1.0
replica = Replica("RSE", sys.argv[1])
probe.probe([replica])
print(repr(str(probe.fault_of(probe.endpoint(replica)) or "")))
"""


def test_a_slow_import_does_not_count_as_a_silent_server(server: TcpProxy) -> None:
    server.answer_http(206)
    command = [sys.executable, "-c", _SLOW_IMPORT, f"http://127.0.0.1:{server.port}/f"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "''\n", done.stderr


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[", "http://a b/", "http://127.0.0.1:1/", "/again"])
def test_a_bad_redirect_counts_against_its_own_file_only(server: TcpProxy, location: str) -> None:
    server.answer_http(302, Location=location)
    planted, honest = (Replica("RSE", f"http://127.0.0.1:{server.port}/{name}") for name in ("planted", "honest"))
    assert judge(planted.url)
    assert not probe.fault_of(probe.endpoint(honest))
