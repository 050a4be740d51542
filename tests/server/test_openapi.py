"""The OpenAPI description is true: it has each route and verb, and no request that it allows makes the server fail."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import yaml

from rucio_lab.demo.lake import answers
from rucio_lab.demo.processes import free_port
from rucio_lab.server.routes import routes
from tests.lake.lake import FullLake
from tests.support.leaks import SECRETS

DESCRIPTION = Path(__file__).parents[2] / "docs" / "openapi.yaml"


def test_routes_and_verbs_are_those_of_the_handlers() -> None:
    described = yaml.safe_load(DESCRIPTION.read_text())["paths"]
    verbs = {"get", "post", "put", "patch", "delete"}
    handlers = {route.removeprefix("/rucio-lab"): verbs & vars(handler).keys() for route, handler in routes("/")}
    assert {path: verbs & item.keys() for path, item in described.items()} == handlers


def harmless(folder: Path) -> Path:
    """Give the description without what a fuzzer must not do: really download, or follow without an end."""
    description = yaml.safe_load(DESCRIPTION.read_text())
    jobs = description["paths"]["/jobs"]
    content = jobs["post"]["requestBody"]["content"]["application/json"]
    content["example"] = {"dids": ["opendata13TeV:nothing"]}
    del content["schema"]["properties"]["to"]
    jobs["get"]["parameters"] = []
    path = folder / "openapi.yaml"
    path.write_text(yaml.safe_dump(description))
    return path


def test_a_fuzzer_finds_no_failure_of_the_server(lake: FullLake, tmp_path: Path) -> None:
    config = lake.config()
    config.write_text(config.read_text() + f'\n[downloads]\nfolder = "{tmp_path / "downloads"}"\n')
    port = free_port()
    environment = {
        **os.environ,
        "RUCIO_LAB_CONFIG": str(config),
        "JUPYTER_TOKEN": SECRETS.add(secrets.token_urlsafe(32), "the token of a Jupyter server"),
    }
    (tmp_path / "schemathesis.toml").write_text('headers = { Authorization = "token ${JUPYTER_TOKEN}" }')
    server = [sys.executable, "-m", "jupyter_server", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    server += ["--ServerApp.jpserver_extensions={'rucio_lab': True}", "--allow-root"]
    server += [f"--ServerApp.root_dir={tmp_path}", "--no-browser"]
    child = lake.children.start("the fuzzed Jupyter server", server, env=environment)
    try:
        child.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/api"), seconds=60)
        fuzzer = [sys.executable, "-m", "schemathesis.cli", "run", str(harmless(tmp_path)), "--max-examples=15"]
        fuzzer += [f"--url=http://127.0.0.1:{port}/rucio-lab"]
        fuzzer += ["--checks=not_a_server_error,content_type_conformance,response_schema_conformance"]
        fuzzer += ["--phases=examples,coverage,fuzzing", "--seed=1", "--no-color"]
        done = subprocess.run(
            fuzzer, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment, timeout=240
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    finally:
        child.stop()
