"""A real JupyterHub with its real proxy, an identity provider known to Rucio, and users with browsers."""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from rucio_lab.demo.processes import Child, free_port
from tests.lake.lake import FullLake
from tests.support.leaks import SECRETS

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "deploy" / "hub" / "jupyterhub_config.py"
PROXY = HERE / "node_modules" / ".bin" / "configurable-http-proxy"
START_SECONDS = 150
"""Longest time for starting a server, in seconds; the machine may be busy."""

LIFE = 5
"""Lifetime of the access tokens, in seconds."""


class User:
    """A user with a browser, signed in to the hub."""

    def __init__(self, hub: JupyterHub, name: str) -> None:
        self.name = name
        self.home = hub.folder / "users" / name
        self.token_file = self.home / "token"
        self.url = f"{hub.url}user/{name}/"
        self._hub = hub
        self.browser = requests.Session()
        self.browser.trust_env = False
        page = self.browser.get(f"{hub.url}hub/oauth_login", timeout=30)
        page.raise_for_status()
        self.browser.post(page.url, data={"sub": name}, timeout=30).raise_for_status()
        for cookie in self.browser.cookies:
            if cookie.name.startswith("jupyterhub-hub"):  # but not session ids, which JupyterHub logs
                SECRETS.add(cookie.value or "", f"the cookie {cookie.name} of a hub's user")

    def start_server(self) -> None:
        """Start the server as the hub's page does, and wait until it answers."""
        self.browser.get(f"{self._hub.url}hub/spawn", timeout=30).raise_for_status()
        wait_until(lambda: "/user/" in self.browser.get(self._hub.url, timeout=30).url, START_SECONDS)
        self.browser.get(f"{self.url}api/status", timeout=30).raise_for_status()

    def stop_server(self) -> None:
        """Stop the server, as a culler of idle servers would."""
        self.api("DELETE", f"users/{self.name}/server").raise_for_status()
        wait_until(lambda: "user/" not in str(self.api("GET", f"users/{self.name}").json().get("server")), 30)

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask the hub's REST interface as the page does."""
        mine = (cookie for cookie in self.browser.cookies if cookie.path == f"{self._hub.path}hub/")
        headers = {"X-XSRFToken": next((cookie.value or "" for cookie in mine if cookie.name == "_xsrf"), "")}
        return self.browser.request(method, f"{self._hub.url}hub/api/{path}", headers=headers, timeout=30, **options)

    def ask(self, route: str, **options: Any) -> requests.Response:
        """Ask the extension in the user's own server, as the sidebar does."""
        return self.browser.get(f"{self.url}rucio-lab/{route}", timeout=60, **options)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of the user's kernels."""
        known = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "NO_PROXY") if name in os.environ}
        return {**known, **self._hub.environment, "HOME": str(self.home)}


class JupyterHub:
    """A running hub."""

    def __init__(self, lake: FullLake, folder: Path) -> None:
        self.folder, self.path = folder, "/jhub/"
        self.url = f"http://127.0.0.1:{free_port()}{self.path}"
        self.api = f"http://127.0.0.1:{free_port()}"
        self._lake = lake
        self._users: dict[str, User] = {}
        slow = f"https://127.0.0.1:{lake.faulty['rucio'].port}"
        common = {"rucio_cfg": "", "ca": str(lake.authority.ca), "hub_token": "access_token", "token_file": "~/token"}
        config = lake.config(
            "lake",
            lake={**common, "url": lake.url},
            slow={**common, "url": slow},
        )
        self.environment = {
            "RUCIO_LAB_CONFIG": str(config),
            "SSL_CERT_FILE": os.environ["SSL_CERT_FILE"],
            "NO_PROXY": os.environ["NO_PROXY"],
        }
        self.child = self._start()

    def _start(self) -> Child:
        if not PROXY.exists():
            pytest.fail("The hub's proxy is not installed: make develop")
        provider = self._lake.provider
        settings = {
            "folder": str(self.folder),
            "example": str(EXAMPLE),
            "url": self.url,
            "hub_url": self.api,
            "proxy_url": f"http://127.0.0.1:{free_port()}",
            "proxy": str(PROXY),
            "environment": self.environment,
        }
        env = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "RUCIO_"))}
        env |= {
            "TEST_HUB": json.dumps(settings),
            "JUPYTERHUB_CRYPT_KEY": SECRETS.add(secrets.token_hex(32), "the hub's key"),
            "CONFIGPROXY_AUTH_TOKEN": SECRETS.add(secrets.token_hex(32), "the token of the hub's proxy"),
            "OAUTH_CLIENT_ID": "rucio",
            "OAUTH_CLIENT_SECRET": "rucio-secret",
            "OAUTH_CALLBACK_URL": f"{self.url}hub/oauth_callback",
            "OAUTH2_AUTHORIZE_URL": f"{provider.url}/oauth2/authorize",
            "OAUTH2_TOKEN_URL": f"{provider.url}/oauth2/token",
            "OAUTH2_USERDATA_URL": f"{provider.url}/userinfo",
        }
        command: list[str | Path] = [sys.executable, "-m", "jupyterhub", "-f", HERE / "jupyterhub_config.py"]
        child = self._lake.children.start("the JupyterHub", command, env=env, cwd=self.folder, grace=15)
        child.wait_ready(self._is_well, seconds=60)
        return child

    def _is_well(self) -> bool:
        try:  # before the hub is up, its proxy answers instead
            return requests.get(f"{self.url}hub/health", timeout=5).ok
        except requests.ConnectionError:
            return False

    def user(self, name: str) -> User:
        """Give a user who is signed in and has a server."""
        if name not in self._users:
            user = self._users[name] = User(self, name)
            user.start_server()
        return self._users[name]


def wait_until(what: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture(scope="package")
def hub(full_lake: FullLake, bulk: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterHub]:
    """The hub, with users that Rucio knows by their tokens; after the bulk data, since SQLite allows one writer."""
    provider = full_lake.provider
    identity = {"identity": f"SUB=bob, ISS={provider.url}", "authtype": "OIDC", "email": "bob@lake.invalid"}
    full_lake.rest("POST", "/accounts/bob/identities", json={**identity, "default": True})
    provider.tokens_live(LIFE)
    hub = JupyterHub(full_lake, tmp_path_factory.mktemp("hub"))
    yield hub
    hub.child.stop()
    provider.tokens_live(3600)


@pytest.fixture
def alice(hub: JupyterHub, full_lake: FullLake) -> Iterator[User]:
    yield hub.user("alice")
    full_lake.mend()


@pytest.fixture
def bob(hub: JupyterHub) -> User:
    return hub.user("bob")


def hub_token(user: User) -> str:
    """Give the API token of a user's server from the environment of one of its processes."""
    for process in Path("/proc").glob("[0-9]*/environ"):
        try:
            found = re.search(rb"JUPYTERHUB_API_TOKEN=([^\0]+)", process.read_bytes())
            mine = f"JUPYTERHUB_USER={user.name}\0".encode() in process.read_bytes()
        except OSError:
            continue
        if found and mine:
            return SECRETS.add(found[1].decode(), "the token of a user's server")
    pytest.fail("no server runs")
