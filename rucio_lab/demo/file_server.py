"""A storage of the demo lake: an HTTP server for one folder that logs exactly what it sent.

Run as ``python -m rucio_lab.demo.file_server --root DIR --port N --log FILE``. It answers GET and HEAD, with at most
one byte range. While a file ``FILE.off`` exists it is down: it closes its port and all connections. In a notebook,
:func:`stop_storage` and :func:`start_storage` create and remove that file.

The log has one JSON object per request, each on a line: ``time`` (when the request ended, in seconds since the epoch),
``method``, ``path``, ``range`` (the header, or null), ``status``, ``start`` (offset of the first byte) and ``sent``
(bytes of the body that were sent, even if the client disconnected early).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import unquote

from tornado.concurrent import Future
from tornado.httpserver import HTTPServer
from tornado.web import Application, StaticFileHandler

from rucio_lab.core.errors import BadRequest, RucioLabError

_TICK = 0.05  # seconds between two checks of whether it should be up


class _FileHandler(StaticFileHandler):
    def initialize(self, path: str, log: TextIO) -> None:  # type: ignore[override] # adds a setting to tornado's
        super().initialize(path)
        self._log_stream = log
        self._sent = 0

    def compute_etag(self) -> str | None:
        """Identify the version of a file by time and size: tornado's own method would read the whole file."""
        return f'"{self.get_modified_time():%Y%m%d%H%M%S}-{self.get_content_size()}"'

    def flush(self, include_footers: bool = False) -> Future[None]:
        size = 0 if self.request.method == "HEAD" else sum(map(len, self._write_buffer))
        written = super().flush(include_footers)

        def count(future: Future[None]) -> None:
            if not future.cancelled() and future.exception() is None:
                self._sent += size

        written.add_done_callback(count)
        return written

    def on_finish(self) -> None:
        # in the next iteration of the loop, after the last flush has been counted
        asyncio.get_running_loop().call_soon(self._write_log)

    def _write_log(self) -> None:
        first = re.match(r"bytes (\d+)-", self._headers.get("Content-Range", ""))
        line = {
            "time": time.time(),
            "method": self.request.method,
            "path": unquote(self.request.path),
            "range": self.request.headers.get("Range"),
            "status": self.get_status(),
            "start": int(first[1]) if first else 0,
            "sent": self._sent,
        }
        self._log_stream.write(json.dumps(line) + "\n")
        self._log_stream.flush()


@dataclass(frozen=True)
class Traffic:
    """What clients read from a storage.

    Attributes
    ----------
    sent
        Bytes of file content that were sent.
    touched
        Number of files that were read at least in part.
    whole
        Number of files that were sent in full, that is, downloaded.
    """

    sent: int
    touched: int
    whole: int


def _covered(spans: Iterable[tuple[int, int]]) -> int:
    """Return how many distinct bytes the spans (start, end) cover."""
    total = reached = 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def read_traffic(log: Path, root: Path) -> Traffic:
    """Summarise the log of a storage.

    Parameters
    ----------
    log
        The log file; a missing one counts as empty.
    root
        The folder the storage serves.
    """
    spans: dict[str, list[tuple[int, int]]] = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        record: dict[str, Any] = json.loads(line)
        if record["status"] in {200, 206} and record["sent"]:
            spans.setdefault(record["path"], []).append((record["start"], record["start"] + record["sent"]))
    whole = sum(_covered(parts) >= (root / path.lstrip("/")).stat().st_size for path, parts in spans.items())
    sent = sum(end - start for parts in spans.values() for start, end in parts)
    return Traffic(sent, len(spans), whole)


def stop_storage(rse: str) -> None:
    """Take a storage of the demo lake down as if its machine had crashed, and wait until its port is closed.

    Parameters
    ----------
    rse
        ``DEMO-DISK`` or ``DEMO-MIRROR``.

    Raises
    ------
    RucioLabError
        If this does not run on a demo lake, or the storage does not go down.
    """
    log = _log_of(rse)
    _switch(log).touch()
    _wait_until(log, listens=False)


def start_storage(rse: str) -> None:
    """Bring a storage of the demo lake back up; see :func:`stop_storage`."""
    log = _log_of(rse)
    _switch(log).unlink(missing_ok=True)
    _wait_until(log, listens=True)


def folder_of(lake: Path, rse: str) -> Path:
    """Return the folder of a storage.

    Parameters
    ----------
    lake
        The folder of a demo lake.
    rse
        Name of its RSE.
    """
    return lake / "storages" / rse


def _log_of(rse: str) -> Path:
    """Find the log of a storage of the demo lake that this process is configured for."""
    configuration = os.environ.get("RUCIO_LAB_CONFIG", "")
    storages = folder_of(Path(configuration).parent, "")
    known = sorted(path.name for path in storages.iterdir()) if configuration and storages.is_dir() else []
    if not known:
        raise RucioLabError("This does not run on a demo lake.", "Start one with rucio-lab demo --execute NOTEBOOK.")
    if rse not in known:
        raise BadRequest(f"The demo lake has no storage {rse!r}.", f"It has {' and '.join(known)}.")
    return storages / rse / "requests.log"


def _switch(log: Path) -> Path:
    return log.with_name(f"{log.name}.off")


def _wait_until(log: Path, *, listens: bool) -> None:
    port = int(log.with_name("port").read_text())
    deadline = time.monotonic() + 10
    while True:
        with socket.socket() as probe:
            if (probe.connect_ex(("127.0.0.1", port)) == 0) == listens:
                return
        if time.monotonic() > deadline:
            raise RucioLabError(
                f"The storage on port {port} did not {'start' if listens else 'stop'}.", "Is the demo still running?"
            )
        time.sleep(_TICK)


async def _serve(root: Path, port: int, log: Path) -> None:
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    with log.open("a") as stream:
        application = Application(
            [(r"/(.*)", _FileHandler, {"path": str(root), "log": stream})], log_function=lambda _: None
        )
        server: HTTPServer | None = None
        while not end.is_set():
            wanted = not _switch(log).exists()
            if wanted and not server:
                server = application.listen(port, "127.0.0.1")
            elif server and not wanted:
                server.stop()
                await server.close_all_connections()
                server = None
            with suppress(TimeoutError):
                await asyncio.wait_for(end.wait(), _TICK)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="Serve a folder over HTTP on loopback and log what is sent.")
    parser.add_argument("--root", type=Path, required=True, help="the folder")
    parser.add_argument("--port", type=int, required=True, help="the TCP port on 127.0.0.1")
    parser.add_argument("--log", type=Path, required=True, help="the log, one JSON object per request")
    options = parser.parse_args()
    asyncio.run(_serve(options.root.resolve(), options.port, options.log.absolute()))


if __name__ == "__main__":
    main()
