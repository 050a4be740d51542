"""Bearer tokens from outside: a file, a command, and one message for each thing that can be wrong."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import ConfigurationError, LakeTooSlow, RucioLabError, SignInNeeded
from rucio_lab.core.identity import token_command
from rucio_lab.core.identity.client import client_for
from rucio_lab.core.identity.signing_in import can_renew, sign_in, sign_out, signed_in
from rucio_lab.core.identity.token_store import TokenStore
from tests.lake.lake import FullLake
from tests.lake.provider import Provider
from tests.support.checks import assert_clear, instance_of, within
from tests.support.middle import Answer, Middle
from tests.support.sign_ins import who


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    return path


def at(lake: FullLake, **settings: Any) -> Instance:
    return instance_of(lake, **{"auth": "token", "rucio_cfg": "", "account": "", "username": "", **settings})


def by(lake: FullLake, code: str, **settings: Any) -> Instance:
    """Give an instance with a token command that runs Python code."""
    return at(lake, token_command=(sys.executable, "-c", code), **settings)


# ------------------------------------------------------------------------------------------------ what is wrong


@pytest.mark.parametrize(
    ("settings", "claims", "words"),
    [
        ({}, {"aud": "storage"}, r"for the audience 'storage', but test wants 'rucio', unless its operators chose"),
        ({"oidc_audience": "rucio"}, {"aud": ["a", "b"]}, r"for the audience 'a' 'b', but test wants 'rucio'\.$"),
        ({}, {"aud": None}, "for the audience nobody"),
        ({}, {"scope": "openid"}, "has the scope 'openid', but lacks 'profile'"),
        ({}, {"life": -90}, r"expired at \d{4}-\d\d-\d\d \d\d:\d\d UTC\.$"),
        ({}, {"exp": 1e300}, "Rucio does not say why"),
        ({}, {"sub": "mallory"}, "the identity 'mallory' of 'http://127.0.0.1:.*' is not mapped to any account"),
        ({"account": "bob"}, {"sub": "mallory"}, "is not mapped to the account bob"),
        ({}, {"iss": "http://nowhere"}, "not one that Rucio trusts"),
        ({}, {"sub": "<b>" * 100 + "\x1b[0m"}, r"identity '<b>.*\.\.\.' of"),
        ({}, {"nbf": 9e9, "aud": "x"}, "is not valid before 2255-03-14"),
    ],
)
def test_a_refused_token_says_why(
    lake: FullLake, provider: Provider, path: Path, settings: dict[str, str], claims: dict[str, Any], words: str
) -> None:
    token = provider.token(**claims)
    path.write_text(token)
    with pytest.raises(SignInNeeded, match=r".") as caught:
        who(at(lake, token_file=str(path), **settings))
    assert_clear(caught.value)
    assert re.search(words, caught.value.message), caught.value.message
    assert not any(part in str(caught.value) for part in token.split("."))


def test_an_altered_token(lake: FullLake, provider: Provider, path: Path) -> None:
    path.write_text(f"{provider.token()[:-8]}AAAAAAAA")
    with pytest.raises(SignInNeeded, match="altered or revoked") as caught:
        who(at(lake, token_file=str(path)))
    assert_clear(caught.value)


@pytest.mark.parametrize(("date", "words"), [("2100", "behind"), ("2020", "ahead of")])
def test_a_wrong_clock_is_named(
    middle: Middle, lake: FullLake, provider: Provider, path: Path, date: str, words: str
) -> None:
    middle.change = lambda path, answer: Answer(
        answer.status, {**answer.headers, "Date": f"Fri, 01 Jan {date} 04:00:00 GMT"}, answer.body
    )
    claims = {"life": -5} if date == "2100" else {"sub": "mallory"}
    path.write_text(provider.token(**claims))
    with pytest.raises(SignInNeeded, match=rf"the clock of this machine is \d+ days {words} that of Rucio") as caught:
        who(at(lake, url=middle.url, token_file=str(path)))
    assert_clear(caught.value)


def test_a_new_token_that_many_show_at_once(lake: FullLake, provider: Provider, path: Path) -> None:
    """Rucio refuses some of the first requests with it, and accepts it a moment later."""
    instance = at(lake, token_file=str(path))
    for _ in range(3):
        path.write_text(provider.token())
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: who(instance), range(8))) == {"alice"}


def test_signing_in_checks_the_token(lake: FullLake, provider: Provider, path: Path) -> None:
    path.write_text(provider.token(aud="storage"))
    instance = at(lake, token_file=str(path))
    with pytest.raises(SignInNeeded, match="audience"):
        sign_in(instance)
    path.write_text(provider.token())
    known = sign_in(instance)
    assert known.account == "alice"
    assert known.expires is not None


# ------------------------------------------------------------------------------------------------ a command

PRINT = "import urllib.request; print(urllib.request.urlopen('{url}/mint/alice?claims={claims}').read().decode())"


def test_a_command_is_run_again_when_its_token_expires(
    lake: FullLake, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs once for each token, even with many threads."""
    monkeypatch.setenv("no_proxy", "*")
    runs = tmp_path / "runs"
    program = PRINT.format(url=provider.url, claims="%7B%22life%22:2%7D") + f"; open({str(runs)!r}, 'a').write('x')"
    instance = by(lake, program)
    assert can_renew(instance)
    assert signed_in(instance) is None
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: who(instance), range(8))) == {"alice"}
    assert runs.read_text() == "x"
    until, tokens = time.monotonic() + 4, set()
    while time.monotonic() < until:
        assert who(instance) == "alice"
        tokens.add(client_for(instance).auth_token)
    assert 2 <= len(tokens) <= len(runs.read_text()) <= 4
    assert signed_in(instance) is not None
    sign_out(instance)
    assert TokenStore(instance).read() is None


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("raise SystemExit('hush')", SignInNeeded, "failed with status 1"),
        ("print('hush'); raise SystemExit(3)", SignInNeeded, "failed with status 3"),
        ("pass", SignInNeeded, "printed no token"),
        ("print('hush hush')", SignInNeeded, "printed no token"),
        ("print('hush\\nhush')", SignInNeeded, "printed no token"),
        ("print('hush' * 100000)", SignInNeeded, "printed no token"),
        ("import os; os.write(1, b'\\xffhush')", SignInNeeded, "printed no token"),
        ("print('hush')", SignInNeeded, "does not accept the token from python.*: it expired or was revoked"),
        ("print('e30.eyJleHAiOiAxNzAwMDAwMDAwfQ.hush')", SignInNeeded, "expired at 2023-11-14 22:13 UTC"),
    ],
)
def test_a_command_that_prints_no_token(
    lake: FullLake, caplog: pytest.LogCaptureFixture, code: str, kind: type[RucioLabError], words: str
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(kind, match=words) as caught:
        who(by(lake, code))
    assert_clear(caught.value)
    assert "hush" not in f"{caught.value}{caught.value.__cause__}{caplog.text}"


def test_a_missing_command(lake: FullLake) -> None:
    with pytest.raises(ConfigurationError, match=r"\(no-such-program\) cannot be run: No such file") as caught:
        who(at(lake, token_command=("/nowhere/no-such-program", "--secret=hush")))
    assert_clear(caught.value)
    assert "hush" not in str(caught.value)


SECONDS_ASLEEP = f"300.{os.getpid()}"
SLEEP = f"import subprocess; subprocess.run(['sleep', '{SECONDS_ASLEEP}'])"


def sleepers() -> list[int]:
    """Give the ids of the ``sleep`` processes of these tests that are alive, even without their parent."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # a zombie has no command line any more
            if process.cmdline() == ["sleep", SECONDS_ASLEEP]:
                found.append(process.pid)
    return found


def assert_killed() -> None:
    deadline = time.monotonic() + 5
    while found := sleepers():
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def test_a_command_that_does_not_end(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed with everything it has started."""
    monkeypatch.setattr(token_command, "SECONDS", 1.0)
    with within(1), pytest.raises(LakeTooSlow) as caught:
        who(by(lake, SLEEP))
    assert_clear(caught.value)
    assert_killed()


def test_an_interrupt_kills_a_command(lake: FullLake) -> None:
    def interrupt_once_it_runs() -> None:
        while not sleepers():
            if over.wait(0.02):
                return
        os.kill(os.getpid(), signal.SIGINT)

    over = threading.Event()
    threading.Thread(target=interrupt_once_it_runs).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            who(by(lake, SLEEP))
    finally:
        over.set()
    assert_killed()


def test_no_command_runs_where_an_answer_must_be_quick(lake: FullLake, tmp_path: Path) -> None:
    """As for completion with the Tab key."""
    ran = tmp_path / "ran"
    with pytest.raises(SignInNeeded):
        Lake(by(lake, f"open({str(ran)!r}, 'w')"), sign_in=False).scopes()
    assert not ran.exists()


# ------------------------------------------------------------------------------------------------ a file, or discovery


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


def test_a_token_file_is_replaced_while_a_client_works(lake: FullLake, tmp_path: Path) -> None:
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


def test_an_expired_json_web_token_is_not_sent(middle: Middle, lake: FullLake, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("e30.eyJleHAiOiAxNzAwMDAwMDAwfQ.c2ln")  # {"exp": 1700000000}
    instance = instance_of(lake, url=middle.url, auth="token", token_file=str(path), rucio_cfg="")
    with pytest.raises(SignInNeeded, match="expired at 2023-11-14 22:13 UTC") as caught:
        Lake(instance).scopes()
    assert_clear(caught.value)
    assert [seen.path for seen in middle.asked] == ["/ping"]  # to learn the time: the clock may be wrong


def test_wlcg_discovery_is_opt_in(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEARER_TOKEN", lake.token("bob"))
    assert who(instance_of(lake)) == "alice"
    no = instance_of(lake, auth="token", rucio_cfg="", account="")
    with pytest.raises(SignInNeeded, match="No token is configured"):
        who(no)
    assert who(instance_of(lake, name="opted", auth="token", wlcg_token=True, rucio_cfg="", account="")) == "bob"
