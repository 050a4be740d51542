"""Requests to the test lake, as its tests make them."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from rucio_lab.demo.content import SCOPE
from tests.lake.lake import FullLake

ALL_SCHEMES = ["root", "https", "davs", "http", "file"]


def rows(response: requests.Response) -> list[Any]:
    """Parse a list of Rucio, with one JSON value per line."""
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
