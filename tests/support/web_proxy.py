"""A web proxy on loopback, as sites have one: it forwards requests, tunnels TLS, and may ask for credentials."""

from __future__ import annotations

import base64
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class WebProxy(ThreadingHTTPServer):
    """The proxy.

    Attributes
    ----------
    url
        Its address.
    hosts
        Host and port as clients name them -> port on 127.0.0.1.
    user
        ``user:password`` that it asks for; empty for none.
    status
        A status to answer every request with, instead of forwarding it; 0 for none.
    asked
        Method and target of each request that it let through.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.hosts: dict[str, int] = {}
        self.user = ""
        self.status = 0
        self.asked: list[str] = []

    def handle_error(self, *_: Any) -> None:
        """Do not report clients that have left."""

    def port(self, host: str) -> int:
        """Give the port of a server on this machine."""
        return self.hosts.get(host) or int(host.rpartition(":")[2])


class _Handler(BaseHTTPRequestHandler):
    server: WebProxy
    protocol_version = "HTTP/1.1"

    def refuses(self) -> bool:
        wanted = f"Basic {base64.b64encode(self.server.user.encode()).decode()}" if self.server.user else ""
        status = self.server.status or (407 if wanted and self.headers.get("Proxy-Authorization") != wanted else 0)
        if status:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.server.asked.append(f"{self.command} {self.path}")
        return bool(status)

    def do_CONNECT(self) -> None:
        if self.refuses():
            return
        with socket.create_connection(("127.0.0.1", self.server.port(self.path))) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(there, self.connection))
            back.start()
            _pump(self.connection, there)
            back.join()
        self.close_connection = True

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.refuses():
            return
        parts = urlsplit(self.path)
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port(parts.netloc), timeout=30)
        headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
        connection.request(self.command, parts._replace(scheme="", netloc="").geturl(), body, headers)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    do_GET = do_POST = do_any  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while some := source.recv(65536):
            target.sendall(some)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def web_proxy() -> Iterator[WebProxy]:
    """Run a proxy."""
    with WebProxy() as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
