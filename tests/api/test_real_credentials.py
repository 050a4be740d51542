"""Storages that really check what they are shown: tokens by SciTokens, proxies by gsi and VOMS; in a notebook."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rucio_lab.core.address import lake_url
from rucio_lab.core.catalogue import read_ahead
from rucio_lab.core.did import DID
from rucio_lab.core.filesystem import lake_file
from tests.lake.content import SCOPE
from tests.lake.issuer import BAD_TOKENS
from tests.lake.lake import FullLake
from tests.support.checks import assert_clear, within

Run = Callable[[str], Any]
Configure = Callable[..., None]

TOKEN_WORDS = {
    "expired": "expired at",
    "other audience": "the storage token for https://other.example from ",
    "no scope for storages": "the token has no scope for reading, such as storage.read:/",
    "another path": "the token allows reading only /elsewhere",
    "forged signature": "the storage token for https://storage.example from ",
    "other issuer": "the storage token for https://storage.example from https://nobody.example",
    "none": "no storage token is configured",
}
"""What is wrong with a token -> what the user is told."""


@pytest.fixture
def configure(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Let the instance show something to its storages, over one scheme."""
    monkeypatch.setenv("X509_CERT_DIR", str(lake.authority.certificates))

    def write(scheme: str, **storage: Any) -> None:
        lake_file._files.clear()
        read_ahead.forget()
        known = {"ca": str(lake.authority.ca), "timeout": 3.0, "patience": 1.0, **storage}
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config(test={"storage": known, "schemes": [scheme]})))

    return write


def address(name: str) -> str:
    return lake_url("test", DID(SCOPE, f"{name}._0001.root"))


def cells(name: str, folder: Path) -> tuple[str, str]:
    """Give a cell that reads the file of a dataset, and one that downloads it."""
    code = (
        f"import uproot\nwith uproot.open({{{address(name)!r}: 'mini'}}) as tree: entries = tree.num_entries\nentries"
    )
    return code, f"files = %rucio_download {SCOPE}:{name} --to {folder}"


def assert_read(run: Run, lake: FullLake, rse: str, name: str, folder: Path) -> None:
    reads, downloads = cells(name, folder)
    cell = run(reads)
    assert cell.error is None, cell.text
    assert cell.value > 0
    cell = run(downloads)
    assert cell.error is None, cell.text
    (path,) = run("files.urls").value
    assert Path(path).read_bytes() == lake.path(rse, SCOPE, f"{name}._0001.root").read_bytes()


def assert_refused(run: Run, name: str, folder: Path, words: str) -> None:
    for cell in cells(name, folder):
        with within(5):
            error = run(cell).error
        assert words in str(error), error
        assert "refuses" in str(error) or "asks for credentials" in str(error)
        if cell.startswith("files"):
            assert_clear(error)
    assert not list(folder.rglob("*.root"))


def written(path: Path, token: str) -> str:
    path.touch(0o600)
    path.write_text(token)
    return str(path)


TOKEN_STORAGES = [("roots", "roots", "ROOTS-DISK"), ("https", "token", "TOKEN-DISK")]


@pytest.mark.parametrize(("scheme", "name", "rse"), TOKEN_STORAGES)
def test_a_good_token_reads(
    lake: FullLake, configure: Configure, run: Run, tmp_path: Path, scheme: str, name: str, rse: str
) -> None:
    configure(scheme, token_file=written(tmp_path / "a-token", lake.issuer.token()))
    cell = run(f"%rucio_attach {SCOPE}:{name} as found")
    assert cell.error is None, cell.text
    assert run("found.urls").value == [address(name)]
    assert_read(run, lake, rse, name, tmp_path / "d")


_CAS_AFTER_THE_FIRST_CONNECTION = f"""
import os, sys, fsspec, rucio_lab
plain = rucio_lab.attach("{SCOPE}:GamGam", scheme="root", limit=1)
authorities = os.environ.pop("X509_CERT_DIR")
with fsspec.open(plain[0]) as file:
    file.read(4)
os.environ["X509_CERT_DIR"] = authorities
with fsspec.open({address("roots")!r}) as file:
    print(file.read(4))
"""


def test_cas_that_are_named_after_the_first_connection(
    lake: FullLake, configure: Configure, tmp_path: Path, python: Any
) -> None:
    configure("roots", token_file=written(tmp_path / "a-token", lake.issuer.token()))
    done = python("-c", _CAS_AFTER_THE_FIRST_CONNECTION)
    assert done.stdout == "b'root'\n", done.stderr


@pytest.mark.parametrize("wrong", TOKEN_WORDS)
@pytest.mark.parametrize(("scheme", "name", "rse"), TOKEN_STORAGES)
def test_any_other_token_is_refused_with_the_reason(
    lake: FullLake, configure: Configure, run: Run, tmp_path: Path, wrong: str, scheme: str, name: str, rse: str
) -> None:
    token = lake.issuer.token(**BAD_TOKENS.get(wrong, {}))
    configure(scheme, **({} if wrong == "none" else {"token_file": written(tmp_path / "a-token", token)}))
    assert_refused(run, name, tmp_path / "d", TOKEN_WORDS[wrong])
    error = run(f"%rucio_attach {SCOPE}:{name} as found").error
    assert TOKEN_WORDS[wrong] in str(error)
    assert_clear(error)


def test_a_token_of_the_environment_that_hides_the_configured_one_is_named(
    lake: FullLake, configure: Configure, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", written(tmp_path / "other-token", lake.issuer.token(scope="openid")))
    configure("roots", token_file=written(tmp_path / "a-token", lake.issuer.token()))
    assert_refused(run, "roots", tmp_path / "d", "XRootD finds another token in the environment")


def test_a_token_file_of_the_environment_that_others_can_read(
    lake: FullLake, configure: Configure, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a-token", lake.issuer.token())
    Path(path).chmod(0o640)
    monkeypatch.setenv("BEARER_TOKEN_FILE", path)
    configure("roots", wlcg_token=True)
    assert_refused(run, "roots", tmp_path / "d", f"chmod 600 {path}")


@pytest.mark.parametrize("scheme", ["root", "https"])
@pytest.mark.parametrize("named", ["by the instance", "by the environment"])
def test_a_proxy_of_the_vo_reads(
    lake: FullLake,
    configure: Configure,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    named: str,
) -> None:
    lake.authority.voms_proxy(lake.users["alice"], tmp_path / "proxy")
    if named == "by the environment":
        monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "proxy"))
    configure(scheme, **({"proxy": str(tmp_path / "proxy")} if named == "by the instance" else {}))
    assert_read(run, lake, "GSI-DISK", "gsi", tmp_path / "d")


@pytest.mark.parametrize("scheme", ["root", "https"])
def test_other_proxies_are_refused_until_there_is_a_good_one(
    lake: FullLake, configure: Configure, run: Run, tmp_path: Path, scheme: str
) -> None:
    alice, proxy = lake.users["alice"], tmp_path / "proxy"
    configure(scheme, proxy=str(proxy))
    assert_refused(run, "gsi", tmp_path / "d", f"there is no X.509 proxy {proxy}")
    lake.authority.proxy(alice).rename(proxy)
    assert_refused(run, "gsi", tmp_path / "d", "the proxy has no VOMS attributes (voms-proxy-init -voms VO adds them)")
    lake.authority.voms_proxy(alice, proxy, "/other/Role=NULL/Capability=NULL", vo="other")
    assert_refused(run, "gsi", tmp_path / "d", "refuses the X.509 proxy of CN=")
    assert "with /other" in str(run(cells("gsi", tmp_path / "d")[0]).error)
    lake.authority.voms_proxy(alice, proxy)
    assert_read(run, lake, "GSI-DISK", "gsi", tmp_path / "d")


@pytest.mark.parametrize("lacks", ["an RSA key", "a folder of CAs"])
def test_a_proxy_that_xrootd_cannot_use(lake: FullLake, configure: Configure, tmp_path: Path, lacks: str) -> None:
    """In a process of its own: XRootD's client may end it, and looks for the folder of CAs once."""
    proxy = tmp_path / "proxy"
    if lacks == "an RSA key":
        lake.authority.proxy(lake.users["alice"], elliptic=True).rename(proxy)
    else:
        lake.authority.voms_proxy(lake.users["alice"], proxy)
    configure("root", proxy=str(proxy))
    env = {**os.environ, "X509_USER_PROXY": str(proxy)}
    if lacks == "a folder of CAs":
        del env["X509_CERT_DIR"]
    code = "import fsspec, sys\ntry: fsspec.filesystem('rucio').cat_file(sys.argv[1])\nexcept OSError as e: print(e)"
    command = [sys.executable, "-c", code, address("gsi")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    words = {
        "an RSA key": f"XRootD accepts only RSA keys, and the X.509 proxy {proxy} has a different kind",
        "a folder of CAs": "XRootD needs a folder with the CAs of the grid (set ca or X509_CERT_DIR)",
    }
    assert words[lacks] in done.stdout
