"""The seam to rucio.client: the private methods it stands on, tokens that never mix, and sign-ins that never ask."""

from __future__ import annotations

import builtins
import gc
import inspect
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from rucio.client.baseclient import BaseClient
from rucio.common import exception

from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import ConfigurationError, LakeBroken, SignInNeeded
from rucio_lab.core.identity import client
from rucio_lab.core.identity.client import RucioClient, client_for
from rucio_lab.core.identity.signing_in import sign_in, sign_out, signed_in
from rucio_lab.core.identity.token_store import Token, TokenStore
from rucio_lab.core.model import Request
from rucio_lab.core.resolve.resolution import resolve
from tests.lake.lake import FullLake
from tests.support.checks import assert_clear, instance_of
from tests.support.middle import Answer, Middle, middle_of

PASSWORD = "alice-pass"
SECRETS = (PASSWORD, "bob-pass")


@pytest.fixture
def middle(lake: FullLake) -> Iterator[Middle]:
    with middle_of(lake) as server:
        yield server


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where somebody would be asked on the terminal."""

    def ask(*_: Any) -> str:
        raise AssertionError("asked on the terminal")

    monkeypatch.setattr(builtins, "input", ask)
    monkeypatch.setattr("getpass.getpass", ask)


def who(instance: Instance) -> str:
    """Ask Rucio who it takes us for."""
    return str(client_for(instance).whoami()["account"])


def stored(instance: Instance) -> str:
    token = TokenStore(instance).read()
    assert token is not None
    return token.text


def store(instance: Instance, text: str, *, lives: float = 3600) -> None:
    TokenStore(instance).write(Token(text, instance.account, time.time() + lives))


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
def test_private_method_of_rucio_client_is_as_it_was(name: str) -> None:
    method = getattr(BaseClient, name, None)
    assert method, f"this rucio-clients has no {name}: core/identity/client.py must be made fit for it"
    plain = [p.replace(annotation=p.empty) for p in inspect.signature(method).parameters.values()]
    assert str(inspect.Signature(plain)) == CONTRACT[name], f"{name} has changed: look at core/identity/client.py"


def test_attributes_of_rucio_client_are_as_they_were() -> None:
    assert isinstance(BaseClient.AUTH_RETRIES, int)
    assert isinstance(BaseClient.REQUEST_RETRIES, int)
    arguments = inspect.signature(BaseClient).parameters
    named = {"rucio_host", "auth_host", "account", "ca_cert", "auth_type", "timeout", "user_agent", "vo", "logger"}
    assert named <= arguments.keys()


def test_overridden_methods_are_really_called(middle: Middle, lake: FullLake) -> None:
    """A renamed method would leave ours uncalled, and rucio.client's own handling of tokens in force."""
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


def test_every_request_carries_what_the_instance_says(
    middle: Middle, lake: FullLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never the environment, never the command line: it can hold the token of a Jupyter server."""
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
    """In a process of its own, as rucio reads it once."""
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


# ------------------------------------------------------------------------------------------------ signing in


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


def test_the_proxy_is_found_where_all_grid_tools_look(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X509_USER_PROXY", str(lake.authority.proxy(lake.users["alice"])))
    assert sign_in(instance_of(lake, auth="x509_proxy", account="")).account == "alice"


@pytest.mark.parametrize("account", ["alice", ""])
def test_a_wrong_password_fails_also_with_a_good_token_in_the_store(lake: FullLake, account: str) -> None:
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
def test_a_password_that_no_header_can_carry_is_not_shown(lake: FullLake, password: str) -> None:
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


def test_a_stranger_with_a_good_certificate(lake: FullLake) -> None:
    mallory = lake.users["mallory"]
    with pytest.raises(SignInNeeded, match="refused") as caught:
        sign_in(instance_of(lake, auth="x509", client_cert=str(mallory.cert), client_key=str(mallory.key)))
    assert_clear(caught.value)


@pytest.mark.parametrize("setting", ["ca", "client_cert"])
@pytest.mark.parametrize("content", [None, "rubbish"])
def test_files_that_are_of_no_use(lake: FullLake, tmp_path: Path, setting: str, content: str | None) -> None:
    path = tmp_path / "file.pem"
    if content:
        path.write_text(content)
    with pytest.raises(Exception, match=r"ca\b|client_cert|CA") as caught:
        sign_in(instance_of(lake, auth="x509", **{"client_cert": str(lake.users["alice"].cert), setting: str(path)}))
    assert_clear(caught.value)


def test_what_needs_another_package_says_so(lake: FullLake) -> None:
    with pytest.raises(ConfigurationError, match="kerberos") as caught:
        sign_in(instance_of(lake, auth="gss"))
    assert_clear(caught.value)


# ------------------------------------------------------------------------------------------------ tokens


def test_the_token_is_in_a_file_of_the_user_alone(lake: FullLake) -> None:
    before = os.umask(0)
    try:
        instance = instance_of(lake)
        sign_in(instance)
    finally:
        os.umask(before)
    folder = Path(os.environ["JUPYTER_DATA_DIR"]) / "rucio-lab" / "tokens"
    assert folder.stat().st_mode & 0o777 == 0o700
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert stored(instance) in path.read_text()
    assert not any(secret in path.read_text() for secret in SECRETS)
    sign_out(instance)
    assert not list(folder.iterdir())


def test_a_folder_that_is_too_open_is_closed(lake: FullLake) -> None:
    folder = Path(os.environ["JUPYTER_DATA_DIR"]) / "rucio-lab" / "tokens"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    sign_in(instance_of(lake))
    assert folder.stat().st_mode & 0o777 == 0o700


def test_nowhere_to_keep_a_token(
    middle: Middle, lake: FullLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full or read-only disk, as in a container of a batch node, it serves this process."""
    (tmp_path / "a-file").touch()
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "a-file"))
    instance = instance_of(lake, url=middle.url)
    with pytest.warns(UserWarning, match="ends with this process"):
        sign_in(instance)
    with ThreadPoolExecutor() as pool:  # a thread of its own has a client of its own
        assert pool.submit(Lake(instance).scopes).result()
    assert middle.count("/auth/") == 1
    sign_out(instance)
    assert signed_in(instance) is None


def test_a_token_is_used_again_also_by_another_process(middle: Middle, lake: FullLake) -> None:
    instance = instance_of(lake, url=middle.url)
    who(instance)
    code = (
        "import pickle, sys\nfrom rucio_lab.core.catalogue.lake import Lake\n"
        "Lake(pickle.load(sys.stdin.buffer)).scopes()"
    )
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(instance), check=True)
    assert middle.count("/auth/") == 1


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"token": 1}', "\x00"])
def test_a_token_file_that_is_damaged_is_replaced(lake: FullLake, broken: str) -> None:
    instance = instance_of(lake)
    sign_in(instance)
    folder = Path(os.environ["JUPYTER_DATA_DIR"]) / "rucio-lab" / "tokens"
    (path,) = folder.iterdir()
    path.write_text(broken)
    assert who(instance) == "alice"
    assert json.loads(path.read_text())["account"] == "alice"


@pytest.mark.parametrize("lives", [3600, -1], ids=["invalid", "expired"])
def test_a_token_that_ended_is_renewed(middle: Middle, lake: FullLake, lives: float) -> None:
    instance = instance_of(lake, url=middle.url)
    store(instance, "not-a-token", lives=lives)
    assert who(instance) == "alice"
    assert stored(instance) in middle.tokens
    assert middle.count("/auth/userpass") == 1


@pytest.mark.parametrize("lives", [3600, -1], ids=["invalid", "expired"])
def test_a_token_that_ended_and_cannot_be_renewed(lake: FullLake, lives: float) -> None:
    instance = instance_of(lake, rucio_cfg="")
    store(instance, "not-a-token", lives=lives)
    with pytest.raises(SignInNeeded, match="Your sign-in to test ended") as caught:
        Lake(instance).scopes()
    assert_clear(caught.value)
    assert "rucio_login" in caught.value.remedy


def test_a_sign_in_that_ends_in_the_middle_of_work(middle: Middle, lake: FullLake) -> None:
    """The client lives on; its token does not."""
    instance = instance_of(lake, url=middle.url)
    client = client_for(instance)
    store(instance, "not-a-token")
    assert client_for(instance) is client
    assert Lake(instance).scopes()
    assert middle.count("/auth/userpass") == 2


def test_no_sign_in_where_none_may_be_made(middle: Middle, lake: FullLake) -> None:
    """As for completion with the Tab key."""
    instance = instance_of(lake, url=middle.url)
    with pytest.raises(SignInNeeded, match="not signed in") as caught:
        Lake(instance, sign_in=False).scopes()
    assert_clear(caught.value)
    store(instance, "not-a-token")
    with pytest.raises(SignInNeeded, match="ended"):
        Lake(instance, sign_in=False).scopes()
    assert middle.count("/auth/") == 0
    sign_in(instance)
    assert Lake(instance, sign_in=False).scopes()
    assert middle.count("/auth/") == 1


def test_renewal_is_single_flight(middle: Middle, lake: FullLake) -> None:
    instance = instance_of(lake, url=middle.url)
    store(instance, "not-a-token")
    start = threading.Barrier(16)

    def work(_: int) -> str:
        client = client_for(instance)
        start.wait()
        return str(client.whoami()["account"])

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(16))) == ["alice"] * 16
    assert middle.count("/auth/userpass") == 1


def test_a_rejected_password_is_not_tried_over_and_over(middle: Middle, lake: FullLake) -> None:
    """Accounts are locked for that."""
    instance = instance_of(lake, url=middle.url, rucio_cfg=str(lake.rucio_cfg(password="wrong-pass")))
    store(instance, "not-a-token")
    with pytest.raises(SignInNeeded, match="refused"):
        Lake(instance).scopes()
    assert middle.count("/auth/userpass") == 1


def test_another_sign_in_is_noticed(lake: FullLake) -> None:
    """As when somebody signs in anew in the sidebar, another process, while a kernel works."""
    instance = instance_of(lake)
    assert who(instance) == "alice"
    token = lake.token("alice")
    store(instance, token)
    assert who(instance) == "alice"
    assert client_for(instance).auth_token == token
    bob = instance_of(lake, rucio_cfg="", account="", username="bob")
    sign_in(bob, password="bob-pass")
    sign_out(bob)
    with pytest.raises(SignInNeeded):
        who(bob)


def test_a_token_file_is_read_again_when_it_changes(lake: FullLake, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(lake.token("alice") + "\n")
    instance = instance_of(lake, auth="token", token_file=str(path), rucio_cfg="", account="")
    assert who(instance) == "alice"
    path.write_text(lake.token("bob"))
    assert who(instance) == "bob"
    path.write_text("not-a-token")
    with pytest.raises(SignInNeeded, match="does not accept the token from") as caught:
        who(instance)
    assert_clear(caught.value)
    assert "not-a-token" not in str(caught.value)


def test_a_token_file_that_is_replaced_while_a_client_works(lake: FullLake, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("not-a-token")
    instance = instance_of(lake, auth="token", token_file=str(path), rucio_cfg="")
    client = client_for(instance)
    path.write_text(lake.token())
    assert client.whoami()["account"] == "alice"


@pytest.mark.parametrize(
    "content",
    [b"two\nlines", b"two words", b"\xff\xfe", "f\u00fcr".encode(), b"x" * 70_000, b"", b" \n", b"with\x00"],
    ids=["lines", "words", "no text", "no ascii", "long", "empty", "blank", "nul"],
)
def test_a_token_file_with_something_else_in_it(lake: FullLake, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    instance = instance_of(lake, auth="token", token_file=str(path), rucio_cfg="")
    with pytest.raises(SignInNeeded, match="has none") as caught:
        Lake(instance).scopes()
    assert_clear(caught.value)
    assert "lines" not in str(caught.value)
    assert signed_in(instance) is None


def test_a_json_web_token_that_ended_is_not_even_sent(middle: Middle, lake: FullLake, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("e30.eyJleHAiOiAxNzAwMDAwMDAwfQ.c2ln")  # {"exp": 1700000000}
    instance = instance_of(lake, url=middle.url, auth="token", token_file=str(path), rucio_cfg="")
    with pytest.raises(SignInNeeded, match="ended at 2023-11-14 22:13 UTC") as caught:
        Lake(instance).scopes()
    assert_clear(caught.value)
    assert [seen.path for seen in middle.asked] == ["/ping"]  # for the time: the clock may be wrong


def test_wlcg_discovery_is_for_those_who_opt_in(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEARER_TOKEN", lake.token("bob"))
    assert who(instance_of(lake)) == "alice"
    no = instance_of(lake, auth="token", rucio_cfg="", account="")
    with pytest.raises(SignInNeeded, match="No token is configured"):
        who(no)
    assert who(instance_of(lake, name="opted", auth="token", wlcg_token=True, rucio_cfg="", account="")) == "bob"


# ------------------------------------------------------------------------------------------------ never mixed


def test_instances_and_accounts_never_mix(middle: Middle, lake: FullLake) -> None:
    """Two addresses of Rucio, two accounts, twelve threads, and each thread goes from one to the next."""
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


def test_a_change_of_the_configuration_is_noticed(lake: FullLake) -> None:
    slow, fast = instance_of(lake, timeout=30.0), instance_of(lake, timeout=7.0)
    assert client_for(slow).timeout == (client.CONNECT_TIMEOUT, 30.0)
    assert client_for(fast).timeout == (client.CONNECT_TIMEOUT, 7.0)


def test_each_thread_has_its_client_and_takes_it_away_with_it(lake: FullLake) -> None:
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


def test_no_secret_in_what_is_pickled_or_shown(lake: FullLake) -> None:
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
