"""A Rucio with a storage on loopback that can answer anything; by default it is honest."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.identity.token_store import Token, TokenStore

JSON = "application/json"
STREAM = "application/x-json-stream"

SCOPE, CONTAINER, DATASET, RSE = "s", "c", "d", "DISK"
FILES = 3
CONTENT = b"0123456789"


@dataclass(frozen=True)
class Reply:
    """One answer.

    Attributes
    ----------
    body
        All of it, or a function that gives pieces for as long as the client is connected.
    kind
        Its content type.
    status, headers
        Status and headers of the answer.
    """

    body: bytes | Callable[[], Iterable[bytes]] = b""
    kind: str = JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def stream(rows: Iterable[Any]) -> Reply:
    """Answer with a list of rows."""
    return Reply(b"".join(json.dumps(row).encode() + b"\n" for row in rows), STREAM)


def honest_reply(path: str, rows: list[Any]) -> Reply:
    """Make the answer that Rucio would give for a path, from its rows."""
    plain = path in (f"/dids/{SCOPE}/{CONTAINER}", f"/dids/{SCOPE}/{DATASET}", "/scopes/") or path.endswith("/meta")
    return Reply(json.dumps(rows[0] if rows else None).encode()) if plain else stream(rows)


class HostileRucio(ThreadingHTTPServer):
    """The server.

    Attributes
    ----------
    url
        Its address.
    replies
        Beginning of a path -> its answer; the longest match counts.
    asked
        Paths so far, with their queries.
    authorizations
        The same paths, each with the header ``Authorization``.
    left
        Set when a client has left in the middle of an answer.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str = "127.0.0.1") -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, 0), _Handler)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.server_port}"
        self.replies: dict[str, Reply] = {}
        self.asked: list[str] = []
        self.authorizations: list[tuple[str, str]] = []
        self.left = threading.Event()
        self.honest()

    def handle_error(self, *_: Any) -> None:
        """Do not report clients that have left."""

    def honest(self) -> None:
        """Answer like a Rucio with one container of one dataset, stored on this server."""
        self.replies = {path: honest_reply(path, rows) for path, rows in self.rows().items()}

    def rows(self) -> dict[str, list[Any]]:
        """Give the rows of each honest answer; a single value counts as one row."""
        names = [f"f{number}.root" for number in range(FILES)]
        sums: dict[str, Any] = {"bytes": len(CONTENT), "adler32": "0aff020e", "md5": None}
        whole = {"bytes": FILES * len(CONTENT), "length": FILES, "open": False}
        parent = {"parent_scope": SCOPE, "parent_name": DATASET}
        about = {"rse": RSE, "type": "DISK", "domain": "wan", "priority": 1, "volatile": False}
        return {
            "/scopes/": [[SCOPE]],
            "/rses/": [{"rse": RSE, "availability_read": True}],
            f"/dids/{SCOPE}/dids/search": [{"scope": SCOPE, "name": CONTAINER, "did_type": "CONTAINER", **whole}],
            f"/dids/{SCOPE}/{CONTAINER}": [{"scope": SCOPE, "name": CONTAINER, "type": "CONTAINER", **whole}],
            f"/dids/{SCOPE}/{DATASET}": [{"scope": SCOPE, "name": DATASET, "type": "DATASET", **whole}],
            f"/dids/{SCOPE}/{CONTAINER}/meta": [{"created_at": "Thu, 01 Jan 2026 00:00:00 UTC", "events": 5}],
            f"/dids/{SCOPE}/{CONTAINER}/dids": [{"scope": SCOPE, "name": DATASET, "type": "DATASET", **whole}],
            f"/dids/{SCOPE}/{CONTAINER}/files": [{"scope": SCOPE, "name": name, **sums} for name in names],
            "/dids/bulkfiles": [{**parent, "scope": SCOPE, "name": name, **sums} for name in names],
            f"/replicas/{SCOPE}/{DATASET}/datasets": [
                {"rse": RSE, "length": FILES, "available_length": FILES, "available_bytes": FILES * len(CONTENT)}
            ],
            "/replicas/list": [
                {
                    "scope": SCOPE,
                    "name": name,
                    **sums,
                    "pfns": {f"{self.url}/storage/{name}": about},
                    "rses": {RSE: [f"{self.url}/storage/{name}"]},
                    "states": {RSE: "AVAILABLE"},
                }
                for name in names
            ],
        }

    def instance(self, **settings: Any) -> Instance:
        """Give an instance that is signed in to this server."""
        known = {"name": "evil", "url": self.url, "auth_url": self.url, "username": "alice", "timeout": 2.0}
        instance = Instance(**{**known, **settings})
        TokenStore(instance).write(Token("a-token", "alice"))
        return instance

    def config(self, path: Path, more: str = "", **settings: Any) -> Path:
        """Write a rucio_lab.toml with this server as the default instance."""
        instance = self.instance(**settings)
        names = ("url", "auth_url", "username", "timeout")
        lines = [f"{name} = {json.dumps(getattr(instance, name))}" for name in names]
        path.write_text("\n".join(['default = "evil"', more, "[instances.evil]", *lines]))
        return path


class _Handler(BaseHTTPRequestHandler):
    server: HostileRucio
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_any(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(self.path)
        self.server.authorizations.append((self.path, self.headers.get("Authorization", "")))
        path = self.path.partition("?")[0]
        fitting = [known for known in self.server.replies if path.startswith(known)]
        if not fitting and path.startswith("/storage/"):
            self._file()
            return
        missing = Reply(b"{}", status=404, headers={"ExceptionClass": "DataIdentifierNotFound"})
        self._answer(self.server.replies[max(fitting, key=len)] if fitting else missing)

    do_GET = do_POST = handle_any  # noqa: N815

    def _file(self) -> None:
        """Send a file or a part of it, like a storage."""
        first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        start, stop = int(first or 0), min(int(last or len(CONTENT) - 1), len(CONTENT) - 1) + 1
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(CONTENT)}"} if first else {}
        self._answer(Reply(CONTENT[start:stop], "application/octet-stream", 206 if first else 200, headers))

    def _answer(self, reply: Reply) -> None:
        self.send_response(reply.status)
        headers = {"Content-Type": reply.kind, **reply.headers}
        whole = isinstance(reply.body, bytes)
        headers |= {"Content-Length": str(len(reply.body))} if whole else {"Transfer-Encoding": "chunked"}  # type: ignore[arg-type]
        for name, value in headers.items():
            self.send_header(name, value)
        try:
            self.end_headers()
            for piece in [reply.body] if isinstance(reply.body, bytes) else reply.body():
                self.wfile.write(piece if whole else b"%x\r\n%b\r\n" % (len(piece), piece))
                self.wfile.flush()
            self.wfile.write(b"" if whole else b"0\r\n\r\n")
        except OSError:
            self.close_connection = True
            self.server.left.set()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def hostile_rucio(host: str = "127.0.0.1") -> Iterator[HostileRucio]:
    """Run a hostile Rucio."""
    with HostileRucio(host) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
