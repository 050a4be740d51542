"""A Rucio that means harm, or is broken: it costs little memory and time, and every error is one of ours."""

from __future__ import annotations

import gzip
import itertools
import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rucio_lab import attach
from rucio_lab.core import answers
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, LakeBroken, LakeTooSlow, RucioLabError
from rucio_lab.core.identity import oidc
from rucio_lab.core.identity.signing_in import sign_in
from rucio_lab.core.reading import probe
from rucio_lab.core.upstream.rest import ping
from tests.lake.hostile import (
    CONTAINER,
    FILES,
    JSON,
    SCOPE,
    STREAM,
    HostileRucio,
    Reply,
    hostile_rucio,
    stream,
)
from tests.support.checks import assert_clear, within

MB = 1 << 20
DID_PATH = f"/dids/{SCOPE}/{CONTAINER}"
SEARCH = f"/dids/{SCOPE}/dids/search"


@pytest.fixture
def rucio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileRucio]:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    with hostile_rucio() as server:
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(server.config(tmp_path / "rucio_lab.toml")))
        probe.forget()
        yield server
    probe.forget()


def everything(instance: Instance) -> dict[str, Callable[[], object]]:
    """Give all that Rucio can be asked."""
    lake, container = Lake(instance), DID(SCOPE, CONTAINER)
    return {
        "attach": lambda: attach(str(container)),
        "search": lambda: list(lake.search(DID(SCOPE, "*"))),
        "contents": lambda: list(lake.contents(container)),
        "files": lambda: list(lake.files(container)),
        "metadata": lambda: lake.metadata(container),
        "holdings": lambda: list(lake.holdings(container)),
        "scopes": lake.scopes,
        "rses": lake.rses,
    }


def assert_fails(ask: Callable[[], object], kind: type[RucioLabError], words: str) -> None:
    with pytest.raises(RucioLabError) as caught:
        ask()
    assert_clear(caught.value)
    assert type(caught.value) is kind, str(caught.value)
    assert words in str(caught.value)


def test_the_server_is_honest_until_it_is_told_otherwise(rucio: HostileRucio) -> None:
    for ask in everything(rucio.instance()).values():
        assert ask()
        assert ask()  # on the same connection
    files = attach(f"{SCOPE}:{CONTAINER}")
    assert files == [f"{rucio.url}/storage/f{number}.root" for number in range(FILES)]


# ------------------------------------------------------------------------------------------------ anything at all

ODD: tuple[Any, ...] = (
    *(None, True, -1, 2**70, -(2**70), 0.5, 1e300, "", "x", "..", "a\nb", "\x00", "\x1b[31m", "\u2028", "/" * 300),
    *("9" * 5000, "é" * 100, "http://[", "://", "file:///etc/passwd", "root://", "http://127.0.0.1:99999/", [], {}),
    *([None], ["a"], {"a": 1}, [[[[]]]], {"": {"": {}}}, "Thu, 99 Jan 2026 00:00:00 UTC", "TAPE", "CONTAINER", "FILE"),
)
RAW = (
    *(b"", b"\xff\xfe", b"null", b"3", b"NaN", b"[Infinity]", b'{"a": 1e999}', b"[" * 100_000, b"[" * 900 + b"]" * 900),
    *(b'{"scope": "\\ud800"}', b"{" * 5000, b'"' + b"x" * 10000, b"9" * 5000, b"\x00" * 1000, b'{"scope":', b"\n\r\n"),
    *(b'{"a":' * 5000 + b"1" + b"}" * 5000, b'[{"a": "Thu, 01 Jan 2026 00:00:00 UTC"}, NaN]', b"<html></html>"),
)
ERRORS = (b"", b"[]", b"3", b'{"ExceptionClass": 3, "ExceptionMessage": []}', b'{"ExceptionClass": "json"}', b"\xff")
CLASSES = ("", "RucioException", "DataIdentifierNotFound", "os", "Exception", "x" * 1000, "ConfigNotFound", "\x1b[31m")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the paths of all values in a JSON value."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        yield from places(each, (*path, key))


def changed(rows: Any, path: tuple[Any, ...], odd: Any, how: str) -> Any:
    """Put something odd in one place of a JSON value, or take it out, or make it a key."""
    if not path:
        return [odd] if isinstance(rows, list) else odd
    rows = deepcopy(rows)
    holder = rows
    for key in path[:-1]:
        holder = holder[key]
    if how == "replaced":
        holder[path[-1]] = odd
    elif how == "missing":
        del holder[path[-1]]
    elif isinstance(holder, dict):
        holder[str(odd)] = holder.pop(path[-1])
    else:
        holder *= 2
    return rows


@st.composite
def odd_replies(draw: st.DrawFn, known: dict[str, list[Any]]) -> dict[str, Reply]:
    """Draw an answer or two that are odd, but for those that are no JSON or no lists at all."""
    replies = {}
    for path in draw(st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=2, unique=True)):
        if draw(st.sampled_from((True, True, True, False))):
            how = draw(st.sampled_from(("replaced", "missing", "renamed")))
            rows = known[path]
            odd = changed(rows, draw(st.sampled_from(list(places(rows)))), draw(st.sampled_from(ODD)), how)
            replies[path] = PLAIN.reply(path, odd)
        else:
            kind = draw(st.sampled_from((JSON, STREAM, "text/html", "")))
            headers = {"ExceptionClass": draw(st.sampled_from(CLASSES)), "ExceptionMessage": "said"}
            status = draw(st.sampled_from((201, 204, 302, 400, 403, 404, 418, 500)))
            replies[path] = Reply(draw(st.sampled_from(ERRORS)), kind, status, headers)
    return replies


with hostile_rucio() as PLAIN:
    """Makes honest answers; it is not asked."""


WHAT = list(everything(Instance(name="x", url="http://x", auth_url="http://x")))


def survives(rucio: HostileRucio, ask: Callable[[], object], replies: dict[str, Reply]) -> None:
    """Check that there is a result or an error of ours, soon."""
    rucio.honest()
    rucio.replies.update(replies)
    probe.forget()
    begin = time.monotonic()
    with suppress(RucioLabError):
        ask()
    assert time.monotonic() - begin < 15, replies


def asked_by(rucio: HostileRucio, ask: Callable[[], object]) -> dict[str, list[Any]]:
    """Give the honest answers to what something asks."""
    ask()
    paths = {path.partition("?")[0] for path in rucio.asked}
    return {path: rows for path, rows in rucio.rows().items() if path in paths}


@pytest.mark.parametrize("what", WHAT)
def test_whatever_rucio_answers_it_is_an_error_of_ours_or_a_result(rucio: HostileRucio, what: str) -> None:
    ask = everything(rucio.instance())[what]
    known = asked_by(rucio, ask)

    @settings(
        max_examples=300 if what == "attach" else 40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(odd_replies(known))
    def check(replies: dict[str, Reply]) -> None:
        survives(rucio, ask, replies)

    check()


@pytest.mark.parametrize("what", WHAT)
def test_an_answer_that_is_nothing_known(rucio: HostileRucio, what: str) -> None:
    ask = everything(rucio.instance())[what]
    for path in asked_by(rucio, ask):
        for body, kind in itertools.product(RAW, (JSON, STREAM)):
            survives(rucio, ask, {path: Reply(body, kind)})


def test_what_was_not_asked_for_is_out_of_turn(rucio: HostileRucio) -> None:
    row = rucio.rows()["/dids/bulkfiles"][0]
    rucio.replies["/dids/bulkfiles"] = stream([{**row, "parent_name": "other"}])
    assert_fails(lambda: attach(f"{SCOPE}:{CONTAINER}"), LakeBroken, "files of s:other, which it was not asked for")
    rucio.honest()
    rucio.replies[DID_PATH] = Reply(json.dumps({**rucio.rows()[DID_PATH][0], "name": "other"}).encode())
    assert_fails(lambda: attach(f"{SCOPE}:{CONTAINER}"), LakeBroken, "s:other when it was asked for s:c")


def test_containers_without_end(rucio: HostileRucio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rucio_lab.core.catalogue.lake.MOST_CONTAINERS", 20)
    numbers = itertools.count()

    def one_more() -> Iterator[bytes]:
        yield json.dumps({"scope": SCOPE, "name": f"c{next(numbers)}", "type": "CONTAINER"}).encode() + b"\n"

    rucio.replies[f"{DID_PATH}/dids"] = rucio.replies["/dids/s/c"] = Reply(one_more, STREAM)
    rucio.replies[DID_PATH] = Reply(json.dumps(rucio.rows()[DID_PATH][0]).encode())
    rucio.replies["/dids/s/c"] = rucio.replies[DID_PATH]
    for number in range(30):
        rucio.replies[f"/dids/s/c{number}/dids"] = Reply(one_more, STREAM)
    assert_fails(lambda: attach(f"{SCOPE}:{CONTAINER}"), BadRequest, "more than 20 containers")


# ------------------------------------------------------------------------------------------------ how much of it


def pieces(piece: bytes, times: int | None = None) -> Callable[[], Iterable[bytes]]:
    return lambda: itertools.repeat(piece) if times is None else itertools.repeat(piece, times)


def bomb(megabytes: int, head: bytes = b"") -> bytes:
    return gzip.compress(head + b" " * (megabytes * MB), 9)


PACKED = {"Content-Encoding": "gzip"}

LONG: dict[str, tuple[str, Reply, str]] = {
    # what: where, the answer, words of the error
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
def test_however_long_an_answer_is_it_takes_little_memory(rucio: HostileRucio, what: str) -> None:
    where, reply, words = LONG[what]
    path, ask = WHERE[where]
    rucio.replies[path] = reply
    instance = rucio.instance(timeout=5.0)
    tracemalloc.start()
    try:
        with within(20):
            assert_fails(lambda: ask(instance), LakeBroken, words)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 160 * MB, f"{peak / MB:.0f} MB"


def test_a_long_honest_list_comes_whole(rucio: HostileRucio) -> None:
    """Also where it comes in one piece, in very small ones, packed, or with lines that end as in Windows."""
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
        rucio.replies[SEARCH] = Reply(body, STREAM, headers=headers)  # type: ignore[arg-type]
        assert len(list(Lake(rucio.instance()).search(DID(SCOPE, "*")))) == 8


# ------------------------------------------------------------------------------------------------ for how long


def drip(piece: bytes, head: bytes = b"") -> Callable[[], Iterator[bytes]]:
    def body() -> Iterator[bytes]:
        yield head or piece
        while True:
            time.sleep(0.2)
            yield piece

    return body


SLOW: dict[str, tuple[str, Reply]] = {
    "a blank of a list now and then": ("search", Reply(drip(b" "), STREAM)),
    "a line end of a list now and then": ("search", Reply(drip(b"\n"), STREAM)),
    "a byte of a plain answer now and then": ("info", Reply(drip(b" "))),
    "a byte of an error now and then": ("info", Reply(drip(b" "), status=404, headers={"ExceptionClass": "X"})),
    "a byte of a version now and then": ("ping", Reply(drip(b" "))),
    "a byte of a sign-in now and then": ("sign in", Reply(drip(b" "), status=401)),
}


@pytest.mark.parametrize("what", SLOW)
def test_who_sends_a_byte_now_and_then_is_not_waited_for(rucio: HostileRucio, what: str) -> None:
    where, reply = SLOW[what]
    path, ask = WHERE[where]
    rucio.replies[path] = reply
    with within(5):
        assert_fails(lambda: ask(rucio.instance(timeout=0.6)), LakeTooSlow, "")


def test_a_head_that_comes_byte_by_byte(rucio: HostileRucio) -> None:
    instance = rucio.instance(timeout=1.0)
    rucio.replies[DID_PATH] = Reply(b"{}", headers={"X-Slow": "x"})
    handler = rucio.RequestHandlerClass

    class Dripping(handler):  # type: ignore[misc, valid-type]
        def end_headers(self) -> None:
            self.flush_headers()
            for _ in range(40):
                time.sleep(0.2)
                self.wfile.write(b"X")
            super().end_headers()

    rucio.RequestHandlerClass = Dripping
    with within(5):
        assert_fails(lambda: Lake(instance).info(DID(SCOPE, CONTAINER)), LakeTooSlow, "within 1 s")


def test_a_list_that_comes_row_by_row_may_take_longer(rucio: HostileRucio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one whose reader takes its time; but not for ever."""
    row = json.dumps({"scope": SCOPE, "name": "n", "did_type": "DATASET"}).encode() + b"\n"

    def slowly() -> Iterator[bytes]:
        for _ in range(6):
            time.sleep(0.3)
            yield row

    instance = rucio.instance(timeout=1.0)
    rucio.replies[SEARCH] = Reply(slowly, STREAM)
    assert len(list(Lake(instance).search(DID(SCOPE, "*")))) == 6
    rows = Lake(instance).search(DID(SCOPE, "*"))
    assert next(rows).did.name == "n"
    time.sleep(1.5)
    assert len(list(rows)) == 5
    monkeypatch.setattr(answers, "MOST_SECONDS", 1.0)
    assert_fails(lambda: list(Lake(instance).search(DID(SCOPE, "*"))), LakeTooSlow, "stopped in the middle")


@pytest.mark.parametrize("body", [drip(b" "), drip(b" ", b"{}\n")], ids=["before a row", "after a row"])
def test_a_reader_that_leaves_frees_its_thread(rucio: HostileRucio, body: Callable[[], Iterator[bytes]]) -> None:
    rucio.replies[SEARCH] = Reply(body, STREAM)
    left, ended = threading.Event(), threading.Event()
    instance = rucio.instance(timeout=60.0)

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
    assert rucio.left.wait(2)  # its server sees that, too
    thread.join()
    asked = len(rucio.asked)
    with answers.until(left), pytest.raises(answers.Left):
        Lake(instance).scopes()
    assert len(rucio.asked) == asked  # and is asked nothing more
