"""Odd answers of a Rucio: invalid JSON, impossible values, or an endless body."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from tests.lake.hostile import JSON, STREAM, Reply, honest_reply

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
    """Give the paths to all values in a JSON value."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        yield from places(each, (*path, key))


def changed(rows: Any, path: tuple[Any, ...], odd: Any, how: str) -> Any:
    """Replace one value in a JSON value by something odd, remove it, or change its key."""
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
    """Draw one or two odd answers; those that are not even JSON are in `RAW`."""
    replies = {}
    for path in draw(st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=2, unique=True)):
        if draw(st.sampled_from((True, True, True, False))):
            how = draw(st.sampled_from(("replaced", "missing", "renamed")))
            rows = known[path]
            odd = changed(rows, draw(st.sampled_from(list(places(rows)))), draw(st.sampled_from(ODD)), how)
            replies[path] = honest_reply(path, odd)
        else:
            kind = draw(st.sampled_from((JSON, STREAM, "text/html", "")))
            headers = {"ExceptionClass": draw(st.sampled_from(CLASSES)), "ExceptionMessage": "said"}
            status = draw(st.sampled_from((201, 204, 302, 400, 403, 404, 418, 500)))
            replies[path] = Reply(draw(st.sampled_from(ERRORS)), kind, status, headers)
    return replies


def drip(piece: bytes, head: bytes = b"") -> Callable[[], Iterator[bytes]]:
    """Make a body that sends a piece now and then, forever."""

    def body() -> Iterator[bytes]:
        yield head or piece
        while True:
            time.sleep(0.2)
            yield piece

    return body
