"""The identity provider of the test lake: oidc-provider-mock, where anybody can sign in as anyone.

Run as a module, this is the server. Its access tokens are JSON Web Tokens, like those of grid providers, where the
original has opaque ones. With the scope ``offline_access`` it issues a refresh token, and a new one at each renewal.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import sys
import time
from html import unescape
from pathlib import Path
from typing import Any

import requests

from rucio_lab.demo.lake import answers
from rucio_lab.demo.processes import Child, Children

SCOPE = "openid profile offline_access"
_HERE = Path(__file__)


class Provider:
    """The provider, as tests use it.

    Parameters
    ----------
    folder
        Folder for its key, which must survive a restart because Rucio caches the public key for 12 hours.
    url
        Its address and issuer name; a proxy that forwards to ``port``.
    port
        Its port on 127.0.0.1.
    """

    def __init__(self, folder: Path, url: str, port: int) -> None:
        self.url = url
        self._port = port
        self._key = folder / "provider.jwk"

    def start(self, children: Children) -> Child:
        """Start it and wait until it answers."""
        command: list[str | Path] = [sys.executable, "-m", "tests.lake.provider", "--port", str(self._port)]
        command += ["--issuer", self.url, "--key", self._key]
        child = children.start("the identity provider", command, cwd=_HERE.parents[2])
        child.wait_ready(lambda: answers(f"http://127.0.0.1:{self._port}/jwks"), seconds=60)
        return child

    def token(self, subject: str = "alice", **claims: Any) -> str:
        """Issue a token without a sign-in.

        Parameters
        ----------
        subject
            Subject of the token.
        claims
            Claims to change; ``life`` sets ``exp`` in seconds from now.
        """
        return self._ask("GET", f"/mint/{subject}", params={"claims": json.dumps(claims)}).text

    def tokens_live(self, seconds: float) -> None:
        """Set the lifetime of new tokens."""
        self._ask("PUT", f"/lifetime/{seconds:g}")

    def revoke(self, subject: str) -> None:
        """Revoke the refresh tokens of a subject."""
        self._ask("POST", f"/users/{subject}/revoke-tokens")

    def renewals(self) -> int:
        """Return how often it has renewed a token."""
        return int(self._ask("GET", "/renewals").text)

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        response = requests.request(method, f"http://127.0.0.1:{self._port}{path}", timeout=30, **options)
        response.raise_for_status()
        return response


def visit(url: str, ca: Path, *, subject: str = "alice", deny: bool = False) -> str:
    """Visit the address of a sign-in and sign in, as a user does in a browser.

    Parameters
    ----------
    url
        The address.
    ca
        PEM file with the CA for Rucio's certificate.
    subject
        The subject to sign in as.
    deny
        Whether to deny access instead.

    Returns
    -------
    str
        The last page: Rucio's, with a code if the user has to paste one.
    """
    with requests.Session() as browser:
        browser.verify, browser.trust_env = str(ca), False
        page = browser.get(url, timeout=30)
        page.raise_for_status()
        last = browser.post(page.url, data={"action": "deny"} if deny else {"sub": subject}, timeout=30)
        return last.text


def code_on(page: str) -> str:
    """Find the code on Rucio's page."""
    found = re.search(r"<b>\s*([\w-]{20,})\s*</b>", unescape(page))  # its length varies
    assert found, page
    return found[1]


def serve(port: int, issuer: str, key_file: Path) -> None:
    """Run the server."""
    import flask
    import oidc_provider_mock
    import werkzeug.serving
    from authlib import jose
    from authlib.oauth2.rfc6750 import BearerTokenGenerator
    from oidc_provider_mock import _app, _storage

    if not key_file.exists():
        made = jose.JsonWebKey.generate_key("RSA", 2048, options={"kid": "lake"}, is_private=True)
        key_file.touch(mode=0o600)
        key_file.write_text(json.dumps(made.as_dict(is_private=True)))
    key = jose.JsonWebKey.import_key(json.loads(key_file.read_text()))
    app = flask.Flask("oidc_provider_mock")
    app.secret_key = secrets.token_bytes(16)
    state = {"lifetime": 3600.0, "renewals": 0}

    def mint(subject: str, *, life: float | None = None, **claims: Any) -> str:
        now = time.time()
        known: dict[str, Any] = {"iss": issuer, "sub": subject, "aud": "rucio"}
        known |= {"scope": "openid profile", "wlcg.ver": "1.0"}
        known |= {"iat": now, "nbf": now, "exp": now + (life or state["lifetime"]), "jti": secrets.token_hex(8)}
        return str(jose.jwt.encode({"alg": "RS256", "kid": "lake"}, known | claims, key).decode())

    def access_token(client: Any, grant_type: str, user: Any, scope: str) -> str:
        state["renewals"] += grant_type == "refresh_token"
        return mint(user.sub, scope=scope)

    app.config["OAUTH2_ACCESS_TOKEN_GENERATOR"] = access_token
    BearerTokenGenerator._get_expires_in = lambda *_: max(1, int(state["lifetime"]))
    _storage.Client.SCOPES_SUPPORTED = (*_storage.Client.SCOPES_SUPPORTED, "offline_access")
    _app.RefreshTokenGrant.INCLUDE_NEW_REFRESH_TOKEN = True
    _app.RefreshTokenGrant.TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post", "none"]
    plain = _app.AuthorizationCodeGrant.generate_token

    def generate_token(self: Any, *args: Any, scope: str = "", **kwargs: Any) -> Any:
        return plain(self, *args, **{**kwargs, "scope": scope, "include_refresh_token": "offline_access" in scope})

    _app.AuthorizationCodeGrant.generate_token = generate_token
    oidc_provider_mock.init_app(app)
    app.debug = False

    @app.before_request
    def same_key() -> None:
        _storage.storage.jwk = key

    @app.get("/mint/<subject>")
    def give(subject: str) -> str:
        return mint(subject, **json.loads(flask.request.args["claims"]))

    @app.put("/lifetime/<seconds>")
    def live(seconds: str) -> str:
        state["lifetime"] = float(seconds)
        return ""

    @app.get("/renewals")
    def renewals() -> str:
        return str(state["renewals"])

    werkzeug.serving.run_simple("127.0.0.1", port, app, threaded=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--issuer", required=True)
    parser.add_argument("--key", type=Path, required=True)
    options = parser.parse_args()
    serve(options.port, options.issuer, options.key)
