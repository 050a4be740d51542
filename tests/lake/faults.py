"""A TCP proxy that can fail in every way a server or its network can."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any

_CHUNK = 65536
_TICK = 0.02  # seconds between two checks of whether the silence has ended


@dataclass(frozen=True)
class _Mode:
    """What a proxy does: ``forward``, ``refuse``, ``silent``, ``reset`` or ``answer``."""

    kind: str = "forward"
    delay: float = 0  # seconds to delay each message of a client
    rate: float = 0  # bytes per second from the server, for all connections together; 0 for no limit
    limit: int | None = None  # bytes from the server after which a connection ends
    hold: int | None = None  # bytes from the server after which a connection waits until the mode changes
    answer: bytes = b""


@dataclass(eq=False)
class _Connection:
    task: asyncio.Task[None] | None
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    sent: int = 0
    stalled: bool = False
    unknown: bool = False

    def end(self, *, reset: bool) -> None:
        for writer in self.writers:
            if reset:
                _reset_on_close(writer)
            writer.transport.abort()


class TcpProxy:
    """A proxy on a free port of 127.0.0.1 that forwards at first. TLS passes through unchanged.

    Parameters
    ----------
    port
        Port of the server on 127.0.0.1; 0 for a proxy without a server, which must not forward.
    certificate, key
        PEM files; with them :meth:`answer` uses TLS, as the server would.

    Attributes
    ----------
    port
        Port of the proxy.
    connections
        Number of connections so far, including failed ones.
    received, sent
        Bytes from clients and to clients.
    messages
        Number of messages from clients: a request, or several that arrived together.
    """

    def __init__(self, port: int, *, certificate: Path | None = None, key: Path | None = None) -> None:
        self._target = port
        self._context: ssl.SSLContext | None = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate, key)
        self._mode = _Mode()
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._reserved = _bound(0)
        self.port: int = self._reserved.getsockname()[1]
        self.connections = self.received = self.sent = self.messages = 0
        self._loop = asyncio.new_event_loop()
        self._busy = 0.0  # the time until which the line is in use, if there is a rate
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name=f"proxy-{self.port}")
        self._thread.start()
        self.forward()

    # ------------------------------------------------------------------------------------ modes

    def forward(self) -> None:
        """Forward everything, and resume silent connections."""
        self._change(_Mode())

    def delay(self, seconds: float) -> None:
        """Forward everything, but delay each connection and each message of a client."""
        self._change(_Mode(delay=seconds))

    def far(self, seconds: float, rate: float) -> None:
        """Forward everything as over a long line, with this delay of each message of a client and this many bytes/s."""
        self._change(_Mode(delay=seconds, rate=rate))

    def silent(self) -> None:
        """Accept connections but forward nothing, on open connections either."""
        self._change(_Mode("silent"))

    def refuse(self) -> None:
        """Refuse connections, and close the open ones."""
        self._change(_Mode("refuse"), abort=True)

    def reset(self) -> None:
        """Accept connections and reset them at once; reset the open ones."""
        self._change(_Mode("reset"), abort=True)

    def cut(self, size: int) -> None:
        """Forward everything, but close each connection after this many bytes from the server; close the open ones."""
        self._change(_Mode(limit=size), abort=True)

    def hold(self, size: int) -> None:
        """Forward everything, but pause each connection after this many bytes from the server."""
        self._change(_Mode(hold=size))

    def answer(self, content: bytes) -> None:
        """Answer every request with these bytes, then close the connection."""
        self._change(_Mode("answer", answer=content), abort=True)

    def answer_http(self, status: int, body: str = "", content_type: str = "text/html", **headers: str) -> None:
        """Answer every request with an HTTP response, then close the connection.

        Parameters
        ----------
        status, body, content_type
            The response.
        headers
            More headers; ``_`` in a name stands for ``-``.
        """
        content = body.encode()
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Type: {content_type}"]
        lines += [f"Content-Length: {len(content)}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.answer("\r\n".join([*lines, "", ""]).encode() + content)

    def drop(self) -> None:
        """Close the open connections; new ones are served as before."""
        self._change(self._mode, abort=True)

    def stall(self) -> None:
        """Forward nothing more on the open connections, as a firewall that has forgotten them; serve new ones."""
        for connection in list(self._connections):
            connection.stalled = True

    def restart_firewall(self) -> None:
        """Reset each open connection when its client next sends something; serve new ones."""
        for connection in list(self._connections):
            connection.unknown = True

    def forget(self) -> None:
        """Reset the counters."""
        self.connections = self.received = self.sent = self.messages = 0

    def close(self) -> None:
        """Stop the proxy and close all connections."""
        self._change(_Mode("refuse"), abort=True)
        asyncio.run_coroutine_threadsafe(self._wait_for_connections(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._reserved.close()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------ implementation

    def _change(self, mode: _Mode, *, abort: bool = False) -> None:
        asyncio.run_coroutine_threadsafe(self._set(mode, abort=abort), self._loop).result()

    async def _set(self, mode: _Mode, *, abort: bool) -> None:
        self._mode = mode
        if abort:
            for connection in list(self._connections):
                connection.end(reset=mode.kind == "reset")
        if mode.kind == "refuse" and self._server:
            self._server.close()
            self._server = None
            await asyncio.sleep(0)  # the loop closes the socket in its next iteration
            self._reserved = _bound(self.port)  # keeps the port from other programs
        elif mode.kind != "refuse" and not self._server:
            self._server = await asyncio.start_server(self._serve, sock=self._reserved)

    async def _wait_for_connections(self) -> None:
        tasks = [connection.task for connection in self._connections if connection.task]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = _Connection(asyncio.current_task(), [writer])
        self._connections.add(connection)
        try:
            with suppress(OSError):
                await self._play(connection, reader, writer)
        finally:
            self._connections.discard(connection)
            for each in connection.writers:
                each.close()

    async def _play(self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mode = self._mode
        if mode.kind == "reset":
            connection.end(reset=True)
            return
        if mode.kind == "answer":
            await self._answer(reader, writer, mode.answer)
            return
        await self._wait(writer, mode.delay)
        if writer.is_closing():
            return
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target)
        connection.writers.append(server_writer)
        await asyncio.gather(
            self._pump_out(connection, reader, server_writer),
            self._pump_in(connection, server_reader, writer, mode.limit),
        )

    async def _wait(self, writer: asyncio.StreamWriter, delay: float = 0, *, sent: int = 0) -> None:
        """Wait before a write for as long as the mode requires."""
        await asyncio.sleep(delay)
        while self._holds_back(sent) and not writer.is_closing():  # noqa: ASYNC110 - either condition can end it
            await asyncio.sleep(_TICK)

    def _holds_back(self, sent: int) -> bool:
        return self._mode.kind == "silent" or (self._mode.hold is not None and sent >= self._mode.hold)

    async def _pump_out(
        self, connection: _Connection, reader: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(_CHUNK):
            if connection.stalled:
                continue
            if connection.unknown:
                connection.end(reset=True)
                return
            self.received += len(data)
            self.messages += 1
            await self._wait(server, self._mode.delay)
            server.write(data)
            await server.drain()
        with suppress(OSError):
            server.write_eof()

    async def _pump_in(
        self, connection: _Connection, server: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None
    ) -> None:
        while data := await server.read(_CHUNK):
            await self._share(len(data))
            await self._wait(writer, sent=connection.sent)
            data = data if limit is None else data[: limit - connection.sent]
            connection.sent += len(data)
            self.sent += len(data)
            writer.write(data)
            await writer.drain()
            if limit is not None and connection.sent >= limit:
                break
        for each in connection.writers:
            each.close()

    async def _share(self, size: int) -> None:
        """Wait until the line can carry this many more bytes."""
        if self._mode.rate:
            self._busy = max(self._busy, self._loop.time()) + size / self._mode.rate
            await asyncio.sleep(self._busy - self._loop.time())

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, content: bytes) -> None:
        if self._context:
            await writer.start_tls(self._context)
        self.received += len(await reader.read(_CHUNK))
        self.sent += len(content)
        writer.write(content)
        await writer.drain()


def _bound(port: int) -> socket.socket:
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", port))
    return reserved


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    """Make the connection end with a reset."""
    connected: Any = writer.get_extra_info("socket")
    with suppress(OSError):  # it has already ended
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
