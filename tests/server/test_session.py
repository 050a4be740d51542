"""Sign-in at an identity provider through the REST interface: begun, asked for, done; and nobody else waits for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_core.paths import jupyter_data_dir

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.identity import oidc
from rucio_lab.core.upstream import clock
from tests.lake.lake import FullLake
from tests.lake.provider import SCOPE, Provider, code_on, visit
from tests.server.conftest import Answer, Ask
from tests.support.users import Users, plant


@pytest.fixture
def provider(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    at_page = {"auth": "oidc", "rucio_cfg": "", "url": lake.url, "ca": str(lake.authority.ca), "oidc_scope": SCOPE}
    behind = f"https://127.0.0.1:{lake.faulty['rucio'].port}"
    others = {"slow": {**at_page, "auth_url": behind}, "far": {**at_page, "url": behind, "auth_url": lake.url}}
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config("page", page=at_page, test={}, **others)))
    monkeypatch.setattr(clock, "_ahead", {})
    yield lake.provider
    lake.provider.tokens_live(3600)


async def post(ask: Ask, instance: str = "page", **body: Any) -> Answer:
    return await ask("session", method="POST", body=json.dumps(body), instance=instance)


async def visited(answer: Answer, lake: FullLake, **user: Any) -> str:
    """Go to the page of a pending sign-in, as the user's browser does."""
    url = answer.json["pending"]["url"]
    return await asyncio.to_thread(lambda: visit(url, lake.authority.ca, **user))


async def signed_in(ask: Ask, instance: str) -> Any:
    """Ask for the session, as the sidebar does, until somebody has signed in."""
    for _ in range(20):
        known = (await ask("session", instance=instance)).json
        if known["state"] == "signed_in":
            return known
        await asyncio.sleep(0.2)
    raise AssertionError(known)


async def test_the_session_is_polled_until_the_user_has_signed_in_at_the_page(
    ask: Ask, lake: FullLake, provider: Provider
) -> None:
    before = (await ask("session", instance="page")).json
    assert (before["state"], before["auth"], before["fields"]) == ("signed_out", "oidc", [])
    assert (before["pending"], before["failure"], before["renewed"]) == (None, None, False)
    begun = await post(ask)
    assert begun.status == 200
    assert begun.json["state"] == "signed_out"
    assert begun.json["pending"]["url"].startswith(provider.url)
    assert begun.json["pending"]["wants_code"] is False
    assert 290 < begun.json["pending"]["seconds_left"] <= 300
    again = (await ask("session", instance="page")).json
    assert again["pending"]["url"] == begun.json["pending"]["url"]
    await visited(begun, lake)
    known = await signed_in(ask, "page")
    assert (known["state"], known["account"], known["pending"], known["renewed"]) == ("signed_in", "alice", None, True)
    assert (await ask("scopes", instance="page")).rows
    out = await ask("session", method="DELETE", instance="page")
    assert out.json["state"] == "signed_out"


async def test_a_code_is_entered(ask: Ask, lake: FullLake, provider: Provider) -> None:
    refused = await post(ask, code="x" * 50)
    assert refused.status == 400
    assert "is waiting for a code" in refused.json["message"]
    begun = await post(ask, by_code=True)
    assert begun.json["pending"]["wants_code"] is True
    code = code_on(await visited(begun, lake))
    wrong = await post(ask, code="x" * 50)
    assert (wrong.status, wrong.json["error"]) == (400, "bad_request")
    known = await post(ask, code=code)
    assert (known.json["state"], known.json["pending"]) == ("signed_in", None)


async def test_a_second_sign_in_replaces_the_first_and_a_sign_out_ends_it(
    ask: Ask, lake: FullLake, provider: Provider
) -> None:
    first = await post(ask)
    second = await post(ask)
    assert first.json["pending"]["url"] != second.json["pending"]["url"]
    assert (await ask("session", instance="page")).json["pending"]["url"] == second.json["pending"]["url"]
    out = (await ask("session", method="DELETE", instance="page")).json
    assert (out["pending"], out["failure"]) == (None, None)


async def test_a_failed_sign_in_is_reported_and_removed(
    ask: Ask, lake: FullLake, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "SECONDS", 0.5)
    begun = await post(ask)
    waiting = oidc.pending(load_instances().get("page"))
    assert waiting is not None
    await visited(begun, lake, deny=True)
    await asyncio.sleep(2)
    assert not waiting._query  # though nobody has asked since
    known = (await ask("session", instance="page")).json
    assert known["pending"] is None
    assert known["failure"]["error"] == "sign_in_needed"
    assert "denied" in known["failure"]["message"]
    assert known["failure"]["remedy"]
    monkeypatch.setattr(oidc, "SECONDS", 300.0)
    assert (await post(ask)).json["failure"] is None


@pytest.mark.parametrize("body", ["[]", "no json", '{"code": 1}', '{"by_code": "yes"}', '{"username": []}'])
async def test_an_invalid_body(ask: Ask, lake: FullLake, provider: Provider, body: str) -> None:
    answer = await ask("session", method="POST", body=body, instance="page")
    assert answer.status == 400
    assert "true or false" in answer.json["remedy"]


async def test_a_slow_sign_in_delays_nobody(ask: Ask, lake: FullLake, provider: Provider) -> None:
    lake.faulty["rucio"].silent()
    slow = asyncio.ensure_future(post(ask, "slow"))
    await asyncio.sleep(0.3)
    start = time.monotonic()
    assert (await ask("scopes", instance="test")).rows
    assert (await ask("session", instance="page")).status == 200
    assert time.monotonic() - start < 2
    assert not slow.done()
    lake.faulty["rucio"].forward()
    assert (await slow).json["pending"]


async def test_a_listing_outlives_several_tokens(ask: Ask, lake: FullLake, provider: Provider) -> None:
    """One in NDJSON, with a request to Rucio for each dataset."""
    container = {"did": "opendata13TeV:GamGam"}
    whole = (await ask("replicas", **container, instance="test")).rows
    provider.tokens_live(5)  # a new connection to Rucio takes 1.5 s of it
    with lake.old_tokens():
        await visited(await post(ask, "far"), lake)
        assert await signed_in(ask, "far")
        renewed = provider.renewals()
        lake.faulty["rucio"].delay(0.5)
        assert (await ask("replicas", **container, instance="far")).rows == whole
    assert provider.renewals() - renewed >= 2


async def test_no_secret_is_in_an_answer(ask: Ask, lake: FullLake, provider: Provider) -> None:
    begun = await post(ask)
    waiting = oidc.pending(load_instances().get("page"))
    assert waiting is not None
    secret = str(waiting._query)
    seen = [begun, await ask("session", instance="page"), await ask("instances")]
    await visited(begun, lake)
    await signed_in(ask, "page")
    seen.append(await ask("session", instance="page"))
    (token,) = (Path(jupyter_data_dir()) / "rucio-lab" / "tokens").iterdir()
    hidden = [secret.encode(), json.loads(token.read_text())["token"].encode()]
    assert not [part for part in hidden for answer in seen if part in answer.body]


async def test_the_session_says_which_credentials_storages_get(
    ask: Ask, lake: FullLake, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = (await ask("session", instance="test")).json["storage"]
    assert (nothing["token"], nothing["proxy"], nothing["problems"]) == (None, None, [])
    proxy = lake.authority.proxy(lake.users["alice"])
    monkeypatch.setenv("X509_USER_PROXY", str(proxy))
    storage = (await ask("session", instance="test")).json["storage"]
    assert storage["proxy"]["path"] == str(proxy)
    assert "CN=Alice Analyst" in storage["proxy"]["subject"]
    assert storage["proxy"]["expires"].endswith("+00:00")
    assert storage["proxy"]["attributes"] == []
    assert "Python's defaults" in storage["ca"]
    assert (await ask("instances")).json["instances"][0]["session"]["storage"] is None


@pytest.mark.parametrize("kind", ["file", "pipe", "huge", "link"])
async def test_a_proxy_of_another_user_is_reported_and_delays_nobody(
    ask: Ask, lake: FullLake, provider: Provider, users: Users, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    mallory, folder = users.add(), users.folder / f"session-{kind}"
    folder.mkdir()
    folder.chmod(0o1777)
    mallory(plant, kind, folder / "proxy", lake.authority.proxy(lake.users["bob"]).read_text())
    monkeypatch.setenv("X509_USER_PROXY", str(folder / "proxy"))
    start = time.monotonic()
    answers = await asyncio.gather(*(ask("session", instance="test") for _ in range(10)))
    assert time.monotonic() - start < 10
    for answer in answers:
        storage = answer.json["storage"]
        assert storage["proxy"] is None
        assert f"The X.509 proxy {folder / 'proxy'} cannot be read" in storage["problems"][0]


async def test_instances_say_who_the_user_is(ask: Ask) -> None:
    known = (await ask("instances")).json
    assert known["default"] == "test"
    (test,) = known["instances"]
    assert test["session"]["state"] == "renewable"
    await ask("scopes")
    assert (await ask("session")).json["account"] == "alice"


async def test_a_user_name_without_a_password_signs_nobody_in(ask: Ask) -> None:
    assert (await ask("session", method="POST", body='{"username": "bob"}')).status == 401
