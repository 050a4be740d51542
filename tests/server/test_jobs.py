"""Jobs through the REST interface: one for two tabs, followed live, and alive when the Jupyter server is not."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from jupyter_server.serverapp import ServerApp

from rucio_lab.core.jobs.registry import Jobs
from rucio_lab.demo.lake import answers
from rucio_lab.demo.processes import Child, free_port
from tests.lake.lake import FullLake
from tests.server.conftest import SCOPE, Ask


@pytest.fixture(autouse=True)
def base(lake: FullLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for downloads; all jobs end with the test."""
    path = lake.config()
    path.write_text(path.read_text() + f'\n[downloads]\nfolder = "{tmp_path / "downloads"}"\n')
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(path))
    yield tmp_path / "downloads"
    for job in Jobs().all():
        Jobs().cancel(job.id)


def body(*names: str, **more: Any) -> str:
    return json.dumps({"dids": [f"{SCOPE}:{name}" for name in names], **more})


async def until(ask: Ask, job: str, state: str) -> Any:
    end = time.monotonic() + 40
    while (known := (await ask("job", id=job)).json)["state"] != state:
        assert known["active"], known
        assert time.monotonic() < end, known
        await asyncio.sleep(0.1)
    return known


@asynccontextmanager
async def tab(app: ServerApp, base_url: str) -> AsyncIterator[Callable[[], Any]]:
    """Follow the jobs as a page does; gives what reads the next row."""
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
    head = f"GET {base_url}rucio-lab/jobs?follow=1 HTTP/1.0\r\nHost: 127.0.0.1:{app.port}\r\n"
    writer.write(f"{head}Authorization: token {app.identity_provider.token}\r\n\r\n".encode())
    assert b"200" in await reader.readline()
    while (await reader.readline()).strip():
        pass
    assert json.loads(await asyncio.wait_for(reader.readline(), 5)) == {
        "beat": True
    }  # no jobs yet, which is said at once

    async def row() -> Any:
        while "row" not in (line := json.loads(await asyncio.wait_for(reader.readline(), 40))):
            assert line == {"beat": True}
        return line["row"]

    yield row
    writer.transport.abort()


async def test_a_job_is_followed_in_two_tabs(ask: Ask, jp_serverapp: ServerApp, jp_base_url: str) -> None:
    async with tab(jp_serverapp, jp_base_url) as one, tab(jp_serverapp, jp_base_url) as other:
        begun = (await ask("jobs", method="POST", body=body("GamGam.MC"))).json
        assert begun["state"] in ("queued", "running")
        for row in (one, other):
            seen = [await row()]
            while seen[-1]["state"] != "done":
                seen.append(await row())
            assert {each["id"] for each in seen} == {begun["id"]}
            assert seen[-1]["bytes_done"] == seen[-1]["bytes"] > 0
        assert (await ask("job", method="DELETE", id=begun["id"])).json["state"] == "forgotten"
        assert await one() == await other() == {"id": begun["id"], "state": "forgotten"}
    followers = jp_serverapp.web_app.settings["rucio_lab_followers"]
    await asyncio.sleep(1)
    assert not followers._followers
    assert followers._looking.done()


async def test_followers_learn_that_the_jobs_cannot_be_read(
    ask: Ask, jp_serverapp: ServerApp, jp_base_url: str
) -> None:
    folder = Jobs().folder
    async with tab(jp_serverapp, jp_base_url) as one:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.write_text("not a folder")
        with pytest.raises(AssertionError, match="cannot be read"):  # the last line of the stream
            await one()
    assert (await ask("jobs")).status == 400
    folder.unlink()
    async with tab(jp_serverapp, jp_base_url) as one:
        begun = (await ask("jobs", method="POST", body=body("web"))).json
        assert (await one())["id"] == begun["id"]


async def test_two_tabs_start_one_job_which_is_cancelled_and_started_again(ask: Ask, lake: FullLake) -> None:
    lake.faulty["http"].silent()
    both = await asyncio.gather(*(ask("jobs", method="POST", body=body("faulty.http", "web")) for _ in range(4)))
    (name,) = {answer.json["id"] for answer in both}
    await until(ask, name, "running")
    assert [row["id"] for row in (await ask("jobs")).rows] == [name]
    assert (await ask("job", method="DELETE", id=name)).json["state"] == "cancelled"
    log = (await ask("joblog", id=name)).json["log"]
    assert "It was cancelled" in log
    assert log.count("It waits for its turn") == 1
    lake.faulty["http"].forward()
    assert (await ask("job", method="POST", body="", id=name)).json["active"]
    assert (await until(ask, name, "done"))["files_done"] == 2


@pytest.mark.parametrize(
    ("route", "how", "status", "said"),
    [
        ("jobs", {"method": "POST", "body": "rubbish"}, 400, "names no DIDs"),
        ("jobs", {"method": "POST", "body": "[]"}, 400, "names no DIDs"),
        ("jobs", {"method": "POST", "body": '{"dids": []}'}, 400, "names no DIDs"),
        ("jobs", {"method": "POST", "body": '{"dids": [1]}'}, 400, "names no DIDs"),
        ("jobs", {"method": "POST", "body": '{"dids": ["no colon"]}'}, 400, "no colon"),
        ("jobs", {"method": "POST", "body": '{"dids": ["a:*"]}'}, 400, "is a pattern"),
        ("jobs", {"method": "POST", "body": '{"dids": ["a:b"], "to": 1}'}, 400, "folder"),
        ("jobs", {"method": "POST", "body": body("web", to="a\0b")}, 400, "cannot be a folder"),
        ("jobs", {"method": "POST", "body": body("nothing")}, 404, "no DID"),
        ("job", {"id": "../../tokens"}, 404, "no job"),
        ("job", {}, 400, "id is missing"),
        ("job", {"method": "DELETE", "id": "0" * 16}, 404, "no job"),
        ("joblog", {"id": "0" * 16}, 404, "no job"),
    ],
)
async def test_bad_input_starts_nothing(ask: Ask, route: str, how: dict[str, str], status: int, said: str) -> None:
    answer = await ask(route, **how)
    assert (answer.status, set(answer.json)) == (status, {"error", "message", "remedy", "rucio"})
    assert said in answer.json["message"]
    assert (await ask("jobs")).rows == []


async def test_a_missing_sign_in_is_reported_before_a_job_starts(
    ask: Ask, lake: FullLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = lake.rucio_cfg(password="")
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config(test={"rucio_cfg": str(cfg)})))
    assert (await ask("jobs", method="POST", body=body("web"))).status == 401
    assert (await ask("jobs")).rows == []


def test_a_job_outlives_the_jupyter_server(lake: FullLake, tmp_path: Path, base: Path) -> None:
    port, token = free_port(), secrets.token_urlsafe()
    address = f"http://127.0.0.1:{port}/rucio-lab"

    def start() -> Child:
        server = [sys.executable, "-m", "jupyter_server", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
        server += ["--ServerApp.jpserver_extensions={'rucio_lab': True}", f"--IdentityProvider.token={token}"]
        server += [f"--ServerApp.root_dir={tmp_path}", "--allow-root", "--no-browser"]
        child = lake.children.start("the Jupyter server that ends", server)
        child.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/api"), seconds=60)
        return child

    def ask(method: str, route: str, **how: Any) -> Any:
        headers = {"Authorization": f"token {token}"}
        return requests.request(method, f"{address}/{route}", headers=headers, timeout=60, **how).json()

    lake.faulty["http"].silent()
    child = start()
    try:
        job = ask("POST", "jobs", data=body("faulty.http"))
        child.stop()
        assert Jobs().get(job["id"]).active
        child = start()
        assert ask("GET", "job", params={"id": job["id"]})["active"]
        lake.faulty["http"].forward()
        end = time.monotonic() + 40
        while (known := ask("GET", "job", params={"id": job["id"]}))["active"]:
            assert time.monotonic() < end
            time.sleep(0.2)
        assert known["state"] == "done", known
        assert known["pid"] == ask("GET", "job", params={"id": job["id"]})["pid"]
    finally:
        child.stop()
