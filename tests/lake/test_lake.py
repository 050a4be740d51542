"""The test lake is what it claims to be: other tests take its word for it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import certifi
import pytest
import requests
import uproot

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.errors import SignInNeeded
from rucio_lab.core.identity.client import RucioClient
from rucio_lab.core.upstream.rucio_api import exception
from rucio_lab.demo.content import SCOPE
from rucio_lab.demo.processes import closed_environment
from tests.lake import content, files, packages
from tests.lake.issuer import BAD_TOKENS
from tests.lake.lake import FullLake, quoted
from tests.lake.pki import VO
from tests.support.processes import alive, descendants

ALL_SCHEMES = ["root", "https", "davs", "http", "file"]


def rows(response: requests.Response) -> list[Any]:
    """Read one of Rucio's lists, a JSON value per line."""
    return [json.loads(line) for line in response.text.splitlines() if line]


def replicas(lake: FullLake, name: str, scope: str = SCOPE, **more: Any) -> list[dict[str, Any]]:
    wanted = {"dids": [{"scope": scope, "name": name}], "schemes": ALL_SCHEMES, **more}
    return rows(lake.rest("POST", "/replicas/list", account="alice", json=wanted))


def get(lake: FullLake, storage: str, path: str, **more: Any) -> requests.Response:
    settings = {"verify": str(lake.authority.ca), "timeout": 10, **more}
    return requests.get(f"{lake.storages[storage].url}{path}", **settings)


def web_path(path: Path, lake: FullLake) -> str:
    return "/" + quote(str(path.relative_to(lake.store)))


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


# ---------------------------------------------------------------------------------------------------- Rucio and sign-in


def test_rucio_shows_a_certificate_of_the_lakes_own_authority(lake: FullLake) -> None:
    assert lake.url.startswith("https://127.0.0.1:")
    assert lake.request("GET", "/ping").json()["version"].startswith("41.")
    with pytest.raises(requests.exceptions.SSLError):
        lake.request("GET", "/ping", verify=certifi.where())


def x509_sign_in(lake: FullLake, account: str, cert: Any) -> requests.Response:
    return lake.request("GET", "/auth/x509", headers={"X-Rucio-Account": account}, cert=cert)


@pytest.mark.parametrize("account", ["root", "alice", "bob"])
def test_a_certificate_or_a_proxy_signs_its_user_in(lake: FullLake, account: str) -> None:
    user = lake.users[account]
    for cert in ((str(user.cert), str(user.key)), str(user.pem), str(lake.authority.proxy(user))):
        answer = x509_sign_in(lake, account, cert)
        assert answer.status_code == 200, answer.text
        assert answer.headers["X-Rucio-Auth-Account"] == account


def test_without_a_known_certificate_there_is_no_sign_in(lake: FullLake) -> None:
    assert x509_sign_in(lake, "alice", None).status_code == 401
    assert x509_sign_in(lake, "alice", str(lake.users["mallory"].pem)).status_code == 401
    assert x509_sign_in(lake, "alice", str(lake.users["bob"].pem)).status_code == 401
    with pytest.raises(requests.exceptions.ConnectionError):
        x509_sign_in(lake, "alice", str(lake.authority.proxy(lake.users["alice"], seconds=-60)))


@pytest.mark.parametrize("auth", ["userpass", "x509", "x509_proxy"])
@pytest.mark.parametrize("account", ["root", "alice", "bob"])
def test_rucio_cfg_signs_in_through_the_client(
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


def test_config_writes_all_that_an_instance_can_have(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = {"NOTEBOOK-POSIX": lake.mount("NOTEBOOK-POSIX")}
    first = {"mounts": mounts, "timeout": 3, "schemes": ["https"], "wlcg_token": True}
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config("b", a=first, b={"account": "bob"})))
    instances = load_instances()
    assert instances.names == ("a", "b")
    assert instances.get().account == "bob"
    assert instances.get("a").schemes == ("https",)
    assert instances.get("a").mounts["NOTEBOOK-POSIX"].folder == str(lake.store / "posix")


def test_the_fixture_configures_alice_and_hides_other_rucios(lake: FullLake) -> None:
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


# ------------------------------------------------------------------------------------------------------------ storages


def local_addresses(port: int) -> set[str]:
    """Return where somebody listens on a port, as the kernel writes addresses."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if state == "0A" and int(address.rpartition(":")[2], 16) == port:
                found.add(address.partition(":")[0])
    return found


def test_everything_listens_on_loopback_alone(lake: FullLake) -> None:
    ports = [storage.port for storage in lake.storages.values()] + [proxy.port for proxy in lake.faulty.values()]
    if lake.postgresql:
        ports.append(lake.postgresql.port)
    for port in [*ports, urlsplit(lake.url).port or 0]:
        assert local_addresses(port) == {"0100007F"}


def test_http_serves_parts_of_files_and_no_range_does_not(lake: FullLake) -> None:
    path = lake.path("WEB-DISK", SCOPE, "web._0001.root")
    part = {"Range": "bytes=100-199"}
    ranged = get(lake, "http", web_path(path, lake), headers=part)
    assert (ranged.status_code, ranged.content) == (206, path.read_bytes()[100:200])
    whole = get(lake, "http-norange", web_path(path, lake), headers=part)
    assert (whole.status_code, whole.content) == (200, path.read_bytes())
    assert "Accept-Ranges" not in whole.headers


def test_https_wants_the_lakes_ca_and_nothing_else(lake: FullLake) -> None:
    path = lake.path("OPEN-DISK", SCOPE, "https._0001.root")
    assert get(lake, "https", web_path(path, lake)).content == path.read_bytes()
    with pytest.raises(requests.exceptions.SSLError):
        get(lake, "https", web_path(path, lake), verify=certifi.where())


def test_a_certificate_is_demanded_where_it_should_be(lake: FullLake) -> None:
    path = lake.path("CERT-DISK", SCOPE, "certificate._0001.root")
    assert get(lake, "https-cert", web_path(path, lake)).status_code == 403
    answer = get(lake, "https-cert", web_path(path, lake), cert=str(lake.users["alice"].pem))
    assert answer.content == path.read_bytes()


def copied_by_xrdcp(lake: FullLake, storage: str, path: Path, env: dict[str, str]) -> bytes:
    """Copy a file with XRootD's own program, and return what came."""
    url = f"{lake.storages[storage].url.replace('127.0.0.1', 'localhost')}//{path.relative_to(lake.store)}"
    known = {"X509_CERT_DIR": str(lake.authority.certificates), "XRD_CONNECTIONRETRY": "1", **env}
    command = ["xrdcp", "--silent", url, "-"]
    return subprocess.run(command, env=closed_environment(known), capture_output=True, check=False, timeout=30).stdout


@pytest.mark.parametrize("wrong", ["", *BAD_TOKENS, "none"])
def test_tokens_are_really_checked(lake: FullLake, tmp_path: Path, wrong: str) -> None:
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
def test_proxies_are_really_checked(lake: FullLake, tmp_path: Path, shown: str) -> None:
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


def test_alice_can_upload_to_user_disks_alone(lake: FullLake, tmp_path: Path) -> None:
    cfg = lake.rucio_cfg(auth_token_file_path=str(tmp_path / "token"))
    own = {"RUCIO_HOME": str(cfg.parent.parent), "X509_USER_PROXY": str(lake.users["alice"].pem)}
    command = [sys.executable, "-W", "ignore", "-c", _UPLOAD, str(tmp_path)]
    done = subprocess.run(command, env=closed_environment(own), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "denied\n"), done.stderr
    for rse, scheme in (("CERN-USERDISK", "root"), ("CERN-USERDISK", "https"), ("NOTEBOOK-USERDISK", "file")):
        (row,) = replicas(lake, f"{rse}.{scheme}", "user.alice")
        assert lake.path(rse, "user.alice", row["name"]).read_text() == row["name"]


def test_storages_tell_how_many_bytes_were_read(lake: FullLake) -> None:
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


def test_a_storage_can_be_stopped_and_started(lake: FullLake) -> None:
    for name in ("root", "http"):
        lake.stop_storage(name)
        with pytest.raises(ConnectionRefusedError):
            connect(lake.storages[name].port)
        lake.start_storage(name)
        connect(lake.storages[name].port).close()


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    packages.require_packages()
    gone = packages.Package("no-such-package", "no-such-program", "serves nothing")
    monkeypatch.setattr(packages, "PACKAGES", (*packages.PACKAGES, gone))
    with pytest.raises(packages.PackagesMissingError, match="no-such-package"):
        packages.require_packages()


def test_postgresql_is_needed_on_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "POSTGRESQL", packages.Package("no-such-package", "no-such-program", "the database"))
    monkeypatch.delenv("RUCIO_LAB_TEST_DATABASE", raising=False)
    assert not packages.missing_packages()
    monkeypatch.setenv("RUCIO_LAB_TEST_DATABASE", "postgresql")
    assert [package.name for package in packages.missing_packages()] == ["no-such-package"]
    monkeypatch.setenv("RUCIO_LAB_TEST_DATABASE", "postgres")
    with pytest.raises(ValueError, match=r"'postgres'.*postgresql"):
        packages.missing_packages()


# ---------------------------------------------------------------------------------------------------------- PostgreSQL

on_postgresql = pytest.mark.skipif(not packages.on_postgresql(), reason="RUCIO_LAB_TEST_DATABASE is not postgresql")


@on_postgresql
def test_postgresql_wants_its_password(lake: FullLake) -> None:
    assert lake.postgresql
    for host in ("127.0.0.1", str(lake.folder / "postgresql")):
        command = ["psql", "-w", "-h", host, "-p", str(lake.postgresql.port), "-U", "rucio", "-c", "SELECT 1"]
        done = subprocess.run(command, env=closed_environment({}), capture_output=True, text=True, check=False)
        assert "no password supplied" in done.stderr


_POSTGRESQL = """
import sys, time
from pathlib import Path
from rucio_lab.demo.processes import Children
from tests.lake.postgresql import PostgreSQL

with Children(Path(sys.argv[1]) / "logs") as children:
    PostgreSQL(Path(sys.argv[1]) / "postgresql").start(children)
    print("ready", flush=True)
    time.sleep(1000)
"""


@on_postgresql
def test_postgresql_ends_with_a_lake_that_is_killed(lake: FullLake) -> None:
    folder = lake.folder / "killed"
    folder.mkdir()
    command = [sys.executable, "-c", _POSTGRESQL, str(folder)]
    lives = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    with lives:
        assert lives.stdout
        assert lives.stdout.readline() == "ready\n"
        family = descendants(lives.pid)
        assert "postgres" in {process.name() for process in family}
        lives.kill()
    assert not alive(family, 10)


# ---------------------------------------------------------------------------------------------------------------- data


def test_every_replica_of_gamgam_lies_where_rucio_says(lake: FullLake) -> None:
    found = replicas(lake, "GamGam")
    assert len(found) == 17
    for row in found:
        for rse in row["rses"]:
            path = lake.path(rse, SCOPE, row["name"])
            assert path.stat().st_size == row["bytes"]
            assert all(urlsplit(pfn).path.endswith(str(path.relative_to(path.parents[4]))) for pfn in row["rses"][rse])
    twice = {row["name"] for row in found if len(row["rses"]) == 2}
    assert {name.split(".")[0] for name in twice} == {"data_A", "mc_343981", "mc_341081"}


def test_gamgam_holds_what_the_demo_holds(lake: FullLake) -> None:
    contents = rows(lake.rest("GET", quoted("dids", SCOPE, "GamGam", "dids")))
    assert {row["name"] for row in contents} == {"GamGam.Data", "GamGam.MC"}
    data = rows(lake.rest("GET", quoted("dids", SCOPE, "GamGam.Data", "dids")))
    assert {row["name"] for row in data} == {f"data_{letter}.GamGam" for letter in "ABCD"}
    assert sum(sample.files for sample in files.SAMPLES) == 17


def rses_of(lake: FullLake, name: str) -> dict[str, str]:
    """Return RSE -> state of the one file of a dataset."""
    (row,) = replicas(lake, name, all_states=True)
    return dict(row["states"])


@pytest.mark.parametrize(
    ("name", "rses"),
    [
        ("on.tape", {"CERN-TAPE"}),
        ("tape.and.disk", {"CERN-TAPE", "CERN-EOS"}),
        ("posix", {"NOTEBOOK-POSIX"}),
        ("dead", {"DEAD-DISK"}),
        ("dead.and.alive", {"DEAD-DISK", "WEB-DISK"}),
        ("silent", {"SILENT-DISK"}),
        ("silent.and.alive", {"SILENT-DISK", "WEB-DISK"}),
    ],
)
def test_the_faulty_datasets_lie_where_they_should(lake: FullLake, name: str, rses: set[str]) -> None:
    assert rses_of(lake, name) == dict.fromkeys(rses, "AVAILABLE")


def test_unavailable_is_in_other_states(lake: FullLake) -> None:
    assert not any(row["rses"] for row in replicas(lake, "unavailable"))
    states = [row["states"]["CERN-EOS"] for row in replicas(lake, "unavailable", all_states=True)]
    assert sorted(states) == ["BAD", "COPYING", "UNAVAILABLE"]


def test_no_replica_is_a_file_without_any(lake: FullLake) -> None:
    assert [row["name"] for row in rows(lake.rest("GET", quoted("dids", SCOPE, "no.replica", "files")))] == [
        content.LOST
    ]
    assert not [row for row in replicas(lake, "no.replica", all_states=True, ignore_availability=True) if row["rses"]]


def test_blocked_shows_only_to_those_who_ask_for_it(lake: FullLake) -> None:
    assert not [row for row in replicas(lake, "blocked", ignore_availability=False) if row["rses"]]
    (row,) = replicas(lake, "blocked", ignore_availability=True)
    assert set(row["rses"]) == {"BLOCKED-DISK"}


def test_open_closed_empty_shared_and_partly(lake: FullLake) -> None:
    def is_open(name: str) -> bool:
        return bool(lake.rest("GET", quoted("dids", SCOPE, name)).json()["open"])

    assert [is_open(name) for name in ("open", "empty", "data_D.GamGam", "closed", "data_A.GamGam")] == [True] * 3 + [
        False
    ] * 2
    assert lake.rest("GET", quoted("dids", SCOPE, "empty", "files")).text.strip() == ""
    first = {row["name"] for row in replicas(lake, "data_A.GamGam")}
    assert first < {row["name"] for row in replicas(lake, "shared")}
    assert {tuple(row["rses"]) for row in replicas(lake, "partly")} == {("CERN-EOS",), ("CERN-TAPE",)}


def test_names_with_slashes(lake: FullLake) -> None:
    (row,) = replicas(lake, content.CMS_DATASET)
    assert row["name"] == content.CMS_FILE
    assert lake.rest("GET", quoted("dids", SCOPE, content.CMS_FILE)).json()["type"] == "FILE"
    assert lake.path("CERN-EOS", SCOPE, content.CMS_FILE).exists()


def test_rules_are_ok_or_replicating(lake: FullLake) -> None:
    rules = rows(lake.rest("GET", f"/rules/?scope={SCOPE}"))
    states = {(rule["name"], rule["rse_expression"], rule["account"]): rule["state"] for rule in rules}
    assert states == {
        ("GamGam", "CERN-EOS", "root"): "OK",
        ("on.tape", "CERN-TAPE", "root"): "OK",
        ("data_A.GamGam", "TRIUMF-DISK", "alice"): "OK",
        ("data_B.GamGam", "TRIUMF-DISK", "alice"): "REPLICATING",
    }


def test_the_dead_refuses_and_the_silent_never_answers(lake: FullLake) -> None:
    (dead,), (silent,) = replicas(lake, "dead"), replicas(lake, "silent")
    assert {urlsplit(pfn).port for pfn in dead["pfns"]} != {urlsplit(pfn).port for pfn in silent["pfns"]}
    for pfn in dead["pfns"]:
        with pytest.raises(ConnectionRefusedError):
            connect(urlsplit(pfn).port or 0)
    for pfn in silent["pfns"]:
        with connect(urlsplit(pfn).port or 0) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(1)


def test_hostile_names_are_listed_and_their_files_can_be_read(lake: FullLake) -> None:
    listed = rows(lake.rest("GET", f"/dids/{content.HOSTILE}/dids/search?type=dataset&name=*", account="alice"))
    names = (*content.HOSTILE_NAMES, *content.UNASKABLE_NAMES)
    assert set(listed) - {content.UNSEEN} == {*names, *content.ESCAPING_NAMES, "all"}
    known = {row["name"]: row for row in replicas(lake, "all", content.HOSTILE)}
    for name in names:
        pfn = next(pfn for pfn in known[f"{name}.root"]["pfns"] if pfn.startswith("http:"))
        path = lake.path("CERN-EOS", content.HOSTILE, f"{name}.root")
        assert unquote(pfn).endswith(f"/{unquote(name)}.root")
        assert len(get(lake, "http", web_path(path, lake)).content) == known[f"{name}.root"]["bytes"]
    assert {f"{name}.root" for name in content.ESCAPING_NAMES} < known.keys()


@pytest.mark.parametrize("name", content.HOSTILE_NAMES)
def test_hostile_names_can_be_asked_for(lake: FullLake, name: str) -> None:
    client = RucioClient(load_instances().get())
    assert [row["name"] for row in client.list_files(content.HOSTILE, name)] == [f"{name}.root"]


def test_elsewhere_hostile_names_are_refused(lake: FullLake) -> None:
    client = RucioClient(load_instances().get())
    with pytest.raises(exception.InvalidObject):
        client.add_dataset("user.alice", "two words")


def test_mounts_lead_to_the_files(lake: FullLake) -> None:
    for rse, dataset, scheme in (("NOTEBOOK-POSIX", "posix", "file"), ("CERN-EOS", "closed", "root")):
        (row,) = replicas(lake, dataset)
        mount = lake.mount(rse)
        pfn = next(pfn for pfn in row["rses"][rse] if pfn.startswith(scheme))
        path = "/" + urlsplit(pfn).path.lstrip("/")
        assert path.startswith(mount["prefix"])
        assert (Path(mount["folder"]) / path.removeprefix(mount["prefix"])).stat().st_size == row["bytes"]


def test_bulk_has_ten_thousand_files(lake: FullLake, bulk: str) -> None:
    assert len(rows(lake.rest("GET", quoted("dids", SCOPE, bulk, "files")))) == 10_000


# -------------------------------------------------------------------------------------------------------------- faults


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def url(lake: FullLake) -> str:
    """An address behind the proxy before the storage http."""
    path = lake.path("FAULTY-HTTP", SCOPE, "faulty.http._0001.root")
    lake.faulty["http"].forget()
    return f"http://127.0.0.1:{lake.faulty['http'].port}{web_path(path, lake)}"


def test_the_faulty_rses_lie_behind_their_proxies(lake: FullLake) -> None:
    for scheme in ("root", "http", "https"):
        proxy = lake.faulty[scheme]
        proxy.forget()
        (row,) = replicas(lake, f"faulty.{scheme}")
        (pfn,) = row["pfns"]
        assert urlsplit(pfn).port == proxy.port
        with uproot.open({pfn.partition("&#")[0]: "mini"}) as tree:
            assert tree.num_entries > 10
        assert proxy.connections > 0
        assert proxy.sent > 1000


def test_a_proxy_forwards_and_counts(lake: FullLake, url: str) -> None:
    proxy = lake.faulty["http"]
    size, again = (len(requests.get(url, timeout=5).content) for _ in range(2))
    assert size == again > 10_000
    assert proxy.connections == 2
    assert 2 * size < proxy.sent < 2 * size + 2000
    assert 50 < proxy.received < 2000


def test_a_proxy_refuses_resets_and_is_silent(lake: FullLake, url: str) -> None:
    proxy = lake.faulty["http"]
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy.port)
    proxy.reset()
    with pytest.raises(ConnectionResetError), connect(proxy.port) as connection:
        connection.recv(1)
    proxy.silent()
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(url, timeout=0.3)
    proxy.forward()
    assert requests.get(url, timeout=5).status_code == 200


def test_a_proxy_silences_and_ends_open_connections(lake: FullLake, url: str) -> None:
    proxy = lake.faulty["http"]
    with requests.Session() as session:
        assert session.get(url, timeout=5).status_code == 200
        proxy.silent()
        with pytest.raises(requests.exceptions.ReadTimeout):
            session.get(url, timeout=0.3)
    proxy.forward()
    with connect(proxy.port) as first, connect(proxy.port) as second:
        wait_for(lambda: proxy.connections == 3)
        proxy.drop()
        assert first.recv(1) == b""
        assert second.recv(1) == b""
    with connect(proxy.port) as reset:
        wait_for(lambda: proxy.connections == 4)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            reset.recv(1)


def test_a_proxy_delays(lake: FullLake, url: str) -> None:
    lake.faulty["http"].delay(0.2)
    begin = time.monotonic()
    assert requests.get(url, timeout=5).status_code == 200
    assert 0.35 < time.monotonic() - begin < 2


def test_a_proxy_is_far_away(lake: FullLake, url: str) -> None:
    size = len(requests.get(url, timeout=5).content)
    lake.faulty["http"].far(0.1, size / 0.5)
    begin = time.monotonic()
    assert len(requests.get(url, timeout=5).content) == size
    assert 0.6 < time.monotonic() - begin < 4


def test_a_proxy_cuts(lake: FullLake, url: str) -> None:
    proxy = lake.faulty["http"]
    proxy.cut(5000)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _ = requests.get(url, timeout=5).content
    assert proxy.sent == 5000


def test_a_proxy_answers_what_it_is_told(lake: FullLake, url: str) -> None:
    lake.faulty["http"].answer(b"\x00\x01 rubbish")
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(url, timeout=5)
    rucio = lake.faulty["rucio"]
    rucio.answer_http(503, "<h1>Down for maintenance</h1>", Retry_After="60")
    answer = requests.get(f"https://127.0.0.1:{rucio.port}/ping", verify=str(lake.authority.ca), timeout=5)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    rucio.forward()
    answer = requests.get(f"https://127.0.0.1:{rucio.port}/ping", verify=str(lake.authority.ca), timeout=5)
    assert answer.json()["version"]


def test_what_a_test_broke_is_mended(lake: FullLake) -> None:
    lake.stop_storage("http")
    lake.faulty["root"].refuse()
    lake.mend()
    connect(lake.storages["http"].port).close()
    connect(lake.faulty["root"].port).close()
