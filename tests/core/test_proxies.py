"""Storages behind the web proxy of the environment, and proxies that do not work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from rucio_lab import attach, download
from rucio_lab.core.errors import LakeUnreachable, RucioLabError
from rucio_lab.core.proxies import shown
from rucio_lab.core.reading import probe
from rucio_lab.demo.processes import free_port
from tests.lake.hostile import CONTAINER, CONTENT, FILES, RSE, SCOPE, HostileRucio, stream
from tests.lake.lake import FullLake
from tests.support.web_proxy import WebProxy, web_proxy

DID = f"{SCOPE}:{CONTAINER}"
STORAGE = "storage.behind.invalid"
PASSWORD = "hush-hush"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebProxy]:
    """A proxy that the environment does not name yet."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with web_proxy() as proxy:
        yield proxy


@pytest.fixture
def behind(hostile: HostileRucio, proxy: WebProxy) -> HostileRucio:
    """A Rucio whose storage has a name that only the proxy knows."""
    proxy.hosts[STORAGE] = hostile.server_port
    rows = hostile.rows()["/replicas/list"]
    for row in rows:
        address = f"http://{STORAGE}/storage/{row['name']}"
        row["pfns"] = {address: next(iter(row["pfns"].values()))}
        row["rses"] = {RSE: [address]}
    hostile.replies["/replicas/list"] = stream(rows)
    return hostile


def said_by(call: Callable[[], object]) -> str:
    with pytest.raises(RucioLabError) as caught:
        call()
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_storage_that_only_the_proxy_reaches(
    behind: HostileRucio, proxy: WebProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, proxy.url)
    with pytest.warns(UserWarning, match="do not use the proxy of the environment"):
        files = attach(DID)
    assert files == [f"rucio://evil/{SCOPE}/f{number}.root" for number in range(FILES)]
    with fsspec.open(files[0]) as file:
        assert file.read() == CONTENT
    assert [Path(path).read_bytes() for path in download(DID, to=tmp_path)] == [CONTENT] * FILES
    assert f"GET http://{STORAGE}/storage/f0.root" in proxy.asked
    plain = said_by(lambda: attach(DID, access="stream"))
    assert f"{STORAGE} can be reached only through the proxy {proxy.url}, which readers of a plain URL" in plain


@pytest.mark.parametrize(
    "form", ["{host}", "ann:{password}@{host}", " {url} ", "HTTP://{host}/", "ann:{password}@@{host}"]
)
def test_odd_forms_of_a_proxy_that_works(
    behind: HostileRucio, proxy: WebProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    host = proxy.url.removeprefix("http://")
    monkeypatch.setenv("HTTP_PROXY", form.format(url=proxy.url, host=host, password=PASSWORD))
    with pytest.warns(UserWarning, match="do not use the proxy of the environment"):
        files = attach(DID)
    with fsspec.open(files[0]) as file:
        assert file.read() == CONTENT
    assert len(download(DID, to=tmp_path)) == FILES


@pytest.mark.parametrize(
    "form", ["http://[::bad", "http://127.0.0.1:port", f"http://ann:{PASSWORD}@proxy.invalid:3128", "https://{host}"]
)
def test_a_proxy_that_cannot_work_is_to_blame(
    behind: HostileRucio, proxy: WebProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", form.format(host=proxy.url.removeprefix("http://")))
    (address, *_) = attach(DID, access="lake")
    for call in (lambda: attach(DID), lambda: fsspec.open(address).open().read(), lambda: download(DID, to=tmp_path)):
        assert " is asked through the proxy " in said_by(call)


def test_a_storage_in_no_proxy_is_asked_directly(
    behind: HostileRucio, proxy: WebProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", f"127.0.0.1,{STORAGE}")
    assert "cannot be reached" in said_by(lambda: attach(DID))
    assert "a name that nobody knows" in said_by(lambda: download(DID, to=tmp_path))
    assert proxy.asked == []


@pytest.mark.parametrize("working", [True, False])
def test_a_proxy_that_asks_for_credentials(
    behind: HostileRucio, proxy: WebProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, working: bool
) -> None:
    proxy.user = f"ann:{PASSWORD}"
    password = PASSWORD if working else f"{PASSWORD}-no"
    monkeypatch.setenv("HTTP_PROXY", f"http://ann:{password}@127.0.0.1:{proxy.server_port}")
    if working:
        with pytest.warns(UserWarning, match="proxy") as noted:
            files = attach(DID)
        assert not [each for each in noted if PASSWORD in str(each.message)]
        assert PASSWORD not in repr(files.explain())
        assert len(download(DID, to=tmp_path)) == FILES
        return
    words = f"is asked through the proxy {proxy.url}, which asks for credentials (HTTP 407)"
    assert words in said_by(lambda: attach(DID))
    assert words in said_by(lambda: download(DID, to=tmp_path))
    with (
        pytest.raises(OSError, match="asks for credentials") as caught,
        fsspec.open(f"rucio://evil/{SCOPE}/f0.root") as file,
    ):
        file.read()
    assert PASSWORD not in str(caught.value)


def test_a_proxy_that_is_down(
    behind: HostileRucio, proxy: WebProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("HTTP_PROXY", f"http://ann:{PASSWORD}@{nowhere}")
    words = f"is asked through the proxy http://{nowhere}, which refuses connections"
    assert words in said_by(lambda: attach(DID))
    assert words in said_by(lambda: download(DID, to=tmp_path))


def test_a_proxy_that_is_none(
    behind: HostileRucio, proxy: WebProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:9")
    words = "is asked through the proxy socks5://127.0.0.1:9, which is not a web proxy"
    assert words in said_by(lambda: attach(DID))
    assert words in said_by(lambda: download(DID, to=tmp_path))


def test_tls_goes_through_a_tunnel(
    lake: FullLake, proxy: WebProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.delenv("NO_PROXY")
    did = "opendata13TeV:GamGam.Data"
    plain = attach(did, scheme="https", limit=1)
    storage = plain[0].partition("://")[2].partition("/")[0]
    before = proxy.asked.count(f"CONNECT {storage}")
    copy = Path(download(did, scheme="https", limit=1, to=tmp_path)[0]).read_bytes()
    assert proxy.asked.count(f"CONNECT {storage}") > before
    proxy.status = 403
    refused = f"is asked through the proxy {proxy.url}, which answers with an error (HTTP 403)"
    monkeypatch.setenv("NO_PROXY", lake.url.partition("://")[2])
    assert refused in said_by(lambda: download(did, scheme="https", limit=1, to=tmp_path / "other"))
    proxy.status = 0
    probe.forget()
    with fsspec.open(f"rucio://test/{plain[0].did.scope}/{plain[0].did.name}") as file:
        assert file.read() == copy


@pytest.mark.parametrize("tunnel", [True, False])
def test_rucio_behind_a_proxy_that_asks_for_credentials(
    lake: FullLake, hostile: HostileRucio, proxy: WebProxy, monkeypatch: pytest.MonkeyPatch, tunnel: bool
) -> None:
    proxy.user = f"ann:{PASSWORD}"
    if tunnel:
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config()))
    monkeypatch.setenv("ALL_PROXY", proxy.url.replace("127.0.0.1", f"ann:{PASSWORD}-no@127.0.0.1"))
    monkeypatch.delenv("NO_PROXY")
    with pytest.raises(LakeUnreachable) as caught:
        attach(DID)
    assert f"through the proxy {proxy.url}: the proxy asks for credentials (HTTP 407)" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_no_credentials_of_a_netrc_are_sent_to_a_storage(
    hostile: HostileRucio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"default login ann password {PASSWORD}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    attach(DID)
    with fsspec.open(f"rucio://evil/{SCOPE}/f0.root") as file:
        file.read()
    download(DID, to=tmp_path)
    to_storage = [authorization for path, authorization in hostile.authorizations if path.startswith("/storage/")]
    assert len(to_storage) >= 1 + 1 + FILES
    assert not any(to_storage)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://ann:pass@proxy:3128/", "http://proxy:3128"),
        ("http://ann:pa/ss@proxy:3128", "of the environment"),
        ("http://ann:1/2@proxy:3128", "of the environment"),
        ("http://ann@[::1]:3128", "http://[::1]:3128"),
        ("https://proxy", "https://proxy"),
        ("http://[::1", "of the environment"),
    ],
)
def test_the_address_of_a_proxy_is_shown_without_credentials(address: str, expected: str) -> None:
    assert shown(address) == expected
