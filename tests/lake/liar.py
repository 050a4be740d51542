"""An XRootD server that lies: on request it asks for credentials, switches to TLS, or redirects its clients.

It keeps everything that clients send, so a test can check that no secret was sent. For the protocol, see "The XRootD
Protocol", version 5.
"""

from __future__ import annotations

import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.lake.pki import Authority

_HAVE_TLS, _GO_TLS, _SERVER = 0x80000000, 0x40000000, 0x1
_OK, _ERROR, _REDIRECT, _WAIT = 0, 4003, 4004, 4005
_QUERY, _CLOSE, _PROTOCOL, _LOGIN, _OPEN, _READ, _STAT, _READV, _LOCATE = (
    *(3001, 3003, 3006, 3007),
    *(3010, 3013, 3017, 3025, 3027),
)
_AUTH = 3000
_UNSUPPORTED = 3013

ZTN = "&P=ztn,0:65536:"
"""Requests a bearer token."""

KRB5 = "&P=krb5,host/evil@EVIL"
"""Requests a Kerberos ticket."""


def gsi(ca: str) -> str:
    """Request an X.509 proxy; a CA is named by its OpenSSL hash."""
    return f"&P=gsi,v:10600,c:ssl,ca:{ca}"


def sss(keytab: Path) -> str:
    """Request a shared secret from a keytab of the client."""
    return f"&P=sss,0.13:{keytab}"


def _nowhere(_path: str) -> str:
    return ""


@dataclass
class Liar:
    """How it behaves, and what it received.

    Attributes
    ----------
    port
        Its port on 127.0.0.1.
    content
        The content of every file.
    asks
        The security protocols it requests, in XRootD's own syntax; empty for none.
    tls
        Whether it switches each connection to TLS, even for a ``root://`` address.
    on_open, on_read
        Return the address to redirect the client of a path to; an empty one serves the path.
    busy
        How many seconds it asks to wait, for each of the next requests to open or read.
    credentials, paths
        The credentials it received, and the paths it was asked to open, with their options.
    everything
        All bytes received, decrypted.
    connections
        Number of connections.
    """

    port: int = 0
    content: bytes = b""
    asks: str = ""
    tls: bool = False
    on_open: Callable[[str], str] = _nowhere
    on_read: Callable[[str], str] = _nowhere
    busy: list[int] = field(default_factory=list)
    credentials: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    everything: bytes = b""
    connections: int = 0

    def url(self, path: str = "/f", scheme: str = "root", *, user: str = "") -> str:
        """Return an address on this server; XRootD opens a separate connection for each user."""
        return f"{scheme}://{user}{'@' if user else ''}127.0.0.1:{self.port}/{path}"


@contextmanager
def liar(authority: Authority, content: bytes = b"") -> Iterator[Liar]:
    """Run a liar."""
    told = Liar(content=content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server_cert, authority.server_key)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True
        request_queue_size = 64

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            told.connections += 1
            with suppress(OSError, EOFError, struct.error):
                _Connection(told, self.request, context).serve()

    with Server(("127.0.0.1", 0), Handler) as server:
        told.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()


class _Connection:
    """A connection of a client."""

    def __init__(self, told: Liar, socket: ssl.SSLSocket, context: ssl.SSLContext) -> None:
        self._told = told
        self._socket = socket
        self._context = context
        self._path = ""

    def serve(self) -> None:
        self._take(20)
        self._answer(b"\0\0", _OK, struct.pack(">ii", 0x520, 1))
        while True:
            stream, request, body, size = struct.unpack(">2sH16si", self._take(24))
            self._reply(stream, request, body, self._take(size))

    def _reply(self, stream: bytes, request: int, body: bytes, data: bytes) -> None:
        reply = {
            _PROTOCOL: self._protocol,
            _LOGIN: self._login,
            _AUTH: self._auth,
            _OPEN: self._open,
            _STAT: lambda stream, *_: self._answer(stream, _OK, self._status()),
            _READ: self._read,
            _READV: self._readv,
            _LOCATE: lambda stream, *_: self._answer(stream, _OK, f"Sr127.0.0.1:{self._told.port}\0".encode()),
            _QUERY: lambda stream, *_: self._answer(stream, _OK, b"1024\n2097136\n\0"),
            _CLOSE: lambda stream, *_: self._answer(stream, _OK),
        }.get(request, self._refuse)
        reply(stream, body, data)

    def _protocol(self, stream: bytes, *_: bytes) -> None:
        flags = _SERVER | (_HAVE_TLS | _GO_TLS if self._told.tls else 0)
        self._answer(stream, _OK, struct.pack(">iI", 0x520, flags))
        if self._told.tls:
            self._socket = self._context.wrap_socket(self._socket, server_side=True)

    def _login(self, stream: bytes, *_: bytes) -> None:
        asks = self._told.asks.encode()
        self._answer(stream, _OK, bytes(16) + asks + (b"\0" if asks else b""))

    def _auth(self, stream: bytes, body: bytes, data: bytes) -> None:
        self._told.credentials.append(body + data)
        self._answer(stream, _OK)

    def _open(self, stream: bytes, _body: bytes, data: bytes) -> None:
        self._path = data.decode(errors="replace").rstrip("\0")
        self._told.paths.append(self._path)
        self._redirect(stream, self._told.on_open, bytes(12) + self._status())

    def _read(self, stream: bytes, body: bytes, _data: bytes) -> None:
        offset, length = struct.unpack(">4xqi", body)
        self._redirect(stream, self._told.on_read, self._told.content[offset : offset + length])

    def _readv(self, stream: bytes, _body: bytes, data: bytes) -> None:
        parts = [struct.unpack(">4xiq", data[at : at + 16]) for at in range(0, len(data), 16)]
        content = self._told.content
        pieces = [struct.pack(">4xiq", size, at) + content[at : at + size] for size, at in parts]
        self._redirect(stream, self._told.on_read, b"".join(pieces))

    def _refuse(self, stream: bytes, *_: bytes) -> None:
        self._answer(stream, _ERROR, struct.pack(">i", _UNSUPPORTED) + b"unsupported\0")

    def _status(self) -> bytes:
        return f"1 {len(self._told.content)} 16 1700000000\0".encode()

    def _redirect(self, stream: bytes, where: Callable[[str], str], else_data: bytes) -> None:
        target = where(self._path)
        if self._told.busy:
            self._answer(stream, _WAIT, struct.pack(">i", self._told.busy.pop(0)) + b"busy\0")
        elif target:
            self._answer(stream, _REDIRECT, struct.pack(">i", 0) + target.encode())
        else:
            self._answer(stream, _OK, else_data)

    def _answer(self, stream: bytes, status: int, data: bytes = b"") -> None:
        self._socket.sendall(struct.pack(">2sHi", stream, status, len(data)) + data)

    def _take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            some = self._socket.recv(size - len(data))
            if not some:
                raise EOFError
            data += some
        self._told.everything += data
        return data
