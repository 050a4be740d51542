"""What storages are shown, and how one replica is read: real servers that refuse everybody else."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.instances import Instance, Storage
from rucio_lab.core.did import DID
from rucio_lab.core.errors import StorageFailed
from rucio_lab.core.model import Replica, ResolvedFile
from rucio_lab.core.reading import replicas, xrootd, xrootd_reader
from rucio_lab.core.storage import redirects, shown, storage_token
from rucio_lab.core.transfer.sources import Sources
from tests.lake.content import SCOPE
from tests.lake.faults import TcpProxy
from tests.lake.issuer import AUDIENCE
from tests.lake.lake import FullLake
from tests.lake.storages import Nginx
from tests.support.checks import instance_of, within


@pytest.fixture
def token_file(lake: FullLake, tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(lake.issuer.token() + "\n")
    path.chmod(0o600)
    return path


def instance_with(lake: FullLake, **settings: Any) -> Instance:
    return instance_of(lake, storage=Storage(**{"ca": str(lake.authority.ca), **settings}))


def replica_of(lake: FullLake, dataset: str, scheme: str = "") -> tuple[Replica, bytes]:
    """Give the replica of a dataset's only file, and what it holds."""
    did = DID(SCOPE, f"{dataset}._0001.root")
    (row,) = Lake(instance_of(lake)).replicas([did])
    pfn = next(pfn for pfn in row.pfns if pfn.url.startswith(scheme))
    return Replica(pfn.rse, pfn.url, pfn.url), lake.path(pfn.rse, *did).read_bytes()


def read(replica: Replica, instance: Instance, content: bytes, *, silence: float = 3) -> None:
    """Read two parts of a replica, and check them."""
    reader = replicas.open_replica(replica, instance, len(content), silence=silence)
    try:
        assert reader.read([(0, 100), (1000, 1500)], silence) == [content[:100], content[1000:1500]]
        assert reader.read([(0, len(content))], silence) == [content]
    finally:
        reader.close()


def refusal(replica: Replica, instance: Instance, content: bytes) -> StorageFailed:
    with pytest.raises(StorageFailed) as caught:
        read(replica, instance, content)
    assert caught.value.concerns == "credentials"
    return caught.value


@pytest.mark.parametrize("dataset", ["closed", "web", "https", "certificate", "token", "door", "roots"])
def test_every_kind_of_storage_is_read(lake: FullLake, dataset: str, token_file: Path) -> None:
    replica, content = replica_of(lake, dataset)
    cert = str(lake.users["alice"].pem)  # nginx knows no proxies
    read(replica, instance_with(lake, token_file=str(token_file), proxy=cert), content)


def test_roots_is_known_to_fsspec(lake: FullLake, token_file: Path) -> None:
    """In a process of its own: XRootD looks for CAs once, and for the token of other tools in the environment."""
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


def test_large_reads_are_cut_as_servers_allow() -> None:
    spans = [(0, 10), (100, 100 + 5 * xrootd_reader._LARGEST_PART + 1), *((n * 10, n * 10 + 5) for n in range(3000))]
    requests = xrootd_reader._requests(spans)
    pieces = [piece for request in requests for piece in request]
    assert all(len(request) <= 1024 for request in requests)
    assert all(length <= xrootd_reader._LARGEST_PART for _, length in pieces)
    assert sum(length for _, length in pieces) == sum(stop - start for start, stop in spans)
    assert len(requests) == 3
    assert len(xrootd_reader._requests([(0, 100 << 20)])) == 4


def test_a_file_on_a_mounted_rse_is_read(lake: FullLake) -> None:
    path = lake.path("NOTEBOOK-POSIX", SCOPE, "posix._0001.root")
    replica = Replica("NOTEBOOK-POSIX", str(path))
    read(replica, instance_with(lake), path.read_bytes())
    with pytest.raises(StorageFailed, match=r"has .* bytes, but Rucio has registered 5"):
        replicas.open_replica(replica, instance_with(lake), 5)


@pytest.mark.parametrize("dataset", ["certificate", "token", "roots"])
def test_a_refusal_names_what_is_missing(lake: FullLake, dataset: str, tmp_path: Path) -> None:
    replica, content = replica_of(lake, dataset)
    said = str(refusal(replica, instance_with(lake), content))
    assert "no storage token is configured" in said
    assert "there is no X.509 proxy" in said
    wrong = tmp_path / "wrong-token"
    wrong.write_text(lake.issuer.token(forged=True, audience="https://other.example"))
    said = str(refusal(replica, instance_with(lake, token_file=str(wrong)), content))
    assert "refuses the storage token for https://other.example" in said
    ended = tmp_path / "ended"
    ended.write_text(lake.issuer.token(seconds=-5))
    said = str(refusal(replica, instance_with(lake, token_file=str(ended)), content))
    assert f"the storage token from {ended} ended at" in said
    for path in (wrong, ended):
        assert path.read_text() not in said


def test_a_private_ca_must_be_configured(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    replica, content = replica_of(lake, "https")
    with pytest.raises(StorageFailed, match="certificate that is not trusted here"):
        read(replica, instance_of(lake), content)
    read(replica, instance_with(lake), content)


def test_a_token_is_not_sent_on_to_another_host(lake: FullLake, token_file: Path) -> None:
    target = lake.storages["https"]
    assert isinstance(target, Nginx)
    before = len(target.requests())
    replica, content = replica_of(lake, "door")
    read(replica, instance_with(lake, token_file=str(token_file)), content)
    redirected = target.requests()[before:]
    assert redirected
    assert {line["authorized"] for line in redirected} == {"no"}


def test_a_token_goes_only_over_tls_and_only_where_rucio_says(lake: FullLake, token_file: Path) -> None:
    instance = instance_with(lake, token_file=str(token_file))
    for url, pfn, may in (
        ("https://a.example/f", "https://a.example/f", True),
        ("https://a.example/f", "davs://a.example/f", True),
        ("https://a.example:8443/f", "https://a.example/f", False),
        ("https://b.example/f", "https://a.example/f", False),
        ("http://a.example/f", "http://a.example/f", False),
        ("root://a.example//f", "root://a.example//f", False),
        ("/mnt/f", "https://a.example/f", False),
    ):
        header = storage_token.authorization(Replica("RSE", url, pfn), instance)
        assert bool(header) is may, url
        assert "***" in repr(header) or not may
    address = xrootd.xrootd_url(Replica("RSE", "roots://a//f", "roots://a//f"), instance)
    hidden = xrootd.xrootd_url(Replica("RSE", "roots://cache//roots://a//f", "roots://a//f"), instance)
    assert Path(address.partition("xrd.ztn=")[2].partition("&")[0]).resolve() == token_file
    assert "xrd.wantprot=ztn," in address
    assert f"xrd.ztn={os.devnull}&" in hidden
    assert "ztn," not in hidden


def test_xrootd_gets_the_token_in_a_file_of_the_users_own(lake: FullLake, token_file: Path) -> None:
    token_file.chmod(0o644)
    instance = instance_with(lake, token_file=str(token_file))
    url = xrootd.xrootd_url(Replica("RSE", "roots://a//f", "roots://a//f"), instance)
    assert token_file.read_text().strip() not in url
    private = Path(url.partition("xrd.ztn=")[2].partition("&")[0])
    assert private != token_file
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
    assert private.read_text() == token_file.read_text().strip()


def test_a_token_is_read_again_when_its_file_changes(lake: FullLake, token_file: Path) -> None:
    instance = instance_with(lake, token_file=str(token_file))
    replica, content = replica_of(lake, "token")
    token_file.write_text(lake.issuer.token(forged=True))
    refusal(replica, instance, content)
    token_file.write_text(lake.issuer.token())
    read(replica, instance, content)


def test_a_command_is_run_again_before_its_token_ends(lake: FullLake, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name, seconds in (("first-token", 4), ("second-token", 600)):
        (tmp_path / name).write_text(lake.issuer.token(seconds=seconds))
    script = f"cd {tmp_path}; printf x >> runs; cat first-token 2> /dev/null && rm first-token || cat second-token"
    instance = instance_with(lake, token_command=("sh", "-c", script))
    first, _ = storage_token.find_token(instance)
    again, _ = storage_token.find_token(instance)
    assert first is not None
    assert again is first
    assert runs.read_text() == "x"
    time.sleep(2.2)
    renewed, _ = storage_token.find_token(instance)
    assert renewed is not None
    assert renewed.text != first.text
    assert runs.read_text() == "xx"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("no-such-program",), "cannot be run: No such file"),
        (("false",), "failed with status 1"),
        (("echo", "two words"), "no storage token in what the command echo gives"),
        (("true",), "no storage token"),
    ],
)
def test_a_command_that_gives_no_token(lake: FullLake, command: tuple[str, ...], words: str) -> None:
    token, problem = storage_token.find_token(instance_with(lake, token_command=command))
    assert token is None
    assert words in problem


def test_wlcg_discovery_only_where_it_is_asked_for(
    lake: FullLake, monkeypatch: pytest.MonkeyPatch, token_file: Path
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(token_file))
    assert storage_token.find_token(instance_with(lake))[0] is None
    token, _ = storage_token.find_token(instance_with(lake, wlcg_token=True))
    assert token is not None
    assert token.text == token_file.read_text().strip()


def test_what_is_told_of_the_credentials(lake: FullLake, token_file: Path) -> None:
    proxy = str(lake.authority.proxy(lake.users["alice"], seconds=3600))
    facts = shown.describe(instance_with(lake, token_file=str(token_file), proxy=proxy))
    assert facts.token is not None
    assert (facts.token.audience, facts.token.issuer) == (AUDIENCE, lake.issuer.url)
    assert facts.proxy is not None
    assert facts.proxy.path == proxy
    assert "Alice Analyst" in facts.proxy.subject
    assert 0 < facts.proxy.expires.timestamp() - time.time() <= 3600
    assert str(lake.authority.ca) in facts.ca
    assert facts.problems == ()
    assert token_file.read_text().strip().encode() not in pickle.dumps(facts) + repr(facts).encode()


def test_problems_with_credentials_are_named(lake: FullLake, tmp_path: Path) -> None:
    ended = str(lake.authority.proxy(lake.users["alice"], seconds=-60))
    problems = shown.describe(instance_with(lake, token_file="/no/such", proxy=ended, ca="/no/ca")).problems
    assert len(problems) == 3
    assert "The storage token cannot be read from /no/such: No such file" in problems[0]
    assert "ended at" in problems[1]
    assert "/no/ca" in problems[2]
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("rubbish")
    for settings in ({"proxy": str(rubbish)}, {"ca": str(rubbish)}, {"proxy": str(lake.users["alice"].cert)}):
        (problem,) = shown.describe(instance_with(lake, **settings)).problems
        assert settings["ca" if "ca" in settings else "proxy"] in problem


@pytest.mark.parametrize("scheme", ["root", "http", "https"])
@pytest.mark.parametrize("how", ["refuse", "silent", "reset", "cut"])
def test_a_server_that_fails_is_named_in_time(lake: FullLake, scheme: str, how: str) -> None:
    replica, content = replica_of(lake, f"faulty.{scheme}")
    proxy = lake.faulty[scheme]
    proxy.cut(2500) if how == "cut" else getattr(proxy, how)()
    with within(2), pytest.raises(StorageFailed) as caught:
        read(replica, instance_with(lake), content, silence=1)
    assert caught.value.concerns == "server" or how == "cut"


@pytest.mark.parametrize("scheme", ["root", "http", "https"])
def test_a_server_that_falls_silent_in_the_middle(lake: FullLake, scheme: str) -> None:
    replica, content = replica_of(lake, f"faulty.{scheme}")
    reader = replicas.open_replica(replica, instance_with(lake), len(content))
    assert reader.read([(0, 100)], 3) == [content[:100]]
    lake.faulty[scheme].silent()
    with within(2), pytest.raises(StorageFailed, match="did not answer"):
        reader.read([(0, 100), (200, 300)], 1)
    reader.close()


@pytest.mark.parametrize("scheme", ["root", "http", "https"])
def test_a_file_that_is_gone_or_of_another_size(lake: FullLake, scheme: str) -> None:
    replica, content = replica_of(lake, f"faulty.{scheme}")
    for other in (content + b"more", content[:-1]):
        with pytest.raises(StorageFailed, match="bytes") as caught:
            read(replica, instance_with(lake), other)
        assert caught.value.concerns == "file"
    gone = Replica(replica.rse, replica.url + ".gone", replica.pfn)
    with pytest.raises(StorageFailed, match="has no such file") as caught:
        read(gone, instance_with(lake), content)
    assert caught.value.concerns == "file"
    assert pickle.loads(pickle.dumps(caught.value)).concerns == "file"


def test_a_server_without_range_is_found_out_before_the_read(lake: FullLake) -> None:
    replica, content = replica_of(lake, "large.norange")
    sent = lake.storages["http-norange"].sent()
    with pytest.raises(StorageFailed, match="does not serve parts of files"):
        read(replica, instance_with(lake), content)
    assert lake.storages["http-norange"].sent() - sent < len(content)


def redirect(status: int, location: str) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.fixture
def door(lake: FullLake) -> Iterator[TcpProxy]:
    """An https storage that can send its readers anywhere."""
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


def test_https_goes_on_as_http_only_where_a_site_allows_it(lake: FullLake, door: TcpProxy, token_file: Path) -> None:
    replica, content = replica_of(lake, "web", "http:")
    door.answer(redirect(302, replica.url))
    there = Replica("RSE", f"https://localhost:{door.port}/f", f"https://localhost:{door.port}/f")
    strict = instance_with(lake, token_file=str(token_file))
    for read_it in (read, downloaded):
        with pytest.raises(StorageFailed, match=r"plain http.*name localhost in redirects_to_http") as caught:
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
def test_a_redirect_that_leads_off_the_web(lake: FullLake, door: TcpProxy, location: str) -> None:
    door.answer(redirect(302, location))
    there = Replica("RSE", f"https://localhost:{door.port}/f", f"https://localhost:{door.port}/f")
    for read_it in (read, downloaded):
        with pytest.raises(StorageFailed, match="not on the web"):
            read_it(there, instance_with(lake), b"x" * 2000)


def test_a_storage_that_sends_on_and_on(lake: FullLake, door: TcpProxy) -> None:
    door.answer(redirect(307, "/f"))
    there = Replica("RSE", f"https://localhost:{door.port}/f", f"https://localhost:{door.port}/f")
    for read_it in (read, downloaded):
        with pytest.raises(StorageFailed, match="from one address to the next"):
            read_it(there, instance_with(lake), b"x" * 2000)
    assert door.connections <= 2 * (redirects.MOST + 1)
