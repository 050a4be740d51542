"""Sign-in at a real identity provider through a real Rucio: the page, the code, renewal, and what goes wrong."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import (
    BadRequest,
    ConfigurationError,
    LakeTooSlow,
    LakeUnreachable,
    RucioLabError,
    SignInNeeded,
)
from rucio_lab.core.identity import keeper, oidc
from rucio_lab.core.identity.client import client_for
from rucio_lab.core.identity.signing_in import can_renew, sign_in, sign_out, signed_in
from rucio_lab.core.identity.token_store import Token, TokenStore
from rucio_lab.core.upstream import clock
from tests.lake.hostile import HostileRucio, Reply
from tests.lake.lake import FullLake
from tests.lake.provider import SCOPE, Provider, code_on, visit
from tests.support.checks import assert_clear, instance_of, within
from tests.support.middle import Answer, Middle
from tests.support.sign_ins import stored, who


@pytest.fixture
def here(lake: FullLake, provider: Provider) -> Instance:
    return at(lake)


def at(lake: FullLake, **settings: Any) -> Instance:
    return instance_of(lake, **{"auth": "oidc", "rucio_cfg": "", "username": "", "oidc_scope": SCOPE, **settings})


def enter(instance: Instance, lake: FullLake, **user: Any) -> None:
    """Sign in as a user would."""
    waiting = oidc.begin(instance)
    visit(waiting.url, lake.authority.ca, **user)
    assert waiting.wait(5).account == "alice"


# ------------------------------------------------------------------------------------------------ the page


@pytest.mark.parametrize("account", ["alice", ""])
def test_sign_in_at_the_page(lake: FullLake, provider: Provider, account: str) -> None:
    instance = at(lake, account=account)
    waiting = oidc.begin(instance)
    assert waiting.url.startswith(f"{provider.url}/oauth2/authorize?")
    assert not waiting.wants_code
    assert waiting.poll() is None
    assert signed_in(instance) is None
    visit(waiting.url, lake.authority.ca)
    known = waiting.wait(5)
    assert known.account == "alice"
    assert known.expires is not None
    assert 3500 < known.expires.timestamp() - time.time() < 3601
    assert signed_in(instance) == known
    assert can_renew(instance)
    assert oidc.pending(instance) is None
    assert who(instance) == "alice"
    sign_out(instance)
    assert signed_in(instance) is None
    with pytest.raises(SignInNeeded, match="not signed in"):
        who(instance)


def test_sign_in_with_a_code(here: Instance, lake: FullLake) -> None:
    waiting = oidc.begin(here, code=True)
    assert waiting.wants_code
    code = code_on(visit(waiting.url, lake.authority.ca))
    for wrong in ("", "rubbish", f"{code}x", code[:-1] + "\n#", "../x?y=z"):
        with pytest.raises(BadRequest, match="does not know this code") as caught:
            waiting.enter(wrong)
        assert_clear(caught.value)
    assert waiting.poll() is None
    assert waiting.enter(f" {code}\n").account == "alice"
    assert who(here) == "alice"


def test_without_a_refresh_token_it_cannot_be_renewed(lake: FullLake, provider: Provider) -> None:
    instance = at(lake, oidc_scope="openid profile")
    enter(instance, lake)
    assert signed_in(instance) is not None
    assert not can_renew(instance)


def test_the_shown_address_gives_no_token(here: Instance, lake: FullLake) -> None:
    """Nor does anything else that could be shown: a saved notebook helps nobody to get a token."""
    waiting = oidc.begin(here)
    secret = str(waiting._query)
    assert "_polling" in secret
    assert secret not in f"{waiting.url}{waiting!r}{vars(waiting)!r}"
    visit(waiting.url, lake.authority.ca)
    waiting.wait(5)
    assert secret not in str(vars(waiting))


def test_a_second_sign_in_cancels_the_first(here: Instance, lake: FullLake) -> None:
    first = oidc.begin(here)
    second = oidc.begin(here)
    assert oidc.pending(here) is second
    with pytest.raises(SignInNeeded, match="cancelled") as caught:
        first.poll()
    assert_clear(caught.value)
    visit(first.url, lake.authority.ca)
    assert second.poll() is None
    visit(second.url, lake.authority.ca)
    assert second.wait(5).account == "alice"


def test_the_old_sign_in_is_used_until_the_new_one_is_done(here: Instance, lake: FullLake) -> None:
    enter(here, lake)
    before = stored(here)
    waiting = oidc.begin(here)
    assert who(here) == "alice"
    visit(waiting.url, lake.authority.ca)
    waiting.wait(5)
    assert stored(here) != before


@pytest.mark.parametrize("does", ["nothing", "deny", "stranger"])
def test_a_failure_that_rucio_does_not_report_times_out(here: Instance, lake: FullLake, does: str) -> None:
    waiting = oidc.begin(here)
    if does != "nothing":
        visit(waiting.url, lake.authority.ca, deny=does == "deny", subject="mallory")
    with within(0.5), pytest.raises(SignInNeeded, match=r"denied there, or Rucio has no account") as caught:
        waiting.wait(0.5)
    assert_clear(caught.value)
    assert oidc.pending(here) is None
    assert signed_in(here) is None


def test_waiting_can_be_interrupted(here: Instance) -> None:
    waiting = oidc.begin(here)
    threading.Timer(0.5, os.kill, (os.getpid(), 2)).start()
    with within(0.5), pytest.raises(KeyboardInterrupt):
        waiting.wait()
    assert oidc.pending(here) is None


def test_an_abandoned_sign_in_keeps_no_secret(here: Instance) -> None:
    waiting = oidc.begin(here)
    waiting._deadline = time.monotonic()
    assert (found := oidc.pending(here)) is waiting
    assert found.failure is not None
    assert not waiting._query
    with pytest.raises(SignInNeeded, match="in time"):
        waiting.enter("x" * 50)


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"oidc_scope": "email"}, ConfigurationError, "wants more than the scope 'email'"),
        ({"oidc_audience": "storage"}, ConfigurationError, "the audience 'storage'"),
        ({"oidc_issuer": "nowhere"}, ConfigurationError, "no identity provider 'nowhere'"),
        ({"account": "nobody"}, SignInNeeded, "no account 'nobody'"),
    ],
)
def test_what_rucio_refuses_at_the_start(
    lake: FullLake, provider: Provider, settings: dict[str, str], kind: type[RucioLabError], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        oidc.begin(at(lake, **settings))
    assert_clear(caught.value)


def test_an_address_that_a_browser_must_not_follow(middle: Middle, lake: FullLake) -> None:
    middle.change = lambda path, answer: (
        Answer(303, {"Location": "javascript:alert(1)//x"}, b"") if "oidc_redirect" in path else answer
    )
    with pytest.raises(RucioLabError, match="no usable address") as caught:
        oidc.begin(at(lake, url=middle.url))
    assert_clear(caught.value)


def test_rucio_is_unreachable_while_somebody_signs_in(here: Instance, lake: FullLake) -> None:
    instance = at(lake, url=f"https://127.0.0.1:{lake.faulty['rucio'].port}")
    waiting = oidc.begin(instance)
    lake.faulty["rucio"].refuse()
    with pytest.raises(LakeUnreachable) as caught:
        waiting.poll()
    assert_clear(caught.value)
    verbose = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "instance" in verbose
    assert str(waiting._query) not in verbose
    assert waiting.failure is None
    visit(waiting.url, lake.authority.ca)
    threading.Timer(1.5, lake.faulty["rucio"].forward).start()
    assert waiting.wait(5).account == "alice"
    lake.faulty["rucio"].forward()
    gone = oidc.begin(instance)
    lake.faulty["rucio"].refuse()
    with within(1), pytest.raises(LakeUnreachable):
        gone.wait(1)


def test_it_needs_the_user(here: Instance) -> None:
    with pytest.raises(SignInNeeded, match="open a page") as caught:
        sign_in(here)
    assert_clear(caught.value)
    with pytest.raises(SignInNeeded, match="not signed in") as caught:
        Lake(here).scopes()
    assert "rucio_login" in caught.value.remedy


# ------------------------------------------------------------------------------------------------ renewal


def test_a_loop_of_calls_outlives_several_tokens(here: Instance, lake: FullLake, provider: Provider) -> None:
    provider.tokens_live(2)
    renewed = provider.renewals()
    with lake.old_tokens():
        enter(here, lake)
        tokens, until = set(), time.monotonic() + 6
        while time.monotonic() < until:
            assert who(here) == "alice"
            tokens.add(stored(here))
    assert len(tokens) >= 3
    assert provider.renewals() - renewed >= 3


def test_a_listing_outlives_several_tokens(
    here: Instance, lake: FullLake, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing that sends requests to Rucio for longer than a token is valid."""
    provider.tokens_live(2)
    with lake.old_tokens():
        enter(here, lake)
        monkeypatch.setattr("rucio_lab.core.catalogue.lake.MOST_DIDS", 1)
        tokens = set()
        for _ in Lake(here).files_of([DID("opendata13TeV", "GamGam.Data")] * 100):
            time.sleep(0.2)
            tokens.add(stored(here))
            if len(tokens) > 2:
                break
        assert len(tokens) > 2


def test_an_idle_process_stays_signed_in(here: Instance, lake: FullLake, provider: Provider) -> None:
    """Rucio renews nothing that has expired, so a kernel that is idle for hours must renew by itself."""
    provider.tokens_live(2)
    with lake.old_tokens():
        enter(here, lake)
        assert signed_in(here) is not None
        time.sleep(5)
        assert signed_in(here) is not None
    assert who(here) == "alice"
    sign_out(here)
    time.sleep(1.2)  # the longest sleep of its thread with such tokens
    assert TokenStore(here).read() is None


def test_a_sign_out_is_final(here: Instance, lake: FullLake, provider: Provider) -> None:
    """A renewal that is running does not bring the token back."""
    enter(here, lake)
    with ThreadPoolExecutor(1) as pool:
        with TokenStore(here).alone():
            out = pool.submit(sign_out, here)
            time.sleep(0.2)
            assert not out.done()
            TokenStore(here).write(Token("renewed meanwhile", "alice"))
        out.result()
    assert TokenStore(here).read() is None


WORK = """
import pickle, sys, time
from rucio_lab.core.identity.client import client_for
from rucio_lab.core.identity.signing_in import signed_in
from rucio_lab.core.identity.token_store import Token, TokenStore
instance = pickle.load(sys.stdin.buffer)
until, tokens = time.monotonic() + 10, set()
while time.monotonic() < until:
    assert client_for(instance).whoami()["account"] == "alice"
    tokens.add(TokenStore(instance).read().text)
    time.sleep(0.02)
print(len(tokens))
"""


def test_processes_share_renewals(here: Instance, lake: FullLake, provider: Provider) -> None:
    provider.tokens_live(8)
    with lake.old_tokens():
        enter(here, lake)
        renewed, began = provider.renewals(), time.monotonic()
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for _ in range(2)
        ]
        said = [worker.communicate(pickle.dumps(here), timeout=60) for worker in workers]
    assert not any(worker.returncode for worker in workers), said
    assert all(int(out) >= 2 for out, _ in said), said
    assert provider.renewals() - renewed <= 1 + (time.monotonic() - began) / 7  # each alone would renew as often
    assert who(here) == "alice"


def test_rucio_renews_no_new_token_and_is_not_asked_over_and_over(
    middle: Middle, lake: FullLake, provider: Provider
) -> None:
    """In the first five minutes of a token it gives the same one back."""
    instance = at(lake, url=middle.url)
    provider.tokens_live(4)
    enter(instance, lake)
    asked = middle.count("/auth/oidc_refresh")
    while signed_in(instance):
        try:
            assert who(instance) == "alice"
        except SignInNeeded:
            break
    assert 1 <= middle.count("/auth/oidc_refresh") - asked <= 6
    with pytest.raises(SignInNeeded, match=r"Your sign-in to test expired at \d{4}") as caught:
        who(instance)
    assert_clear(caught.value)


@pytest.mark.parametrize("fault", ["down", "slow", "revoked"])
def test_a_failed_renewal_does_not_matter_while_the_token_is_valid(
    here: Instance, lake: FullLake, provider: Provider, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(oidc, "_LIMIT", 1.0)
    provider.tokens_live(20)
    with lake.old_tokens():
        enter(here, lake)
        token = TokenStore(here).read()
        assert token is not None
        {"down": lake.faulty["oidc"].refuse, "slow": lake.faulty["oidc"].silent}.get(
            fault, lambda: provider.revoke("alice")
        )()
        with pytest.raises(RucioLabError) as caught:
            oidc.refresh(here, token)
        assert_clear(caught.value)
        shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
        assert token.text not in "".join(shown)
        kind = {"down": LakeUnreachable, "slow": LakeTooSlow, "revoked": SignInNeeded}[fault]
        assert isinstance(caught.value, kind)
        TokenStore(here).write(Token(token.text, "alice", token.expires, time.time() - 1e6, renewable=True))
        with within(1):
            assert who(here) == "alice"
        with within(0):
            assert who(here) == "alice"
        lake.faulty["oidc"].forward()


# ------------------------------------------------------------------------------------------------ what is wrong


def test_a_token_of_another_account_is_refused(here: Instance, lake: FullLake, provider: Provider) -> None:
    enter(here, lake)
    token = TokenStore(here).read()
    assert token is not None
    TokenStore(here).write(Token(f"{token.text[:-8]}AAAAAAAA", "alice", token.expires))
    with pytest.raises(SignInNeeded, match="altered or revoked") as caught:
        who(here)
    assert_clear(caught.value)
    assert token.text[:40] not in str(caught.value)


def test_the_clock_of_this_machine_is_ahead(middle: Middle, lake: FullLake, provider: Provider) -> None:
    """A token that seems to have expired is still used: Rucio's clock counts."""
    instance = at(lake, url=middle.url)
    enter(instance, lake)
    known = TokenStore(instance).read()
    assert known is not None
    early = "Sat, 21 Nov 2020 04:00:00 GMT"
    middle.change = lambda path, answer: Answer(answer.status, {**answer.headers, "Date": early}, answer.body)
    TokenStore(instance).write(Token(known.text, "alice", time.time() - 60))
    clock._ahead.clear()
    assert signed_in(instance) is None
    assert who(instance) == "alice"
    assert signed_in(instance) is not None


def test_a_token_file_is_used_until_somebody_signs_in(lake: FullLake, provider: Provider, tmp_path: Path) -> None:
    """As on some hubs: rucio.cfg has auth_type = oidc, and the token file was written at startup."""
    path = tmp_path / "token"
    path.touch(mode=0o600)
    instance = at(lake, token_file=str(path))
    with pytest.raises(SignInNeeded, match="not signed in"):
        who(instance)
    path.write_text(provider.token())
    assert who(instance) == "alice"
    enter(instance, lake)
    assert client_for(instance).whoami()
    assert client_for(instance).auth_token == stored(instance) != path.read_text()
    sign_out(instance)
    assert client_for(instance).whoami()
    assert client_for(instance).auth_token == path.read_text()
    path.write_text(provider.token(life=-5))
    with pytest.raises(SignInNeeded, match=r"expired at") as caught:
        who(instance)
    assert "rucio_login" in caught.value.remedy


# ------------------------------------------------------------------------------------------------ secrets


def test_no_secret_is_logged_shown_or_pickled(
    here: Instance, lake: FullLake, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        waiting = oidc.begin(here)
        secrets = {str(waiting._query)}
        waiting.poll()
        code = oidc.begin(here, code=True)
        secrets |= {str(code._query), entered := code_on(visit(code.url, lake.authority.ca))}
        code.enter(entered)
        assert who(here) == "alice"
        secrets.add(stored(here))
    shown = "".join(capfd.readouterr()) + "".join(record.getMessage() for record in caplog.records)
    shown += f"{here!r}{waiting!r}{code!r}{signed_in(here)!r}{vars(code)!r}"
    assert not [secret for secret in secrets if secret in shown]
    assert not [secret for secret in secrets if secret.encode() in pickle.dumps((here, signed_in(here)))]


def test_files_are_private(here: Instance, lake: FullLake) -> None:
    enter(here, lake)
    home = Path(os.environ["JUPYTER_DATA_DIR"]) / "rucio-lab"
    client_for(here).catch_up()
    with TokenStore(here).alone():
        modes = {path.relative_to(home).parts[0]: path.stat().st_mode & 0o777 for path in home.glob("*/*")}
        assert modes == {"tokens": 0o600, "locks": 0o600}
    assert {path.stat().st_mode & 0o777 for path in home.iterdir()} == {0o700}


def test_a_forked_child_renews_by_itself(here: Instance, lake: FullLake) -> None:
    enter(here, lake)
    assert signed_in(here)
    assert here.key in keeper._wakers
    child: int = os.fork()
    if not child:
        clean = not keeper._wakers
        fine = clean and who(here) == "alice"
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(("account", "words"), [("", "Set account in"), ("ann", "no account 'ann' .* Correct account")])
def test_a_server_that_does_not_know_the_account(hostile: HostileRucio, account: str, words: str) -> None:
    said = json.dumps({"ExceptionMessage": f"No identity for account {account}"}).encode()
    hostile.replies["/auth/oidc"] = Reply(said, status=401, headers={"ExceptionClass": "CannotAuthenticate"})
    with pytest.raises(RucioLabError, match=words):
        oidc.begin(hostile.instance(auth="oidc", account=account))
