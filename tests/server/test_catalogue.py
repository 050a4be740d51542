"""The REST interface, through a real Jupyter server, on a real Rucio."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import pytest
from jupyter_server.serverapp import ServerApp
from tornado.httpclient import HTTPClientError

from rucio_lab.server.routes import routes
from tests.lake.lake import FullLake
from tests.server.conftest import SCOPE, Answer, Ask

ROUTES = [(route.rpartition("/")[2], handler) for route, handler in routes("/")]
VERBS = [
    (name, verb)
    for name, handler in ROUTES
    for verb in ("get", "post", "put", "patch", "delete")
    if verb in vars(handler)
]


@pytest.mark.parametrize(("name", "verb"), VERBS)
async def test_every_verb_refuses_users_who_are_not_signed_in(
    lake: FullLake, jp_serverapp: ServerApp, http_server_client: Any, jp_base_url: str, name: str, verb: str
) -> None:
    body = "{}" if verb in ("post", "put", "patch") else None
    with pytest.raises(HTTPClientError) as refused:
        await http_server_client.fetch(f"{jp_base_url}rucio-lab/{name}", method=verb.upper(), body=body)
    assert refused.value.code == 403


async def test_a_search_streams_rows_and_an_end(ask: Ask) -> None:
    answer = await ask("dids", pattern=f"{SCOPE}:GamGam*")
    assert {row["did"]: row["type"] for row in answer.rows} == {
        f"{SCOPE}:GamGam": "container",
        f"{SCOPE}:GamGam.Data": "container",
        f"{SCOPE}:GamGam.MC": "container",
    }
    assert answer.lines[-1] == {"end": True, "count": 3, "more": False}


async def test_a_limit_says_that_there_are_more_rows(ask: Ask) -> None:
    cut = (await ask("dids", pattern=f"{SCOPE}:GamGam*", limit=2)).lines
    assert [line.get("row", {}).get("did") for line in cut[:-1]] == [f"{SCOPE}:GamGam", f"{SCOPE}:GamGam.Data"]
    assert cut[-1] == {"end": True, "count": 2, "more": True}
    assert (await ask("dids", pattern=f"{SCOPE}:GamGam*", limit=3)).lines[-1]["more"] is False


async def test_no_match_is_an_empty_list_and_an_unknown_scope_an_error(ask: Ask) -> None:
    assert (await ask("dids", pattern=f"{SCOPE}:nothing*")).rows == []
    unknown = await ask("dids", pattern="nowhere:*")
    assert unknown.status == 404
    assert "no scope 'nowhere'" in unknown.json["message"]
    assert SCOPE in unknown.json["remedy"]


@pytest.mark.parametrize(
    ("route", "arguments", "status", "said"),
    [
        ("dids", {"pattern": "no colon"}, 400, "no colon"),
        ("dids", {}, 400, "pattern is missing"),
        ("dids", {"pattern": "a:*", "type": "thing"}, 400, "type cannot be 'thing'"),
        ("dids", {"pattern": "a:*", "limit": "-1"}, 400, "limit cannot be '-1'"),
        ("dids", {"pattern": f"{SCOPE}:*", "filter": "rubbish"}, 400, "filter"),
        ("did", {"did": f"{SCOPE}:nothing"}, 404, "no DID"),
        ("contents", {"did": f"{SCOPE}:nothing"}, 404, "nothing"),
        ("resolve", {"did": f"{SCOPE}:on.tape"}, 404, "tape"),
        ("resolve", {"did": f"{SCOPE}:GamGam", "rse": "NOWHERE"}, 400, "RSE expression"),
        ("scopes", {"instance": "nowhere"}, 400, "no Rucio instance 'nowhere'"),
    ],
)
async def test_bad_input_is_one_clear_error(
    ask: Ask, route: str, arguments: dict[str, str], status: int, said: str
) -> None:
    answer = await ask(route, **arguments)
    assert answer.status == status
    assert set(answer.json) == {"error", "message", "remedy", "rucio"}
    assert said in answer.json["message"]
    assert "Traceback" not in answer.json["message"]


async def test_a_did_has_its_size_and_metadata(ask: Ask) -> None:
    did = (await ask("did", did=f"{SCOPE}:GamGam.Data")).json
    files = (await ask("files", did=f"{SCOPE}:GamGam.Data")).rows
    assert did["type"] == "container"
    assert did["length"] == len(files) > 0
    assert did["bytes"] == sum(row["bytes"] for row in files)
    assert did["metadata"]["scope"] == SCOPE


async def test_contents_are_one_level_down(ask: Ask) -> None:
    names = [row["name"] for row in (await ask("contents", did=f"{SCOPE}:GamGam")).rows]
    assert sorted(names) == ["GamGam.Data", "GamGam.MC"]


async def test_replicas_say_what_each_rse_has(ask: Ask) -> None:
    files = (await ask("files", did=f"{SCOPE}:GamGam")).rows
    held = {row["rse"]: row for row in (await ask("replicas", did=f"{SCOPE}:GamGam")).rows}
    assert held["CERN-EOS"]["available"] == len(files)
    assert held["CERN-EOS"]["bytes"] == sum(row["bytes"] for row in files)


async def test_resolve_gives_what_attach_gives(ask: Ask) -> None:
    from rucio_lab import attach

    rows = (await ask("resolve", did=f"{SCOPE}:GamGam.MC", scheme="root")).rows
    assert [row["url"] for row in rows] == attach(f"{SCOPE}:GamGam.MC", scheme="root").urls
    assert {row["scheme"] for row in rows} == {"root"}


async def test_resolve_says_which_replicas_were_taken_and_why_others_were_not(ask: Ask, lake: FullLake) -> None:
    lake.faulty["root"].refuse()
    (row,) = (await ask("resolve", did=f"{SCOPE}:large.faulty")).rows
    taken = row["replicas"][0]
    assert taken["rse"] == row["rse"]
    assert row["url"].startswith(f"{taken['endpoint']}/")
    left = {each["rse"]: each for each in row["left_out"]}
    assert left["FAULTY-ROOT"]["endpoint"] == f"root://127.0.0.1:{lake.faulty['root'].port}"
    assert left["FAULTY-ROOT"]["reason"]
    assert {each["rse"] for each in row["replicas"]} | left.keys() == {"FAULTY-ROOT", "FAULTY-HTTPS", "WEB-DISK"}


async def test_names_with_html_stay_text(ask: Ask) -> None:
    answer = await ask("dids", pattern="hostile:*", type="all")
    assert any("<img" in row["name"] for row in answer.rows)
    assert "html" not in answer.headers["Content-Type"]


class TestSession:
    """Sign in, sign out; the password goes nowhere else."""

    @pytest.fixture(autouse=True)
    def without_password(self, lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
        cfg = lake.rucio_cfg(password="")
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config(test={"rucio_cfg": str(cfg)})))

    async def test_sign_in_and_out(self, ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        assert (await ask("session")).json["state"] == "signed_out"
        assert (await ask("scopes")).status == 401
        given = json.dumps({"username": "alice", "password": "alice-pass"})
        session = (await ask("session", method="POST", body=given)).json
        assert (session["state"], session["account"]) == ("signed_in", "alice")
        assert session["expires"]
        assert (await ask("scopes")).status == 200
        assert (await ask("session", method="DELETE")).json["state"] == "signed_out"
        assert (await ask("scopes")).status == 401
        assert "alice-pass" not in caplog.text

    async def test_a_wrong_password_is_refused(self, ask: Ask) -> None:
        given = json.dumps({"username": "alice", "password": "wrong"})
        answer = await ask("session", method="POST", body=given)
        assert answer.status == 401
        assert "refused" in answer.json["message"]
        assert "wrong" not in answer.json["message"]

    @pytest.mark.parametrize("body", ["rubbish", "[1]", '{"username": 1}', "\x00"])
    async def test_rubbish_is_a_bad_request(self, ask: Ask, body: str) -> None:
        assert (await ask("session", method="POST", body=body)).status == 400


async def test_a_truncated_answer_ends_with_an_error(ask: Ask, lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    far = lake.faulty["rucio"]
    address = f"https://127.0.0.1:{far.port}"
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config(test={"url": address, "auth_url": address})))
    assert (await ask("scopes")).status == 200
    far.answer(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-json-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'4f\r\n{"scope": "a", "name": "b", "type": "DATASET", "bytes": null, "adler32": null}\n\r\n'
    )
    answer = await ask("contents", did="a:b")
    assert answer.lines[0]["row"]["did"] == "a:b"
    assert answer.lines[-1]["end"] is False
    assert answer.lines[-1]["error"]["error"] == "lake_broken"


class TestHanging:
    """A Rucio that hangs holds up nobody else."""

    @pytest.fixture(autouse=True)
    def two_instances(self, lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
        address = f"https://127.0.0.1:{lake.faulty['rucio'].port}"
        config = lake.config(test={}, slow={"url": address, "auth_url": address, "timeout": 4.0})
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(config))

    @pytest.mark.parametrize(
        ("route", "options", "times"),
        [
            ("dids", {"pattern": f"{SCOPE}:*"}, 8),  # as many as an instance has threads
            ("resolve", {"did": f"{SCOPE}:GamGam"}, 8),
            ("session", {"method": "POST", "body": '{"username": "alice", "password": "alice-pass"}'}, 2),
        ],
    )
    async def test_others_answer_meanwhile(
        self, ask: Ask, lake: FullLake, jp_fetch: Any, route: str, options: dict[str, Any], times: int
    ) -> None:
        assert (await ask("dids", pattern=f"{SCOPE}:GamGam*")).status == 200  # warm
        lake.faulty["rucio"].silent()
        hung = [asyncio.ensure_future(ask(route, instance="slow", **options)) for _ in range(times)]
        await asyncio.sleep(0.5)
        longest = 0.0
        for _ in range(10):
            begin = time.monotonic()
            await jp_fetch("api", "status")
            assert len((await ask("dids", pattern=f"{SCOPE}:GamGam*")).rows) == 3
            longest = max(longest, time.monotonic() - begin)
        assert longest < 1  # the loop was never blocked; how quick it is stands in the benchmarks
        assert not any(answer.done() for answer in hung)
        answers: list[Answer] = await asyncio.gather(*hung)
        assert {answer.status for answer in answers} <= {503, 504}

    async def test_a_reader_who_leaves_stops_the_question(
        self, ask: Ask, lake: FullLake, bulk: str, jp_serverapp: ServerApp, jp_base_url: str
    ) -> None:
        far = lake.faulty["rucio"]
        whole = len((await ask("files", did=f"{SCOPE}:{bulk}", instance="slow")).rows)
        assert whole == 10_000
        all_bytes = far.sent
        far.forget()
        reader, writer = await asyncio.open_connection("127.0.0.1", jp_serverapp.port)
        address = f"{jp_base_url}rucio-lab/files?did={SCOPE}:{bulk}&instance=slow"
        token = jp_serverapp.identity_provider.token
        host = f"127.0.0.1:{jp_serverapp.port}"
        writer.write(f"GET {address} HTTP/1.1\r\nHost: {host}\r\nAuthorization: token {token}\r\n\r\n".encode())
        assert b"200" in await reader.readline()
        writer.transport.abort()
        await asyncio.sleep(1.5)
        assert far.sent < all_bytes / 2


async def test_resolve_says_what_is_missing(ask: Ask) -> None:
    answer = await ask("resolve", did=[f"{SCOPE}:on.tape", f"{SCOPE}:data_A.GamGam"], allow_missing="true")
    end = answer.lines[-1]
    assert all("tape" in reason for reason in end["missing"].values())
    assert end["missing"].keys() & {row["did"] for row in answer.rows} == set()
    assert end["total"] == len(answer.rows) + len(end["missing"])


async def test_schemes_are_read_as_in_the_kernel(ask: Ask) -> None:
    rows = (await ask("resolve", did=f"{SCOPE}:data_A.GamGam", scheme="HTTPS://")).rows
    assert {row["scheme"] for row in rows} == {"https"}
    assert (await ask("resolve", did=f"{SCOPE}:data_A.GamGam", scheme="rooot")).status == 400


async def test_other_errors_have_the_same_form(ask: Ask) -> None:
    answer = await ask("scopes", method="PUT", body="")
    assert (answer.status, set(answer.json)) == (405, {"error", "message", "remedy", "rucio"})
    assert (await ask("dids", pattern=f"{SCOPE}:*", limit="9" * 5000)).status == 400
