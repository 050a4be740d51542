"""A web server between a client and Rucio that records requests and can change answers."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.lake.lake import FullLake


@dataclass(frozen=True)
class Asked:
    """A request of the client."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """An answer to the client."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Middle:
    """The server while it runs.

    Attributes
    ----------
    url
        Its address, with plain http.
    asked
        All requests so far.
    tokens
        The Rucio tokens that it passed to clients.
    change
        Maps a path and Rucio's answer to the answer for the client.
    slow
        How long each answer is held back, in seconds.
    spans
        When each request arrived and was answered, in seconds.
    """

    url: str
    asked: list[Asked] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    change: Callable[[str, Answer], Answer] = lambda path, answer: answer
    slow: float = 0
    spans: list[tuple[float, float]] = field(default_factory=list)

    @property
    def chain(self) -> int:
        """How many requests waited for each other: the most of which each arrived after the last was answered."""
        length, last = 0, 0.0
        for begin, end in sorted(self.spans, key=lambda span: span[1]):
            if begin >= last:
                length, last = length + 1, end
        return length

    def forget(self) -> None:
        """Forget all requests so far."""
        self.asked.clear()
        self.spans.clear()

    def count(self, path: str) -> int:
        return sum(seen.path.startswith(path) for seen in self.asked)


@contextmanager
def middle_of(lake: FullLake) -> Iterator[Middle]:
    """Run such a server in front of the lake's Rucio."""
    trust = ssl.create_default_context(cafile=str(lake.authority.ca))
    rucio = urlsplit(lake.url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            begin = time.monotonic()
            middle.asked.append(Asked(self.command, self.path, self.headers))
            answer = middle.change(self.path, self._forward(body))
            middle.tokens.update(filter(None, [answer.headers.get("X-Rucio-Auth-Token")]))
            time.sleep(middle.slow)
            middle.spans.append((begin, time.monotonic()))
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

        def _forward(self, body: bytes) -> Answer:
            connection = http.client.HTTPSConnection(rucio, context=trust, timeout=30)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "accept-encoding"}
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
                return Answer(response.status, response.headers, response.read())
            finally:
                connection.close()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as server:
        middle = Middle(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield middle
        finally:
            server.shutdown()
            thread.join()
