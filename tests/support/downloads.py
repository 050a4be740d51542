"""Downloads in tests, and checks of their results."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rucio_lab.core.did import DID
from rucio_lab.core.errors import FilesUnavailable
from rucio_lab.core.model import Replica, Request, Resolution, ResolvedFile
from rucio_lab.core.transfer.download import download
from tests.lake.lake import FullLake
from tests.lake.storages import Nginx
from tests.support.checks import assert_clear

SCOPE = "opendata13TeV"
Configure = Callable[..., None]


def fetch(*names: str, scope: str = SCOPE, **how: Any) -> Resolution:
    """Download DIDs of a scope."""
    return download(Request(tuple(f"{scope}:{name}" for name in names), "", access="download", **how))


def unavailable(*names: str, **how: Any) -> FilesUnavailable:
    """Download DIDs of which some fail, and give the error."""
    with pytest.raises(FilesUnavailable) as caught:
        fetch(*names, **how)
    assert_clear(caught.value)
    return caught.value


def assert_whole(resolution: Resolution) -> None:
    """Check that each file exists, with the size and checksum registered in Rucio."""
    for file in resolution.files:
        content = Path(file.url).read_bytes()
        assert len(content) == file.bytes
        assert f"{zlib.adler32(content):08x}" == file.adler32


def gets(lake: FullLake, storage: str) -> int:
    """Count the requests to a storage that were not just probes."""
    server = lake.storages[storage]
    assert isinstance(server, Nginx)
    return sum(line["method"] == "GET" and line["sent"] > 1 for line in server.requests())


def forked(work: Callable[[], None]) -> int:
    """Call a function in a forked process, and give its process id."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def served(lake: FullLake, contents: dict[str, bytes], port: int = 0) -> list[ResolvedFile]:
    """Create files that a web server serves, at its own port or a proxy's, without registering them in Rucio."""
    folder = lake.store / "web" / "served"
    folder.mkdir(exist_ok=True)
    address = f"http://127.0.0.1:{port or lake.storages['http'].port}/web/served"
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [
        ResolvedFile(
            DID("s", name), (), len(content), f"{zlib.adler32(content):08x}", (Replica("WEB", f"{address}/{name}"),)
        )
        for name, content in contents.items()
    ]
