"""The storage token: where it comes from, and which storages may see it."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from rucio_lab.core.model import Replica
from rucio_lab.core.reading import xrootd
from rucio_lab.core.storage import storage_token
from tests.lake.lake import FullLake
from tests.lake.storages import Nginx
from tests.support.reading import instance_with, read, refusal, replica_of


def test_a_redirect_to_another_host_gets_no_token(lake: FullLake, token_file: Path) -> None:
    target = lake.storages["https"]
    assert isinstance(target, Nginx)
    before = len(target.requests())
    replica, content = replica_of(lake, "door")
    read(replica, instance_with(lake, token_file=str(token_file)), content)
    redirected = target.requests()[before:]
    assert redirected
    assert {line["authorized"] for line in redirected} == {"no"}


def test_a_token_is_sent_only_over_tls_and_only_to_hosts_that_rucio_names(lake: FullLake, token_file: Path) -> None:
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


def test_xrootd_gets_the_token_in_a_private_file(lake: FullLake, token_file: Path) -> None:
    token_file.chmod(0o644)
    instance = instance_with(lake, token_file=str(token_file))
    url = xrootd.xrootd_url(Replica("RSE", "roots://a//f", "roots://a//f"), instance)
    assert token_file.read_text().strip() not in url
    private = Path(url.partition("xrd.ztn=")[2].partition("&")[0])
    assert private != token_file
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
    assert private.read_text() == token_file.read_text().strip()


def test_a_changed_token_file_is_read_again(lake: FullLake, token_file: Path) -> None:
    instance = instance_with(lake, token_file=str(token_file))
    replica, content = replica_of(lake, "token")
    token_file.write_text(lake.issuer.token(forged=True))
    refusal(replica, instance, content)
    token_file.write_text(lake.issuer.token())
    read(replica, instance, content)


def test_a_command_is_run_again_before_its_token_expires(lake: FullLake, tmp_path: Path) -> None:
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
        (("echo", "two words"), "No valid storage token came from the command echo"),
        (("true",), "No valid storage token"),
    ],
)
def test_a_command_that_prints_no_token(lake: FullLake, command: tuple[str, ...], words: str) -> None:
    token, problem = storage_token.find_token(instance_with(lake, token_command=command))
    assert token is None
    assert words in problem


def test_wlcg_discovery_is_used_only_if_configured(
    lake: FullLake, monkeypatch: pytest.MonkeyPatch, token_file: Path
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(token_file))
    assert storage_token.find_token(instance_with(lake))[0] is None
    token, _ = storage_token.find_token(instance_with(lake, wlcg_token=True))
    assert token is not None
    assert token.text == token_file.read_text().strip()
