"""X.509 proxies made by the real voms-proxy-init, and their VO attributes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import ConfigurationError, LakeTooSlow, SignInNeeded
from rucio_lab.core.identity import voms
from rucio_lab.core.identity.x509 import find_proxy
from rucio_lab.core.storage.shown import describe, in_words
from tests.lake.pki import Authority
from tests.support.checks import assert_clear

FQANS = ("/lake/Role=NULL/Capability=NULL", "/lake/production/Role=NULL/Capability=NULL")
PASSPHRASE = "open sesame"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def me(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """A user with a certificate, on a machine where the grid's programs know its CA."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("X509_CERT_DIR", str(shutil.copytree(authority.certificates, tmp_path / "certificates")))
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "proxy"))
    user = authority.user("alice", "Alice Analyst", "Users")
    return Instance(name="test", url="https://127.0.0.1", client_cert=str(user.cert), client_key=str(user.key))


def encrypted(instance: Instance, folder: Path) -> str:
    key = serialization.load_pem_private_key(Path(instance.client_key).read_bytes(), None)
    how = serialization.BestAvailableEncryption(PASSPHRASE.encode())
    path = folder / "encrypted.key"
    path.touch(mode=0o600)
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, how))
    return str(path)


def test_a_plain_proxy(me: Instance, tmp_path: Path) -> None:
    target = tmp_path / "proxy"
    assert find_proxy(me)[0] is None
    assert not voms.wants_passphrase(me)
    voms.make_proxy(me, str(target))
    proxy, problem = find_proxy(me)
    assert problem == ""
    assert proxy is not None
    assert "CN=Alice Analyst" in proxy.subject
    assert proxy.attributes == ()
    assert target.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["certificates", "proxy"]
    assert any("CN=Alice Analyst" in line and "(12 h)" in line for line in in_words(describe(me)))


def test_the_passphrase_is_passed_only_on_standard_input(
    me: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **how: (started.append(command), run(command, **how))[1])
    locked = msgspec.structs.replace(me, client_key=encrypted(me, tmp_path))
    assert voms.wants_passphrase(locked)
    with pytest.raises(SignInNeeded, match="the passphrase is wrong") as caught:
        voms.make_proxy(locked, str(tmp_path / "proxy"), passphrase="wrong one")
    assert_clear(caught.value)
    assert not (tmp_path / "proxy").exists()
    voms.make_proxy(locked, str(tmp_path / "proxy"), passphrase=PASSPHRASE)
    assert find_proxy(locked)[0] is not None
    assert not any(PASSPHRASE in word or "wrong one" in word for command in started for word in command)


def test_attributes_of_a_vo(me: Instance, authority: Authority, tmp_path: Path) -> None:
    """voms-proxy-fake makes them, as a VOMS server would."""
    authority.voms_proxy(authority.user("alice", "Alice Analyst", "Users"), tmp_path / "proxy", *FQANS)
    proxy, _ = find_proxy(me)
    assert proxy is not None
    assert proxy.attributes == FQANS
    assert any(f"VOMS {' '.join(FQANS)}" in line for line in in_words(describe(me)))
    (cert, *_) = x509.load_pem_x509_certificates((tmp_path / "proxy").read_bytes())
    (content,) = (e.value.value for e in cert.extensions if e.oid.dotted_string == voms._EXTENSION)
    for cut in range(0, len(content), 7):  # whatever is in there, it is read or skipped
        list(voms._names(content[:cut] + b"\xff" + content[cut + 1 :]))
        list(voms._names(content[:cut]))


def test_an_unknown_vo(me: Instance, tmp_path: Path) -> None:
    with pytest.raises(SignInNeeded, match="nowhere not known") as caught:
        voms.make_proxy(me, str(tmp_path / "proxy"), voms="nowhere")
    assert_clear(caught.value)
    with pytest.raises(ConfigurationError, match="'-debug' is not a VO"):
        voms.make_proxy(me, str(tmp_path / "proxy"), voms="-debug")


def test_an_unknown_ca(me: Instance, tmp_path: Path) -> None:
    for path in (tmp_path / "certificates").iterdir():
        path.unlink()
    with pytest.raises(SignInNeeded, match="certificate validation error: unable to get issuer") as caught:
        voms.make_proxy(me, str(tmp_path / "proxy"))
    assert_clear(caught.value)
    assert not (tmp_path / "proxy").exists()


def test_what_is_missing_is_named(me: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"key of your certificate cannot be read from .*\.globus/userkey.pem"):
        voms.wants_passphrase(Instance(name="test"))
    with pytest.raises(ConfigurationError, match="cannot be written to /nowhere/proxy: No such file") as caught:
        voms.make_proxy(me, "/nowhere/proxy")
    assert_clear(caught.value)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="voms-proxy-init is not installed") as caught:
        voms.make_proxy(me, str(tmp_path / "proxy"))
    assert_clear(caught.value)
    program = tmp_path / "voms-proxy-init"
    program.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(voms, "_SECONDS", 0.5)
    with pytest.raises(LakeTooSlow, match=r"did not end within 0\.5 s") as caught:
        voms.make_proxy(me, str(tmp_path / "proxy"))
    assert_clear(caught.value)
