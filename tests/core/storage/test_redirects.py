"""Which redirects of a web storage are followed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.model import Replica, ResolvedFile
from rucio_lab.core.storage import redirects
from rucio_lab.core.transfer.sources import Sources
from tests.lake.content import SCOPE
from tests.lake.faults import TcpProxy
from tests.lake.lake import FullLake
from tests.lake.storages import Nginx
from tests.support.reading import instance_with, read, replica_of


def redirect(status: int, location: str) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.fixture
def door(lake: FullLake) -> Iterator[TcpProxy]:
    """An https storage that can redirect anywhere."""
    own = {"certificate": lake.authority.server_cert, "key": lake.authority.server_key}
    with TcpProxy(0, **own) as proxy:
        yield proxy


def downloaded(replica: Replica, instance: Instance, content: bytes) -> bytes:
    """Read a replica as a download does."""
    sources = Sources(instance, 1)
    file = ResolvedFile(DID(SCOPE, "f"), (), len(content), None, (replica,))
    try:
        stream = sources.open(file, replica, 0, 3)
        return b"".join(iter(stream.read, b""))
    finally:
        sources.close()


def test_redirects_from_https_to_http_are_followed_only_if_a_site_allows_them(
    lake: FullLake, door: TcpProxy, token_file: Path
) -> None:
    replica, content = replica_of(lake, "web", "http:")
    door.answer(redirect(302, replica.url))
    there = Replica("RSE", f"https://localhost:{door.port}/f", f"https://localhost:{door.port}/f")
    strict = instance_with(lake, token_file=str(token_file))
    for read_it in (read, downloaded):
        with pytest.raises(StorageFailed, match=r"plain http.*add localhost to redirects_to_http") as caught:
            read_it(there, strict, content)
        assert caught.value.concerns == "file"
    storage_ = lake.storages["http"]
    assert isinstance(storage_, Nginx)
    before = len(storage_.requests())
    allowed = instance_with(lake, token_file=str(token_file), redirects_to_http=("localhost",))
    read(there, allowed, content)
    assert downloaded(there, allowed, content) == content
    seen = storage_.requests()[before:]
    assert seen
    assert {line["authorized"] for line in seen} == {"no"}


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://localhost/", "http://[", "https://a:0/"])
def test_a_redirect_to_something_other_than_a_web_address(lake: FullLake, door: TcpProxy, location: str) -> None:
    door.answer(redirect(302, location))
    there = Replica("RSE", f"https://localhost:{door.port}/f", f"https://localhost:{door.port}/f")
    for read_it in (read, downloaded):
        with pytest.raises(StorageFailed, match="not a valid web address"):
            read_it(there, instance_with(lake), b"x" * 2000)


def test_a_storage_that_redirects_forever(lake: FullLake, door: TcpProxy) -> None:
    door.answer(redirect(307, "/f"))
    there = Replica("RSE", f"https://localhost:{door.port}/f", f"https://localhost:{door.port}/f")
    for read_it in (read, downloaded):
        with pytest.raises(StorageFailed, match="redirects too often"):
            read_it(there, instance_with(lake), b"x" * 2000)
    assert door.connections <= 2 * (redirects.MOST + 1)
