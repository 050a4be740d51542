"""Signing in without a page, in each way, and the errors when it fails."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.errors import ConfigurationError, SignInNeeded
from rucio_lab.core.identity.signing_in import sign_in, signed_in
from tests.lake.lake import FullLake
from tests.support.checks import assert_clear, instance_of
from tests.support.middle import Middle
from tests.support.sign_ins import PASSWORD, store, who


@pytest.mark.parametrize("way", ["userpass", "x509", "x509_proxy"])
@pytest.mark.parametrize("account", ["alice", ""])
def test_ways_of_signing_in(lake: FullLake, way: str, account: str) -> None:
    user = lake.users["alice"]
    files = {"x509": {"client_cert": str(user.cert), "client_key": str(user.key)}}
    files["x509_proxy"] = {"client_proxy": str(lake.authority.proxy(user))}
    instance = instance_of(lake, auth=way, account=account, **files.get(way, {}))
    known = sign_in(instance)
    assert known.account == "alice"
    assert known.expires is not None
    assert 0 < known.expires.timestamp() - time.time() < 2 * 3600
    assert signed_in(instance) == known
    assert who(instance) == "alice"


def test_a_certificate_and_its_key_may_be_one_file(lake: FullLake, tmp_path: Path) -> None:
    user = lake.users["alice"]
    both = tmp_path / "both.pem"
    both.write_text(Path(user.cert).read_text() + Path(user.key).read_text())
    assert sign_in(instance_of(lake, auth="x509", client_cert=str(both))).account == "alice"


def test_the_proxy_is_found_where_grid_tools_look(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X509_USER_PROXY", str(lake.authority.proxy(lake.users["alice"])))
    assert sign_in(instance_of(lake, auth="x509_proxy", account="")).account == "alice"


@pytest.mark.parametrize("account", ["alice", ""])
def test_a_wrong_password_fails_even_with_a_valid_token_in_the_store(lake: FullLake, account: str) -> None:
    instance = instance_of(lake, account=account, rucio_cfg="")
    sign_in(instance, password=PASSWORD)
    assert who(instance) == "alice"
    with pytest.raises(SignInNeeded, match="refused the sign-in as alice") as caught:
        sign_in(instance, password="wrong-pass")
    assert_clear(caught.value)
    assert "wrong-pass" not in str(caught.value)
    assert signed_in(instance) is None
    with pytest.raises(SignInNeeded, match="not signed in"):
        Lake(instance).scopes()


@pytest.mark.parametrize(
    "password",
    ["alice-pass\n", "alice\r\nX-Evil: 1", " alice-pass", "alice-\N{EURO SIGN}pass"],
    ids=["line", "header", "space", "euro"],
)
def test_a_password_that_fits_no_header_is_not_shown(lake: FullLake, password: str) -> None:
    with pytest.raises(SignInNeeded) as caught:
        sign_in(instance_of(lake), password=password)
    assert_clear(caught.value)
    shown = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert not any("alice-" in f"{error!r}{error}" or "Evil" in f"{error!r}" for error in shown)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rucio_cfg": ""}, "not signed in"),
        ({"username": "", "rucio_cfg": ""}, "not signed in"),
        ({"auth": "x509"}, "client_cert .* not configured"),
        ({"auth": "x509", "client_cert": "/nope.pem"}, "client_cert .* /nope.pem"),
        ({"auth": "x509_proxy", "client_proxy": "/nope.pem"}, "client_proxy .* /nope.pem"),
        ({"auth": "ssh"}, "ssh_private_key .* not configured"),
        ({"auth": "token"}, "No token is configured"),
        ({"auth": "token", "token_file": "/nope"}, "/nope has none"),
        ({"auth": "token", "wlcg_token": True}, "WLCG"),
    ],
)
def test_what_is_missing_is_named(
    lake: FullLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(SignInNeeded, match=words) as caught:
        Lake(instance_of(lake, **settings)).scopes()
    assert_clear(caught.value)


def test_a_stranger_with_a_valid_certificate(lake: FullLake) -> None:
    mallory = lake.users["mallory"]
    with pytest.raises(SignInNeeded, match="refused") as caught:
        sign_in(instance_of(lake, auth="x509", client_cert=str(mallory.cert), client_key=str(mallory.key)))
    assert_clear(caught.value)


@pytest.mark.parametrize("setting", ["ca", "client_cert"])
@pytest.mark.parametrize("content", [None, "rubbish"])
def test_unusable_files(lake: FullLake, tmp_path: Path, setting: str, content: str | None) -> None:
    path = tmp_path / "file.pem"
    if content:
        path.write_text(content)
    with pytest.raises(Exception, match=r"ca\b|client_cert|CA") as caught:
        sign_in(instance_of(lake, auth="x509", **{"client_cert": str(lake.users["alice"].cert), setting: str(path)}))
    assert_clear(caught.value)


def test_a_missing_package_is_named(lake: FullLake) -> None:
    with pytest.raises(ConfigurationError, match="kerberos") as caught:
        sign_in(instance_of(lake, auth="gss"))
    assert_clear(caught.value)


def test_no_sign_in_where_it_is_not_allowed(middle: Middle, lake: FullLake) -> None:
    """As for completion with the Tab key."""
    instance = instance_of(lake, url=middle.url)
    with pytest.raises(SignInNeeded, match="not signed in") as caught:
        Lake(instance, sign_in=False).scopes()
    assert_clear(caught.value)
    store(instance, "not-a-token")
    with pytest.raises(SignInNeeded, match="expired"):
        Lake(instance, sign_in=False).scopes()
    assert middle.count("/auth/") == 0
    sign_in(instance)
    assert Lake(instance, sign_in=False).scopes()
    assert middle.count("/auth/") == 1
