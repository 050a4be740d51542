"""Long and slow answers: they cost little memory and time, and each error is one of ours."""

from __future__ import annotations

import gzip
import itertools
import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator

import pytest

from rucio_lab import attach
from rucio_lab.core import answers
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import LakeBroken, LakeTooSlow
from rucio_lab.core.identity import oidc
from rucio_lab.core.identity.signing_in import sign_in
from rucio_lab.core.upstream.rest import ping
from tests.lake.hostile import CONTAINER, SCOPE, STREAM, HostileRucio, Reply
from tests.support.checks import assert_fails, within
from tests.support.odd_answers import drip

DID_PATH = f"/dids/{SCOPE}/{CONTAINER}"
MB = 1 << 20
SEARCH = f"/dids/{SCOPE}/dids/search"


def pieces(piece: bytes, times: int | None = None) -> Callable[[], Iterable[bytes]]:
    return lambda: itertools.repeat(piece) if times is None else itertools.repeat(piece, times)


def bomb(megabytes: int, head: bytes = b"") -> bytes:
    return gzip.compress(head + b" " * (megabytes * MB), 9)


PACKED = {"Content-Encoding": "gzip"}
LONG: dict[str, tuple[str, Reply, str]] = {
    # name: the request, the answer, words of the error
    "a line": ("search", Reply(b'{"scope": "' + b"x" * (8 * MB), STREAM), "longer than 1 MB"),
    "a line without end": ("search", Reply(pieces(b"x" * 65536), STREAM), "longer than 1 MB"),
    "a line byte by byte": ("search", Reply(pieces(b"x" * 64), STREAM), "longer than 1 MB"),
    "a line that is packed": ("search", Reply(bomb(100, b'{"'), STREAM, headers=PACKED), "longer than 1 MB"),
    "rows of a bulk answer": ("attach bulk", Reply(bomb(100, b'{"'), STREAM, headers=PACKED), "longer than 1 MB"),
    "blank lines without end": ("search", Reply(pieces(b"\n" * 65536), STREAM), "too long"),
    "a plain answer": ("info", Reply(pieces(b" " * 65536)), "longer than 64 MB"),
    "a plain answer that is packed": ("info", Reply(bomb(400), headers=PACKED), "longer than 64 MB"),
    "scopes that are packed": ("scopes", Reply(bomb(400), headers=PACKED), "longer than 64 MB"),
    "an answer packed twice": (
        "info",
        Reply(gzip.compress(bomb(400), 9), headers={"Content-Encoding": "gzip, gzip"}),
        "longer than 64 MB",
    ),
    "an error": ("info", Reply(bomb(100), status=404, headers={**PACKED, "ExceptionClass": "X"}), "longer than 1 MB"),
    "an error of a list": ("search", Reply(pieces(b"x" * 65536), "", 400, {"ExceptionClass": "X"}), "longer than 1 MB"),
    "a redirect": ("info", Reply(bomb(400), status=302, headers={**PACKED, "Location": "/scopes/"}), ""),
    "a version": ("ping", Reply(bomb(400), headers=PACKED), "longer than 64 MB"),
    "a sign-in": ("sign in", Reply(bomb(100), status=401, headers={**PACKED, "ExceptionClass": "X"}), "than 1 MB"),
    "a sign-in at a provider": ("oidc", Reply(bomb(400), headers=PACKED), "longer than 64 MB"),
    "headers": ("info", Reply(b"{}", headers={f"X-{number}": "x" * 60000 for number in range(90)}), "too long"),
}


WHERE: dict[str, tuple[str, Callable[[Instance], object]]] = {
    "search": (SEARCH, lambda instance: list(Lake(instance).search(DID(SCOPE, "*")))),
    "attach bulk": ("/dids/bulkfiles", lambda _: attach(f"{SCOPE}:{CONTAINER}")),
    "info": (DID_PATH, lambda instance: Lake(instance).info(DID(SCOPE, CONTAINER))),
    "scopes": ("/scopes/", lambda instance: Lake(instance).scopes()),
    "ping": ("/ping", lambda instance: ping(instance, 2.0)),
    "sign in": ("/auth/userpass", lambda instance: sign_in(instance, username="alice", password="alice-pass")),
    "oidc": ("/auth/oidc", oidc.begin),
}


@pytest.mark.parametrize("what", LONG)
def test_a_long_answer_takes_little_memory(hostile: HostileRucio, what: str) -> None:
    where, reply, words = LONG[what]
    path, ask = WHERE[where]
    hostile.replies[path] = reply
    instance = hostile.instance(timeout=5.0)
    tracemalloc.start()
    try:
        with within(20):
            assert_fails(lambda: ask(instance), LakeBroken, words)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 160 * MB, f"{peak / MB:.0f} MB"


def test_a_long_honest_list_arrives_completely(hostile: HostileRucio) -> None:
    """In one piece, in very small ones, compressed, or with Windows line ends."""
    row = json.dumps({"scope": SCOPE, "name": "n" * 100_000, "did_type": "DATASET"}).encode()
    honest = (row + b"\n") * 8
    whole = honest.replace(b"\n", b"\r\n")
    for body, headers in (
        (honest, {}),
        (honest.rstrip(), {}),
        (whole, {}),
        (gzip.compress(honest), PACKED),
        (pieces(row + b"\n", 8), {}),
        (lambda: (honest[at : at + 1000] for at in range(0, len(honest), 1000)), {}),
    ):
        hostile.replies[SEARCH] = Reply(body, STREAM, headers=headers)  # type: ignore[arg-type]
        assert len(list(Lake(hostile.instance()).search(DID(SCOPE, "*")))) == 8


SLOW: dict[str, tuple[str, Reply]] = {
    "a space in a list now and then": ("search", Reply(drip(b" "), STREAM)),
    "a line end in a list now and then": ("search", Reply(drip(b"\n"), STREAM)),
    "a byte of a plain answer now and then": ("info", Reply(drip(b" "))),
    "a byte of an error now and then": ("info", Reply(drip(b" "), status=404, headers={"ExceptionClass": "X"})),
    "a byte of a version now and then": ("ping", Reply(drip(b" "))),
    "a byte of a sign-in now and then": ("sign in", Reply(drip(b" "), status=401)),
}


@pytest.mark.parametrize("what", SLOW)
def test_a_byte_now_and_then_does_not_extend_the_time_limit(hostile: HostileRucio, what: str) -> None:
    where, reply = SLOW[what]
    path, ask = WHERE[where]
    hostile.replies[path] = reply
    with within(5):
        assert_fails(lambda: ask(hostile.instance(timeout=0.6)), LakeTooSlow, "")


def test_headers_that_come_byte_by_byte(hostile: HostileRucio) -> None:
    instance = hostile.instance(timeout=1.0)
    hostile.replies[DID_PATH] = Reply(b"{}", headers={"X-Slow": "x"})
    handler = hostile.RequestHandlerClass

    class Dripping(handler):  # type: ignore[misc, valid-type]
        def end_headers(self) -> None:
            self.flush_headers()
            for _ in range(40):
                time.sleep(0.2)
                self.wfile.write(b"X")
            super().end_headers()

    hostile.RequestHandlerClass = Dripping
    with within(5):
        assert_fails(lambda: Lake(instance).info(DID(SCOPE, CONTAINER)), LakeTooSlow, "within 1 s")


def test_a_list_may_take_longer_if_its_rows_keep_coming(hostile: HostileRucio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even with a slow reader, but not forever."""
    row = json.dumps({"scope": SCOPE, "name": "n", "did_type": "DATASET"}).encode() + b"\n"

    def slowly() -> Iterator[bytes]:
        for _ in range(6):
            time.sleep(0.3)
            yield row

    instance = hostile.instance(timeout=1.0)
    hostile.replies[SEARCH] = Reply(slowly, STREAM)
    assert len(list(Lake(instance).search(DID(SCOPE, "*")))) == 6
    rows = Lake(instance).search(DID(SCOPE, "*"))
    assert next(rows).did.name == "n"
    time.sleep(1.5)
    assert len(list(rows)) == 5
    monkeypatch.setattr(answers, "MOST_SECONDS", 1.0)
    assert_fails(lambda: list(Lake(instance).search(DID(SCOPE, "*"))), LakeTooSlow, "stopped in the middle")


@pytest.mark.parametrize("body", [drip(b" "), drip(b" ", b"{}\n")], ids=["before a row", "after a row"])
def test_a_cancelled_reader_frees_its_thread(hostile: HostileRucio, body: Callable[[], Iterator[bytes]]) -> None:
    hostile.replies[SEARCH] = Reply(body, STREAM)
    left, ended = threading.Event(), threading.Event()
    instance = hostile.instance(timeout=60.0)

    def ask() -> None:
        with answers.until(left):
            try:
                for _ in Lake(instance)._client().rows(["dids", SCOPE, "dids", "search"]):
                    pass
            except answers.Left:
                ended.set()

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.5)
    left.set()
    assert ended.wait(2)
    assert hostile.left.wait(2)  # its server notices
    thread.join()
    asked = len(hostile.asked)
    with answers.until(left), pytest.raises(answers.Left):
        Lake(instance).scopes()
    assert len(hostile.asked) == asked  # no further request
