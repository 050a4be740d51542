"""Downloads in tests, and what is checked of them."""

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
    return download(Request(tuple(f"{scope}:{name}" for name in names), "", access="download", **how))


def unavailable(*names: str, **how: Any) -> FilesUnavailable:
    with pytest.raises(FilesUnavailable) as caught:
        fetch(*names, **how)
    assert_clear(caught.value)
    return caught.value


def assert_whole(resolution: Resolution) -> None:
    """Check that each file is there with the bytes that Rucio has registered."""
    for file in resolution.files:
        content = Path(file.url).read_bytes()
        assert len(content) == file.bytes
        assert f"{zlib.adler32(content):08x}" == file.adler32


def gets(lake: FullLake, storage: str) -> int:
    """Count the answers of a storage that were more than a probe's."""
    server = lake.storages[storage]
    assert isinstance(server, Nginx)
    return sum(line["method"] == "GET" and line["sent"] > 1 for line in server.requests())


def forked(work: Callable[[], None]) -> int:
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def served(lake: FullLake, contents: dict[str, bytes], port: int = 0) -> list[ResolvedFile]:
    """Put files where a web server serves them, at its own port or a proxy's, without telling Rucio."""
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
