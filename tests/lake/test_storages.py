"""The storages of the test lake: byte ranges, TLS, certificates, tokens, proxies, uploads and traffic counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import certifi
import pytest
import requests
import uproot

from rucio_lab.demo.content import SCOPE
from rucio_lab.demo.processes import closed_environment
from tests.lake.issuer import BAD_TOKENS
from tests.lake.lake import FullLake
from tests.lake.pki import VO
from tests.lake.queries import get, replicas, web_path


def test_http_serves_byte_ranges_and_http_norange_does_not(lake: FullLake) -> None:
    path = lake.path("WEB-DISK", SCOPE, "web._0001.root")
    part = {"Range": "bytes=100-199"}
    ranged = get(lake, "http", web_path(path, lake), headers=part)
    assert (ranged.status_code, ranged.content) == (206, path.read_bytes()[100:200])
    whole = get(lake, "http-norange", web_path(path, lake), headers=part)
    assert (whole.status_code, whole.content) == (200, path.read_bytes())
    assert "Accept-Ranges" not in whole.headers


def test_https_needs_only_the_ca_of_the_lake(lake: FullLake) -> None:
    path = lake.path("OPEN-DISK", SCOPE, "https._0001.root")
    assert get(lake, "https", web_path(path, lake)).content == path.read_bytes()
    with pytest.raises(requests.exceptions.SSLError):
        get(lake, "https", web_path(path, lake), verify=certifi.where())


def test_https_cert_requires_a_certificate(lake: FullLake) -> None:
    path = lake.path("CERT-DISK", SCOPE, "certificate._0001.root")
    assert get(lake, "https-cert", web_path(path, lake)).status_code == 403
    answer = get(lake, "https-cert", web_path(path, lake), cert=str(lake.users["alice"].pem))
    assert answer.content == path.read_bytes()


def copied_by_xrdcp(lake: FullLake, storage: str, path: Path, env: dict[str, str]) -> bytes:
    """Copy a file with xrdcp and return the content."""
    url = f"{lake.storages[storage].url.replace('127.0.0.1', 'localhost')}//{path.relative_to(lake.store)}"
    known = {"X509_CERT_DIR": str(lake.authority.certificates), "XRD_CONNECTIONRETRY": "1", **env}
    command = ["xrdcp", "--silent", url, "-"]
    return subprocess.run(command, env=closed_environment(known), capture_output=True, check=False, timeout=30).stdout


@pytest.mark.parametrize("wrong", ["", *BAD_TOKENS, "none"])
def test_tokens_are_checked(lake: FullLake, tmp_path: Path, wrong: str) -> None:
    path = lake.path("ROOTS-DISK", SCOPE, "roots._0001.root")
    token = "" if wrong == "none" else lake.issuer.token(**BAD_TOKENS.get(wrong, {}))
    file = tmp_path / "a-token"
    file.touch(0o600)
    file.write_text(token)
    expected = b"" if wrong else path.read_bytes()
    assert copied_by_xrdcp(lake, "roots", path, {"BEARER_TOKEN_FILE": str(file)} if token else {}) == expected
    url = f"https://127.0.0.1:{lake.storages['roots'].port}{web_path(path, lake)}"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = requests.get(url, headers=headers, verify=str(lake.authority.ca), timeout=10)
    assert answer.status_code == (403 if wrong else 200)
    assert answer.content == expected or wrong


@pytest.mark.parametrize("shown", ["of the VO", "of another VO", "plain", "none"])
def test_proxies_are_checked(lake: FullLake, tmp_path: Path, shown: str) -> None:
    path, proxy, alice = lake.path("GSI-DISK", SCOPE, "gsi._0001.root"), tmp_path / "proxy", lake.users["alice"]
    if shown == "plain":
        lake.authority.proxy(alice).rename(proxy)
    elif shown != "none":
        lake.authority.voms_proxy(alice, proxy, vo=VO if shown == "of the VO" else "other")
    expected = path.read_bytes() if shown == "of the VO" else b""
    assert copied_by_xrdcp(lake, "gsi", path, {"X509_USER_PROXY": str(proxy)}) == expected
    url = f"https://127.0.0.1:{lake.storages['gsi'].port}{web_path(path, lake)}"
    cert = str(proxy) if proxy.exists() else None
    answer = requests.get(url, cert=cert, verify=str(lake.authority.ca), timeout=10)
    assert answer.status_code == (200 if expected else 403)
    assert answer.content == expected or not expected


def test_files_can_be_written_and_deleted_over_https(lake: FullLake) -> None:
    url = f"{lake.storages['https'].url}/open/new/folder/file"
    trust = str(lake.authority.ca)
    assert requests.put(url, data=b"content", verify=trust, timeout=10).status_code == 201
    assert (lake.store / "open/new/folder/file").read_bytes() == b"content"
    assert requests.delete(url, verify=trust, timeout=10).status_code == 204
    assert not (lake.store / "open/new/folder/file").exists()


_UPLOAD = """
import logging, sys
from pathlib import Path
from rucio.client import Client
from rucio.client.uploadclient import UploadClient
from rucio.common.exception import AccessDenied

def upload(rse, scheme):
    path = Path(sys.argv[1]) / f"{rse}.{scheme}"
    path.write_text(path.name)
    item = {"path": str(path), "rse": rse, "did_scope": "user.alice", "did_name": path.name, "force_scheme": scheme}
    UploadClient(Client(), logger=logging.getLogger()).upload([item])

for rse, scheme in (("CERN-USERDISK", "root"), ("CERN-USERDISK", "https"), ("NOTEBOOK-USERDISK", "file")):
    upload(rse, scheme)
try:
    upload("CERN-EOS", "https")
except AccessDenied:
    print("denied")
"""


def test_alice_can_upload_only_to_user_disks(lake: FullLake, tmp_path: Path) -> None:
    cfg = lake.rucio_cfg(auth_token_file_path=str(tmp_path / "token"))
    own = {"RUCIO_HOME": str(cfg.parent.parent), "X509_USER_PROXY": str(lake.users["alice"].pem)}
    command = [sys.executable, "-W", "ignore", "-c", _UPLOAD, str(tmp_path)]
    done = subprocess.run(command, env=closed_environment(own), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "denied\n"), done.stderr
    for rse, scheme in (("CERN-USERDISK", "root"), ("CERN-USERDISK", "https"), ("NOTEBOOK-USERDISK", "file")):
        (row,) = replicas(lake, f"{rse}.{scheme}", "user.alice")
        assert lake.path(rse, "user.alice", row["name"]).read_text() == row["name"]


def test_storages_count_the_bytes_that_were_read(lake: FullLake) -> None:
    size = lake.path("CERN-EOS", SCOPE, "large.GamGam._0001.root").stat().st_size
    assert size > 4_000_000
    pfns = {row_scheme(pfn): pfn for pfn in replicas(lake, "large")[0]["pfns"]}
    for scheme in ("root", "https", "http"):
        before = lake.storages[scheme].sent()
        with uproot.open({pfns[scheme].partition("&#")[0]: "mini"}) as tree:
            assert len(tree["photon_pt"].array()) == tree.num_entries
        moved = lake.storages[scheme].sent() - before
        assert 100_000 < moved < size / 2, (scheme, moved)


def row_scheme(pfn: str) -> str:
    return pfn.partition(":")[0]
