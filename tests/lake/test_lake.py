"""The Rucio server of the test lake: sign-in, configuration and quota; its servers can be stopped and started."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi
import pytest
import requests

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.errors import SignInNeeded
from rucio_lab.core.identity.client import RucioClient
from rucio_lab.demo.content import SCOPE
from tests.lake.lake import FullLake
from tests.lake.queries import connect


def test_the_certificate_of_rucio_is_signed_by_the_authority_of_the_lake(lake: FullLake) -> None:
    assert lake.url.startswith("https://127.0.0.1:")
    assert lake.request("GET", "/ping").json()["version"].startswith("41.")
    with pytest.raises(requests.exceptions.SSLError):
        lake.request("GET", "/ping", verify=certifi.where())


def x509_sign_in(lake: FullLake, account: str, cert: Any) -> requests.Response:
    return lake.request("GET", "/auth/x509", headers={"X-Rucio-Account": account}, cert=cert)


@pytest.mark.parametrize("account", ["root", "alice", "bob"])
def test_users_sign_in_with_a_certificate_or_a_proxy(lake: FullLake, account: str) -> None:
    user = lake.users[account]
    for cert in ((str(user.cert), str(user.key)), str(user.pem), str(lake.authority.proxy(user))):
        answer = x509_sign_in(lake, account, cert)
        assert answer.status_code == 200, answer.text
        assert answer.headers["X-Rucio-Auth-Account"] == account


def test_missing_unknown_and_expired_certificates_are_refused(lake: FullLake) -> None:
    assert x509_sign_in(lake, "alice", None).status_code == 401
    assert x509_sign_in(lake, "alice", str(lake.users["mallory"].pem)).status_code == 401
    assert x509_sign_in(lake, "alice", str(lake.users["bob"].pem)).status_code == 401
    with pytest.raises(requests.exceptions.ConnectionError):
        x509_sign_in(lake, "alice", str(lake.authority.proxy(lake.users["alice"], seconds=-60)))


@pytest.mark.parametrize("auth", ["userpass", "x509", "x509_proxy"])
@pytest.mark.parametrize("account", ["root", "alice", "bob"])
def test_the_client_signs_in_with_the_rucio_cfg(
    lake: FullLake, account: str, auth: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"rucio_cfg": str(lake.rucio_cfg(account, auth))}
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config("one", one=settings)))
    assert RucioClient(load_instances().get()).whoami()["account"] == account


def test_wrong_passwords_are_refused(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"rucio_cfg": str(lake.rucio_cfg(password="wrong"))}
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config("one", one=settings)))
    with pytest.raises(SignInNeeded):
        RucioClient(load_instances().get())


def test_config_writes_all_settings_of_instances(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = {"NOTEBOOK-POSIX": lake.mount("NOTEBOOK-POSIX")}
    first = {"mounts": mounts, "timeout": 3, "schemes": ["https"], "wlcg_token": True}
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config("b", a=first, b={"account": "bob"})))
    instances = load_instances()
    assert instances.names == ("a", "b")
    assert instances.get().account == "bob"
    assert instances.get("a").schemes == ("https",)
    assert instances.get("a").mounts["NOTEBOOK-POSIX"].folder == str(lake.store / "posix")


def test_the_fixture_configures_alice(lake: FullLake) -> None:
    instance = load_instances().get()
    assert (instance.name, instance.account, instance.auth, instance.url) == ("test", "alice", "userpass", lake.url)
    assert RucioClient(instance).whoami()["account"] == "alice"


def test_bob_has_no_quota(lake: FullLake) -> None:
    rule = {"dids": [{"scope": SCOPE, "name": "data_B.GamGam"}], "copies": 1, "rse_expression": "TRIUMF-DISK"}
    options = {"weight": None, "lifetime": None, "grouping": "DATASET", "account": "bob", "locked": False}
    token = lake.token("bob")
    answer = lake.request("POST", "/rules/", headers={"X-Rucio-Auth-Token": token}, json={**rule, **options})
    assert answer.status_code == 409
    assert answer.headers["ExceptionClass"] == "InsufficientAccountLimit"


def local_addresses(port: int) -> set[str]:
    """Return the local addresses with a listener on a port, in the format of /proc/net."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if state == "0A" and int(address.rpartition(":")[2], 16) == port:
                found.add(address.partition(":")[0])
    return found


def test_everything_listens_only_on_loopback(lake: FullLake) -> None:
    ports = [storage.port for storage in lake.storages.values()] + [proxy.port for proxy in lake.faulty.values()]
    if lake.postgresql:
        ports.append(lake.postgresql.port)
    for port in [*ports, urlsplit(lake.url).port or 0]:
        assert local_addresses(port) == {"0100007F"}


def test_a_storage_can_be_stopped_and_started(lake: FullLake) -> None:
    for name in ("root", "http"):
        lake.stop_storage(name)
        with pytest.raises(ConnectionRefusedError):
            connect(lake.storages[name].port)
        lake.start_storage(name)
        connect(lake.storages[name].port).close()


def test_mend_repairs_what_a_test_broke(lake: FullLake) -> None:
    lake.stop_storage("http")
    lake.faulty["root"].refuse()
    lake.mend()
    connect(lake.storages["http"].port).close()
    connect(lake.faulty["root"].port).close()
