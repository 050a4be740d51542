"""Every kind of storage can be read, and a storage that fails is reported in time."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.model import Replica
from rucio_lab.core.reading import replicas, xrootd_reader
from tests.lake.content import SCOPE
from tests.lake.lake import FullLake
from tests.support.checks import within
from tests.support.reading import instance_with, read, replica_of


@pytest.mark.parametrize("dataset", ["closed", "web", "https", "certificate", "token", "door", "roots"])
def test_every_kind_of_storage_can_be_read(lake: FullLake, dataset: str, token_file: Path) -> None:
    replica, content = replica_of(lake, dataset)
    cert = str(lake.users["alice"].pem)  # nginx does not support proxies
    read(replica, instance_with(lake, token_file=str(token_file), proxy=cert), content)


def test_fsspec_reads_roots(lake: FullLake, token_file: Path) -> None:
    """In a new process: XRootD looks for CAs once, and finds the token in the environment, as for other tools."""
    replica, content = replica_of(lake, "roots")
    code = (
        "import sys, fsspec, uproot; fs, path = fsspec.url_to_fs(sys.argv[1]);"
        "assert fs.cat_file(path, start=0, end=4) == b'root'; assert fs.size(path) == int(sys.argv[2]);"
        "print(uproot.open({sys.argv[1]: 'mini'}).num_entries)"
    )
    known = {"X509_CERT_FILE": str(lake.authority.ca), "BEARER_TOKEN_FILE": str(token_file)}
    done = subprocess.run(
        [sys.executable, "-c", code, replica.url, str(len(content))],
        env={**os.environ, **known},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_large_reads_are_cut_to_the_limits_of_servers() -> None:
    spans = [(0, 10), (100, 100 + 5 * xrootd_reader._LARGEST_PART + 1), *((n * 10, n * 10 + 5) for n in range(3000))]
    requests = xrootd_reader._requests(spans)
    pieces = [piece for request in requests for piece in request]
    assert all(len(request) <= 1024 for request in requests)
    assert all(length <= xrootd_reader._LARGEST_PART for _, length in pieces)
    assert sum(length for _, length in pieces) == sum(stop - start for start, stop in spans)
    assert len(requests) == 3
    assert len(xrootd_reader._requests([(0, 100 << 20)])) == 4


def test_a_file_on_a_mounted_rse_can_be_read(lake: FullLake) -> None:
    path = lake.path("NOTEBOOK-POSIX", SCOPE, "posix._0001.root")
    replica = Replica("NOTEBOOK-POSIX", str(path))
    read(replica, instance_with(lake), path.read_bytes())
    with pytest.raises(StorageFailed, match=r"has .* bytes, but Rucio has registered 5"):
        replicas.open_replica(replica, instance_with(lake), 5)


@pytest.mark.parametrize("scheme", ["root", "http", "https"])
@pytest.mark.parametrize("how", ["refuse", "silent", "reset", "cut"])
def test_a_failing_server_is_reported_in_time(lake: FullLake, scheme: str, how: str) -> None:
    replica, content = replica_of(lake, f"faulty.{scheme}")
    proxy = lake.faulty[scheme]
    proxy.cut(2500) if how == "cut" else getattr(proxy, how)()
    with within(2), pytest.raises(StorageFailed) as caught:
        read(replica, instance_with(lake), content, silence=1)
    assert caught.value.concerns == "server" or how == "cut"


@pytest.mark.parametrize("scheme", ["root", "http", "https"])
def test_a_server_that_stops_answering_during_a_read(lake: FullLake, scheme: str) -> None:
    replica, content = replica_of(lake, f"faulty.{scheme}")
    reader = replicas.open_replica(replica, instance_with(lake), len(content))
    assert reader.read([(0, 100)], 3) == [content[:100]]
    lake.faulty[scheme].silent()
    with within(2), pytest.raises(StorageFailed, match="did not answer"):
        reader.read([(0, 100), (200, 300)], 1)
    reader.close()


@pytest.mark.parametrize("scheme", ["root", "http", "https"])
def test_a_file_that_is_missing_or_has_a_different_size(lake: FullLake, scheme: str) -> None:
    replica, content = replica_of(lake, f"faulty.{scheme}")
    for other in (content + b"more", content[:-1]):
        with pytest.raises(StorageFailed, match="bytes") as caught:
            read(replica, instance_with(lake), other)
        assert caught.value.concerns == "file"
    missing = Replica(replica.rse, replica.url + ".missing", replica.pfn)
    with pytest.raises(StorageFailed, match="has no such file") as caught:
        read(missing, instance_with(lake), content)
    assert caught.value.concerns == "file"
    assert pickle.loads(pickle.dumps(caught.value)).concerns == "file"


def test_a_server_without_range_support_is_noticed_before_the_file_is_sent(lake: FullLake) -> None:
    replica, content = replica_of(lake, "large.norange")
    sent = lake.storages["http-norange"].sent()
    with pytest.raises(StorageFailed, match="does not serve parts of files"):
        read(replica, instance_with(lake), content)
    assert lake.storages["http-norange"].sent() - sent < len(content)
