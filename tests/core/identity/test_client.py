"""The seam to rucio.client: the private methods it overrides, and tokens that never mix or leak."""

from __future__ import annotations

import gc
import inspect
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from rucio.client.baseclient import BaseClient
from rucio.common import exception

from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.config.rucio_cfg import TRUSTED
from rucio_lab.core.errors import LakeBroken, RucioLabError, SignInNeeded
from rucio_lab.core.identity import client
from rucio_lab.core.identity.client import RucioClient, client_for
from rucio_lab.core.identity.signing_in import sign_in, signed_in
from rucio_lab.core.identity.token_store import TokenStore
from rucio_lab.core.model import Request
from rucio_lab.core.resolve.resolution import resolve
from tests.lake.lake import FullLake
from tests.support.checks import assert_clear, instance_of
from tests.support.middle import Answer, Middle, middle_of
from tests.support.sign_ins import PASSWORD, SECRETS, store, stored, who

# ------------------------------------------------------------------------------------------------ the contract

CONTRACT = {
    "_get_auth_tokens": "(self)",
    "_get_creds": "(self, creds)",
    "_get_exception": "(self, headers, status_code=None, data=None)",
    "_load_json_data": "(self, response)",
    "_send_request": "(self, url, method, headers=None, data=None, params=None, stream=False, get_token=False, "
    "cert=None, auth=None, verify=None)",
    "_BaseClient__authenticate": "(self)",
    "_BaseClient__get_token": "(self)",
    "_BaseClient__get_token_userpass": "(self)",
    "_BaseClient__get_token_x509": "(self)",
    "_BaseClient__get_token_ssh": "(self)",
    "_BaseClient__get_token_gss": "(self)",
}
"""The private methods of rucio.client that RucioClient overrides or calls, with their parameters."""


@pytest.mark.parametrize("name", CONTRACT)
def test_private_method_of_rucio_client_is_unchanged(name: str) -> None:
    method = getattr(BaseClient, name, None)
    assert method, f"this rucio-clients has no {name}: adapt core/identity/client.py"
    plain = [p.replace(annotation=p.empty) for p in inspect.signature(method).parameters.values()]
    assert str(inspect.Signature(plain)) == CONTRACT[name], f"{name} has changed: look at core/identity/client.py"


def test_attributes_of_rucio_client_are_unchanged() -> None:
    assert isinstance(BaseClient.AUTH_RETRIES, int)
    assert isinstance(BaseClient.REQUEST_RETRIES, int)
    arguments = inspect.signature(BaseClient).parameters
    named = {"rucio_host", "auth_host", "account", "ca_cert", "auth_type", "timeout", "user_agent", "vo", "logger"}
    assert named <= arguments.keys()


def test_overridden_methods_are_called(middle: Middle, lake: FullLake) -> None:
    """If rucio.client renamed a method, ours would not be called, and its own handling of tokens would run instead."""
    names = [name for name in vars(RucioClient) if name in CONTRACT]
    called = set()

    def recorder(name: str) -> Any:
        original = getattr(RucioClient, name)

        def method(self: RucioClient, *args: Any, **kwargs: Any) -> Any:
            called.add(name)
            return original(self, *args, **kwargs)

        return method

    recording = type("Recording", (RucioClient,), {name: recorder(name) for name in names})
    instance = instance_of(lake, url=middle.url)
    client = recording(instance)
    assert called == set(names) - {"_BaseClient__get_token", "_get_exception", "_load_json_data"}
    store(instance, "not-a-token")
    assert list(client.list_scopes())
    assert client.get_did("opendata13TeV", "GamGam")["type"] == "CONTAINER"
    with pytest.raises(exception.DataIdentifierNotFound):
        client.get_did("opendata13TeV", "nothing")
    assert called == set(names)


def test_every_request_sends_what_the_instance_says(
    middle: Middle, lake: FullLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never the environment or the command line, which can contain the token of a Jupyter server."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/jupyter-lab", "--IdentityProvider.token=hush"])
    monkeypatch.setenv("RUCIO_ACCOUNT", "root")
    monkeypatch.setenv("RUCIO_VO", "xyz")
    monkeypatch.setenv("RUCIO_AUTH_TYPE", "x509")
    monkeypatch.setenv("BEARER_TOKEN", "storage-token")
    for account, sent in (("alice", "alice"), ("", None)):
        instance = instance_of(lake, url=middle.url, account=account)
        assert who(instance) == "alice"
        list(Lake(instance).scopes())
        assert {seen.headers.get("X-Rucio-Account") for seen in middle.asked} == {sent}
        assert {seen.headers["X-Rucio-Script"] for seen in middle.asked} == {"rucio-lab"}
        assert {seen.headers["X-Rucio-VO"] for seen in middle.asked} == {"def"}
        assert all(seen.headers["User-Agent"].startswith("rucio-lab/") for seen in middle.asked)
        assert not any("hush" in f"{seen.path}{seen.headers}" for seen in middle.asked)
        assert not any("storage-token" in str(seen.headers) for seen in middle.asked)
        middle.asked.clear()
    assert sys.argv == ["/usr/bin/jupyter-lab", "--IdentityProvider.token=hush"]


@pytest.mark.parametrize("text", ["[database]\ndefault = sqlite://\n", "[client]\nrequest_retries = 99\n", "", None])
def test_a_foreign_rucio_cfg_changes_nothing(lake: FullLake, tmp_path: Path, text: str | None) -> None:
    """In a new process, since rucio reads it only once."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUCIO_")}
    if text is not None:
        (tmp_path / "rucio.cfg").write_text(text)
        environment["RUCIO_CONFIG"] = str(tmp_path / "rucio.cfg")
    code = """
from rucio_lab.core.identity.client import client_for
from rucio_lab.core.config.instances import load_instances
client = client_for(load_instances().get())
print(client.whoami()["account"], client.request_retries)
"""
    environment["RUCIO_LAB_CONFIG"] = str(lake.config())
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("alice 0\n", "")


# ------------------------------------------------------------------------------------------------ never mixed


def test_x509_cert_dir_names_the_cas_for_rucio(lake: FullLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for Rucio's own client, and more than ca_cert does; but not if we have set it for XRootD."""
    monkeypatch.delenv("RUCIO_LAB_CONFIG")
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    for ca_cert in ("", str(tmp_path / "missing.pem")):
        monkeypatch.setenv("RUCIO_CONFIG", str(lake.rucio_cfg(ca_cert=ca_cert)))
        monkeypatch.delenv("X509_CERT_DIR", raising=False)
        with pytest.raises(RucioLabError, match=r"cannot be used|is not trusted"):
            sign_in(load_instances().get())
        monkeypatch.setenv("X509_CERT_DIR", str(lake.authority.certificates))
        assert sign_in(load_instances().get()).account == "alice"
        monkeypatch.setenv(TRUSTED, str(lake.authority.certificates))
        assert load_instances().get().ca == ca_cert
        monkeypatch.delenv(TRUSTED)


def test_cas_that_are_named_to_xrootd_are_not_those_of_rucio(lake: FullLake) -> None:
    code = """
import os
from rucio_lab.core.reading.xrootd import trust
trust((os.environ.pop("CAS"),))
from rucio_lab.core.config.instances import load_instances
print(load_instances().get().ca)
"""
    cfg = lake.rucio_cfg()
    known = {"RUCIO_CONFIG": str(cfg), "CAS": str(lake.authority.certificates), "HOME": str(cfg.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=known, capture_output=True, text=True, check=True)
    assert done.stdout == f"{lake.authority.ca}\n"


def test_instances_and_accounts_never_mix(middle: Middle, lake: FullLake) -> None:
    """Two addresses of Rucio, two accounts, and twelve threads that each use all of them in turn."""
    instances = [
        instance_of(lake, url=url, account=account, username=account)
        for url in (lake.url, middle.url)
        for account in ("alice", "bob")
    ]
    start = threading.Barrier(12)

    def work(number: int) -> set[tuple[str, str]]:
        start.wait()
        turns = [instances[(number + turn) % len(instances)] for turn in range(12)]
        return {(instance.account, who(instance)) for instance in turns}

    with ThreadPoolExecutor(12) as pool:
        assert set().union(*pool.map(work, range(12))) == {("alice", "alice"), ("bob", "bob")}
    tokens = {instance.key: stored(instance) for instance in instances}
    assert len(set(tokens.values())) == 4
    sent = {seen.headers["X-Rucio-Auth-Token"] for seen in middle.asked} - {""}
    assert sent == middle.tokens == {tokens[instance.key] for instance in instances[2:]}
    assert middle.count("/auth/userpass") == 2


def test_a_change_of_configuration_is_noticed(lake: FullLake) -> None:
    slow, fast = instance_of(lake, timeout=30.0), instance_of(lake, timeout=7.0)
    assert client_for(slow).timeout == (client.CONNECT_TIMEOUT, 30.0)
    assert client_for(fast).timeout == (client.CONNECT_TIMEOUT, 7.0)


def test_each_thread_has_its_own_client_and_closes_it_when_it_ends(lake: FullLake) -> None:
    instance = instance_of(lake)
    who(instance)

    def sockets() -> int:
        gc.collect()
        return len(psutil.Process().net_connections())

    before = sockets()
    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            clients = set(pool.map(lambda _: id(client_for(instance)), range(8)))
            assert id(client_for(instance)) not in clients
            list(pool.map(lambda _: who(instance), range(16)))
    assert sockets() <= before


# ------------------------------------------------------------------------------------------------ secrets


def test_no_secret_is_pickled_or_shown(lake: FullLake) -> None:
    resolution = resolve(Request(("opendata13TeV:GamGam",), "test"))
    instance = instance_of(lake)
    client = client_for(instance)
    client.whoami()
    token = stored(instance)
    for value in (resolution, resolution.files[0], instance, signed_in(instance), TokenStore(instance).read()):
        assert not any(secret in repr(value) for secret in (*SECRETS, token))
    for value in (resolution, instance):
        assert not any(secret.encode() in pickle.dumps(value) for secret in (*SECRETS, token))
    assert pickle.loads(pickle.dumps(resolution)) == resolution


def test_a_client_keeps_no_password(lake: FullLake) -> None:
    instance = instance_of(lake)
    assert PASSWORD not in str(vars(client_for(instance)))
    wrong = instance_of(lake, name="wrong", rucio_cfg=str(lake.rucio_cfg(password="wrong-pass")))
    store(wrong, lake.token())
    client = client_for(wrong)
    store(wrong, "not-a-token")
    client.auth_token = "not-a-token"
    with pytest.raises(SignInNeeded):
        list(Lake(wrong).scopes())
    assert "wrong-pass" not in str(vars(client))


def test_nothing_is_printed_or_logged(lake: FullLake, capfd: pytest.CaptureFixture[str], caplog: Any) -> None:
    with caplog.at_level(0):
        sign_in(instance_of(lake))
        with pytest.raises(SignInNeeded):
            sign_in(instance_of(lake), password="wrong-pass")
    assert tuple(capfd.readouterr()) == ("", "")
    assert not any(secret in caplog.text for secret in (*SECRETS, "wrong-pass"))


@pytest.mark.parametrize("begin", ["/auth/", "/scopes/"], ids=["sign-in", "question"])
def test_credentials_do_not_follow_a_redirect_to_another_host(middle: Middle, lake: FullLake, begin: str) -> None:
    with middle_of(lake) as elsewhere:
        middle.change = lambda path, answer: (
            Answer(302, {"Location": f"{elsewhere.url}{path}"}, b"") if path.startswith(begin) else answer
        )
        with pytest.raises(LakeBroken) as caught:
            Lake(instance_of(lake, url=middle.url)).scopes()
        assert_clear(caught.value)
        assert "never sent to another host" in caught.value.message
        assert elsewhere.asked == []
