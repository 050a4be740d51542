"""Users of a real JupyterHub: signed in to Rucio while their servers run, and separate from each other."""

from __future__ import annotations

import base64
import json
import logging
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from rucio_lab.cli.doctor import check_hub
from rucio_lab.core.errors import RucioLabError
from rucio_lab.core.identity.token_text import jwt_expiry
from rucio_lab.demo.processes import free_port
from rucio_lab.server.hub import Hub, Wanted, keep, keep_tokens
from tests.hub.conftest import LIFE, JupyterHub, User, hub_token, wait_until
from tests.lake.faults import TcpProxy
from tests.lake.lake import FullLake
from tests.support.checks import assert_clear

SCOPE = "opendata13TeV"


def jwt(life: float) -> str:
    """Make an unsigned token that expires in so many seconds."""
    claims = json.dumps({"exp": time.time() + life}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.x"


def test_users_of_the_hub_are_signed_in_to_rucio(alice: User) -> None:
    wait_until(alice.token_file.exists, 5)
    lake = alice.ask("instances").json()["instances"][0]
    assert (lake["name"], lake["session"]["state"], lake["session"]["renewed"]) == ("lake", "signed_in", True)
    rows = alice.ask("scopes").text.splitlines()
    assert json.loads(rows[-1])["end"] is True
    assert {"row": {"scope": SCOPE}} in map(json.loads, rows)


def test_tokens_are_renewed_in_a_running_server_and_its_kernels(alice: User) -> None:
    """For longer than three lifetimes, server and kernel ask Rucio at the same time, and are never refused."""
    code = f"""
import time, rucio_lab
from concurrent.futures import ThreadPoolExecutor
def ask(_):
    end, asked = time.monotonic() + {3 * LIFE}, 0
    while time.monotonic() < end:
        assert rucio_lab.ls("{SCOPE}:GamGam")
        asked += 1
    return asked
with ThreadPoolExecutor(3) as pool:
    print(sum(pool.map(ask, range(3))))
"""
    kernel = subprocess.Popen(
        [sys.executable, "-c", code], env=alice.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    seen = set()
    while kernel.poll() is None:
        seen.add(alice.token_file.read_text())
        answer = alice.ask("scopes")
        assert answer.status_code == 200, answer.text
        assert json.loads(answer.text.splitlines()[-1])["end"] is True
        time.sleep(0.2)
    asked, error = kernel.communicate()
    assert kernel.returncode == 0, error
    assert int(asked) > LIFE
    assert len(seen) >= 3
    assert stat.S_IMODE(alice.token_file.stat().st_mode) == 0o600


def test_users_see_nothing_of_each_other(hub: JupyterHub, alice: User, bob: User) -> None:
    wait_until(bob.token_file.exists, 5)
    assert alice.token_file.read_text() != bob.token_file.read_text()
    assert [user.ask("session").json()["state"] for user in (alice, bob)] == ["signed_in"] * 2
    with requests.Session() as stranger:
        stranger.trust_env = False
        for route in ("rucio-lab/instances", "rucio-lab/scopes", "api/contents", "files/token"):
            assert bob.browser.get(f"{alice.url}{route}", timeout=30).status_code == 403
            with_token = {"Authorization": f"token {hub_token(bob)}"}
            assert stranger.get(f"{alice.url}{route}", headers=with_token, timeout=30).status_code == 403
            alone = stranger.get(f"{alice.url}{route}", timeout=30, allow_redirects=False)
            assert alone.status_code in (302, 403)
        for token, other in ((hub_token(bob), "alice"), (hub_token(alice), "bob")):
            headers = {"Authorization": f"token {token}"}
            answer = stranger.get(f"{hub.url}hub/api/users/{other}", headers=headers, timeout=30)
            assert answer.status_code in (403, 404)


def test_names_and_paths_are_right_with_a_prefix(hub: JupyterHub, alice: User) -> None:
    page = alice.browser.get(f"{alice.url}lab", timeout=30).text
    configured = json.loads(page.split('id="jupyter-config-data"')[1].split(">", 1)[1].split("</script>")[0])
    assert configured["baseUrl"] == "/jhub/user/alice/"  # the sidebar builds its addresses from it
    did = alice.ask("did", params={"did": f"{SCOPE}:GamGam"})
    assert did.json()["type"] == "container"
    assert alice.browser.get(f"{hub.url}rucio-lab/instances", timeout=30).status_code == 404


def test_rows_pass_the_proxy_as_they_come(alice: User, full_lake: FullLake, bulk: str) -> None:
    faulty = full_lake.faulty["rucio"]
    faulty.hold(200_000)
    options = {"params": {"did": f"{SCOPE}:{bulk}", "instance": "slow"}, "stream": True}
    lines = alice.ask("files", **options).iter_lines()
    assert json.loads(next(lines))["row"]["name"]  # while Rucio still holds back most of them
    faulty.forward()
    rest = list(lines)
    assert len(rest) == 10_000
    assert json.loads(rest[-1]) == {"end": True, "count": 10_000, "more": False}


def test_a_culled_server_is_signed_in_again_without_the_user(alice: User) -> None:
    alice.stop_server()
    alice.token_file.unlink()
    time.sleep(LIFE)  # until the hub's token has expired
    alice.start_server()
    wait_until(alice.token_file.exists, 5)
    assert (jwt_expiry(alice.token_file.read_text()) or 0) > time.time()
    assert alice.ask("scopes").status_code == 200


def test_the_doctor_says_what_the_hub_lacks(hub: JupyterHub, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in alice.environment.items():
        monkeypatch.setenv(name, value)
    assert next(check_hub()).text.startswith("This does not run in a JupyterHub")
    monkeypatch.setenv("JUPYTERHUB_API_URL", f"{hub.url}hub/api")
    monkeypatch.setenv("JUPYTERHUB_USER", "alice")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", hub_token(alice))
    assert [(finding.level, "access_token of alice" in finding.text) for finding in check_hub()] == [("good", True)] * 2

    for scopes in (["access:servers!user"], ["read:users!user"]):
        poor = alice.api("POST", "users/alice/tokens", json={"scopes": scopes}).json()["token"]
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", poor)
        (finding,) = check_hub()
        assert finding.level == "bad"
        assert "lacks the scope admin:auth_state!user" in finding.text
        assert "c.JupyterHub.load_roles" in finding.remedy
        assert poor not in str(finding)


class TestFaults:
    """What can be wrong with a hub, tested without one."""

    def test_nobody_answers(self) -> None:
        hub = Hub(f"http://127.0.0.1:{free_port()}/hub/api", "alice", "hush-hush\n")
        with pytest.raises(RucioLabError) as caught:
            hub.auth_state()
        assert_clear(caught.value)
        assert "hush-hush" not in str(caught.value) + repr(hub)

    @pytest.mark.parametrize(
        ("status", "body", "words"),
        [
            (500, "", "HTTP 500"),
            (302, "", "HTTP 302"),
            (200, "<html>", "not a JupyterHub"),
            (200, "[]", "not a JupyterHub"),
            (200, "{}", "lacks the scope"),
            (200, '{"auth_state": null}', "has no auth_state of alice"),
        ],
    )
    def test_unusable_answers(self, status: int, body: str, words: str) -> None:
        with TcpProxy(0) as proxy:
            proxy.answer_http(status, body, "application/json", Location="http://elsewhere/")
            with pytest.raises(RucioLabError, match=words) as caught:
                Hub(f"http://127.0.0.1:{proxy.port}/hub/api", "alice", "hush-hush").auth_state()
        assert_clear(caught.value)

    @pytest.mark.parametrize(
        ("auth_state", "words"),
        [
            ({}, "it has nothing"),
            ({"id_token": "hush-hush"}, "it has id_token"),
            ({"access_token": None}, "no token 'access_token'"),
            ({"access_token": "hush hush"}, "no token 'access_token'"),
            ({"access_token": "hush\u00fc"}, "no token 'access_token'"),
            ({"access_token": "hush" * 20_000}, "no token 'access_token'"),
            ({"access_token": {"a": "hush-hush"}}, "no token 'access_token'"),
            ({"access_token": jwt(-1)}, "has expired"),
        ],
    )
    def test_an_auth_state_without_the_token(self, tmp_path: Path, auth_state: dict[str, Any], words: str) -> None:
        (tmp_path / "token").write_text("older")
        with pytest.raises(RucioLabError, match=words) as caught:
            keep(Wanted("lake", "access_token", tmp_path / "token"), auth_state)
        assert_clear(caught.value)
        assert "hush" not in str(caught.value)
        assert (tmp_path / "token").read_text() == "older"

    def test_the_file_is_private_and_replaces_a_link(self, tmp_path: Path) -> None:
        path = tmp_path / "folder" / "token"
        wanted = Wanted("lake", "access_token", path)
        assert keep(wanted, {"access_token": jwt(60)})
        assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]
        other = tmp_path / "other"
        other.write_text("somebody else's")
        path.unlink()
        path.symlink_to(other)
        assert keep(wanted, {"access_token": "opaque"}) is None
        assert (path.read_text(), other.read_text()) == ("opaque", "somebody else's")
        path.chmod(0o644)
        keep(wanted, {"access_token": "opaque"})
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(RucioLabError, match="cannot be written"):
            keep(Wanted("lake", "access_token", other / "token"), {"access_token": "opaque"})

    def test_without_a_hub_no_thread_starts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("API_URL", "USER", "API_TOKEN"):
            monkeypatch.delenv(f"JUPYTERHUB_{name}", raising=False)
        keep_tokens(logging.getLogger())
        assert "rucio-lab hub" not in [thread.name for thread in threading.enumerate()]


def test_the_log_names_instances_but_shows_no_token(hub: JupyterHub, alice: User) -> None:
    assert "rucio_lab: Tokens from JupyterHub are kept up to date for lake, slow." in hub.child.output()
    assert alice.token_file.read_text() not in hub.child.output()
    assert hub_token(alice) not in hub.child.output()
