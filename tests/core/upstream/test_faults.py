"""A Rucio that is down, slow, broken, or something else: the right error, in one sentence, and soon."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import (
    ConfigurationError,
    LakeBroken,
    LakeTooSlow,
    LakeUnreachable,
    RucioLabError,
    SignInNeeded,
)
from rucio_lab.core.identity.client import client_for
from rucio_lab.core.identity.signing_in import sign_in
from rucio_lab.core.identity.token_store import Token, TokenStore
from tests.lake.faults import TcpProxy
from tests.lake.lake import FullLake
from tests.support.checks import assert_clear, assert_fails, instance_of, within
from tests.support.middle import Answer, middle_of

LIMIT = 1.0
"""Time limit of the instance, in seconds."""

JSON = "application/json"
STREAM = "application/x-json-stream"
GATEWAY = "<html>\n<head><title>502 Bad Gateway</title></head>\n</html>"
LOGIN = "<html><body>Please sign in to the Wi-Fi of this hotel</body></html>"


@pytest.fixture
def proxy(lake: FullLake) -> TcpProxy:
    return lake.faulty["rucio"]


@pytest.fixture
def instance(lake: FullLake, proxy: TcpProxy) -> Instance:
    """Rucio through the proxy, with a token, so that a test's request is the first one."""
    instance = instance_of(lake, url=f"https://127.0.0.1:{proxy.port}", timeout=LIMIT)
    TokenStore(instance).write(Token(lake.token(), "alice", time.time() + 3600))
    return instance


Break = Callable[[TcpProxy], None]

FAULTS: dict[str, tuple[Break, type[RucioLabError], str, float]] = {
    # name: what is done to the proxy, the error, words of its message, and the most seconds it may take
    "down": (TcpProxy.refuse, LakeUnreachable, "connection refused", 1),
    "reset": (TcpProxy.reset, LakeUnreachable, "reset", 1),
    "silent": (TcpProxy.silent, LakeTooSlow, "within 1 s", 2 * LIMIT + 1),
    "too slow": (lambda proxy: proxy.delay(1.5 * LIMIT), LakeTooSlow, "within 1 s", 2 * LIMIT + 2),
    "500": (lambda proxy: proxy.answer_http(500), LakeBroken, "HTTP 500", 1),
    "502": (lambda proxy: proxy.answer_http(502, GATEWAY), LakeBroken, "HTTP 502", 3),
    "503": (lambda proxy: proxy.answer_http(503, "{}", JSON), LakeBroken, "HTTP 503", 3),
    "404 of another server": (lambda proxy: proxy.answer_http(404, GATEWAY), LakeBroken, "is not Rucio", 1),
    "hotel": (lambda proxy: proxy.answer_http(200, LOGIN), LakeBroken, "", 1),
    "nothing": (lambda proxy: proxy.answer_http(200), LakeBroken, "", 1),
    "another protocol": (lambda proxy: proxy.answer(b"SSH-2.0-OpenSSH_9.2\r\n"), LakeUnreachable, "", 1),
    "half a header": (lambda proxy: proxy.answer(b"HTTP/1.1 200 OK\r\nContent-"), LakeBroken, "", 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_request_fails_clearly(instance: Instance, proxy: TcpProxy, fault: str) -> None:
    damage, kind, words, seconds = FAULTS[fault]
    damage(proxy)
    with within(seconds):
        assert_fails(Lake(instance).scopes, kind, words)
    with within(seconds):
        assert_fails(lambda: list(Lake(instance).search(DID("opendata13TeV", "*"))), kind, words)
    proxy.forward()
    assert "opendata13TeV" in Lake(instance).scopes()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_sign_in_fails_clearly(instance: Instance, proxy: TcpProxy, fault: str) -> None:
    """A broken server must not look like a wrong password."""
    damage, kind, words, seconds = FAULTS[fault]
    damage(proxy)
    with within(seconds):
        assert_fails(lambda: sign_in(instance), kind, words)
    proxy.forward()
    assert sign_in(instance).account == "alice"


def test_an_error_of_rucio_itself(lake: FullLake) -> None:
    """As when its database is down: the headers name the class of the error."""
    with middle_of(lake) as middle:
        instance = instance_of(lake, url=middle.url)
        headers = {"ExceptionClass": "DatabaseException", "ExceptionMessage": "Database exception.\nDetails: (gone)"}
        headers = {name: value.replace("\n", " ") for name, value in headers.items()}
        body = json.dumps({"ExceptionClass": "DatabaseException", "ExceptionMessage": "gone\n  at line 3"}).encode()
        middle.change = lambda path, answer: Answer(500, {**headers, "Content-Type": JSON}, body)
        assert_fails(lambda: sign_in(instance), LakeBroken, "HTTP 500")
        TokenStore(instance).write(Token(lake.token()))
        assert_fails(Lake(instance).scopes, LakeBroken, "DatabaseException")


def test_slow_within_the_limit_works(instance: Instance, proxy: TcpProxy) -> None:
    proxy.delay(0.2 * LIMIT)
    with within(10 * LIMIT, least=0.2 * LIMIT):
        assert "opendata13TeV" in Lake(instance).scopes()


def test_silence_on_an_open_connection(instance: Instance, proxy: TcpProxy) -> None:
    Lake(instance).scopes()
    proxy.silent()
    with within(LIMIT + 1):
        assert_fails(Lake(instance).scopes, LakeTooSlow, "did not answer within 1 s")


def test_a_closed_connection_is_opened_again(instance: Instance, proxy: TcpProxy) -> None:
    """Servers close connections that are idle for some seconds."""
    for _ in range(3):
        assert Lake(instance).scopes()
        proxy.drop()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("{", JSON),
        ("[1, 2", STREAM),
        ("\x00\x01", STREAM),
        ("hello", JSON),
        ('{"scope": "s"}\n', STREAM),
        ('{"scope": 1', STREAM),
        ("3\n", STREAM),
        ('"text"\n', STREAM),
        ("null\n", STREAM),
        ("", JSON),
        (LOGIN, "text/html; charset=utf-8"),
    ],
)
def test_an_invalid_answer(instance: Instance, proxy: TcpProxy, body: str, kind: str) -> None:
    proxy.answer_http(200, body, kind)
    assert_fails(lambda: list(Lake(instance).search(DID("s", "*"))), LakeBroken, "")


def test_a_truncated_answer(instance: Instance, proxy: TcpProxy) -> None:
    """It must not pass for a complete one."""
    Lake(instance).scopes()
    proxy.forget()
    client_for(instance).session.close()
    list(Lake(instance).search(DID("opendata13TeV", "*"), type="all"))
    needed = proxy.sent
    for size in (needed - 40, needed - 400):  # the last 24 bytes close the TLS connection
        proxy.cut(size)
        with within(2 * LIMIT + 1):
            assert_fails(lambda: list(Lake(instance).search(DID("opendata13TeV", "*"), type="all")), *CUT)


CUT = (LakeBroken, "cut off")


def test_a_stream_that_stops(instance: Instance, lake: FullLake) -> None:
    with endless(pause_after=5) as server:
        slow = Instance(name="test", url=server.url, auth_url=server.url, timeout=LIMIT)
        TokenStore(slow).write(Token("a-token"))
        with within(LIMIT + 1, least=LIMIT):
            assert_fails(lambda: list(Lake(slow).search(DID("s", "*"))), LakeTooSlow, "stopped in the middle")


# ------------------------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"ca": ""}, LakeUnreachable, "certificate of"),
        ({"ca": "/nope.crt"}, ConfigurationError, "/nope.crt"),
        ({"url": "http://127.0.0.1:1"}, LakeUnreachable, "connection refused"),
        ({"url": "http://no.such.host.invalid"}, LakeUnreachable, "cannot be reached"),
        ({"url": "http://[::1]:1"}, LakeUnreachable, "connection refused"),
        ({"url": "https://127.0.0.1:{plain}"}, LakeUnreachable, "TLS"),
        ({"url": "http://127.0.0.1:{tls}"}, LakeBroken, "is not Rucio"),
        ({"url": "http://127.0.0.1:{plain}"}, LakeBroken, "is not Rucio"),
    ],
)
def test_a_wrong_address(lake: FullLake, settings: dict[str, Any], kind: type[RucioLabError], words: str) -> None:
    ports = {"plain": lake.storages["http"].port, "tls": lake.storages["https"].port}
    settings = {name: value.replace("{", "{").format(**ports) for name, value in settings.items()}
    with within(3):
        assert_fails(lambda: sign_in(instance_of(lake, **settings)), kind, words)


def test_a_dead_proxy_in_the_environment(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LakeUnreachable, match=r"through the proxy http://127\.0\.0\.1:1: connection refused") as caught:
        sign_in(instance_of(lake))
    assert_clear(caught.value)


def test_a_host_that_drops_packets(lake: FullLake) -> None:
    """A listening socket with a full queue acts like a firewall."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        with within(2 * LIMIT + 1, least=LIMIT):
            assert_fails(
                lambda: sign_in(instance_of(lake, url=url, timeout=LIMIT)), LakeUnreachable, "no connection within"
            )
        for each in waiting:
            each.close()


# ------------------------------------------------------------------------------------------------ stopping early


class Endless(ThreadingHTTPServer):
    """Sends rows of a search forever, or until it pauses."""

    daemon_threads = True
    url = ""

    def __init__(self, pause_after: int | None) -> None:
        super().__init__(("127.0.0.1", 0), _Rows)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.pause_after = pause_after
        self.rows = 0
        self.left = threading.Event()
        self.over = threading.Event()


class _Rows(BaseHTTPRequestHandler):
    server: Endless

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", STREAM)
        self.end_headers()
        row = {"scope": "s", "name": "n" * 200, "did_type": "DATASET", "bytes": None, "length": None}
        try:
            while not self.server.over.is_set():
                if self.server.rows == self.server.pause_after:
                    self.server.over.wait(10)
                self.wfile.write(json.dumps(row).encode() + b"\n")
                self.server.rows += 1
        except OSError:
            self.server.left.set()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def endless(pause_after: int | None = None) -> Iterator[Endless]:
    with Endless(pause_after) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_a_search_that_stops_early_stops_the_server(lake: FullLake, how: str) -> None:
    with endless() as server:
        instance = Instance(name="test", url=server.url, auth_url=server.url, timeout=5.0)
        TokenStore(instance).write(Token("a-token"))
        rows = Lake(instance).search(DID("s", "*"))
        assert next(iter(rows)).did.scope == "s"
        assert not server.left.is_set()
        if how == "closed":
            rows.close()  # type: ignore[attr-defined]
        else:
            del rows
        assert server.left.wait(3)
        sent = server.rows
        time.sleep(0.1)
        assert server.rows == sent


def test_a_refused_sign_in_is_not_an_error_of_the_server(instance: Instance) -> None:
    with pytest.raises(SignInNeeded):
        sign_in(instance, password="wrong-pass")
