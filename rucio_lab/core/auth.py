"""The seam to rucio.client: one client per instance and thread, and sign-ins that never mix, prompt or leak.

rucio.client reads global configuration and environment, shares one token file among all servers, and asks on the
terminal when a token ends. `RucioClient` replaces just that part; requests, retries and the ways of signing in stay
Rucio's own. It overrides private methods of rucio.client's `BaseClient`, which tests/core/test_seam.py guards.
"""

from __future__ import annotations

import configparser
import logging
import os
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from rucio_lab._version import __version__
from rucio_lab.core.config import Instance, read_rucio_cfg
from rucio_lab.core.errors import BadRequest, LakeBroken, RucioLabError, SignInNeeded
from rucio_lab.core.faults import how_to_sign_in, not_signed_in, speaking_to
from rucio_lab.core.rucio_api import Client, HTTPMethod, build_url, exception, wlcg_token_discovery
from rucio_lab.core.tokens import Secret, SignIn, Token, TokenStore, jwt_expiry, rucio_timestamp

CONNECT_TIMEOUT = 5.0
"""Longest time to wait for a connection to Rucio, in seconds."""

_log = logging.getLogger("rucio_lab.rucio")
_log.addHandler(logging.NullHandler())
_log.setLevel(logging.WARNING)  # below, rucio.client writes out all headers, and so the password
_log.propagate = False  # rucio.client reports each retry as an error; what matters becomes an exception


# ------------------------------------------------------------------------------------------------ the public functions


def sign_in(instance: Instance, *, username: str | None = None, password: str | None = None) -> SignIn:
    """Sign in anew, whatever token there is already.

    Parameters
    ----------
    instance
        Where.
    username, password
        For ``userpass``; by default those of the instance's rucio.cfg. The password is sent to the instance's
        authentication server and kept nowhere.

    Raises
    ------
    SignInNeeded
        If the credentials are missing or refused. The token of an earlier sign-in is gone then, too.
    """
    if username and password is None and username != instance.username:
        raise SignInNeeded(f"There is no password for {username} at {instance.name}.", how_to_sign_in(instance))
    password = Secret(password) if password is not None else None
    given = {"username": username or instance.username, "password": password} if password is not None else None
    with _lock(instance):
        TokenStore(instance).drop()
        return RucioClient(instance, given).token.sign_in


def sign_out(instance: Instance) -> None:
    """Forget the token of an instance. One that others keep, such as a token file, stays theirs."""
    with _lock(instance):
        TokenStore(instance).drop()


def signed_in(instance: Instance) -> SignIn | None:
    """Say who one is, by the stored token alone: asks nobody.

    Returns
    -------
    SignIn or None
        None if there is no token, or if it ended.
    """
    token = _stored_token(instance)
    return token.sign_in if token is not None and token.valid else None


def ping(instance: Instance, timeout: float) -> str:
    """See whether Rucio is there, without signing in.

    Parameters
    ----------
    instance
        Where.
    timeout
        In seconds.

    Returns
    -------
    str
        Its version.

    Raises
    ------
    RucioLabError
        If it is not there, or not Rucio.
    """
    with speaking_to(instance), _Session() as session:
        answer = session.get(f"{instance.url}/ping", verify=instance.ca or True, timeout=timeout)
        if not answer.ok:
            raise LakeBroken(
                f"What answers at {instance.url} is not Rucio: HTTP {answer.status_code} {answer.reason}.",
                "Check the address of the instance.",
            )
        return str(answer.json()["version"])


def can_renew(instance: Instance) -> bool:
    """Whether a sign-in can be had without asking the user."""
    try:
        _credentials(instance)
    except RucioLabError:
        return False
    return True


def client_for(instance: Instance, *, may_sign_in: bool = True, timeout: float | None = None) -> RucioClient:
    """Give this thread's client of an instance.

    Parameters
    ----------
    instance
        Where.
    may_sign_in
        Whether a sign-in that needs no questions may be made where there is no valid token.
    timeout
        Longest silence of Rucio, in seconds; by default the instance's.

    Raises
    ------
    SignInNeeded
        If there is no valid token and none can be had without asking.
    """
    clients: dict[tuple[Any, ...], RucioClient] = _local.__dict__.setdefault("clients", {})
    key = (*instance.key, may_sign_in, timeout)
    if key not in clients or clients[key].instance != instance:  # its time limit or CA may have been changed
        clients[key] = RucioClient(instance, may_sign_in=may_sign_in, timeout=timeout)
    else:
        clients[key].catch_up()
    return clients[key]


_local = threading.local()


def _after_fork() -> None:
    """Start anew in a forked child: with its parent's connections it would read its parent's answers."""
    global _local  # noqa: PLW0603
    _local = threading.local()
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# ------------------------------------------------------------------------------------------------ the client


class _Session(requests.Session):
    """A session that follows no redirect to another host: requests would hand on our token and password."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Refuse to be sent elsewhere."""
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]
        old, new = str(response.request.url), str(prepared_request.url)
        if self.should_strip_auth(old, new):  # type: ignore[no-untyped-call]
            here, there = urlsplit(old).netloc, urlsplit(new).netloc
            raise LakeBroken(
                f"{here} sends Rucio's clients on to {there}, and credentials are never sent to another host.",
                "Check the address of the instance; a login page of the network may be in between.",
            )


class RucioClient(Client):  # type: ignore[misc]
    """A rucio.client for one instance and one thread.

    Parameters
    ----------
    instance
        Where.
    credentials
        What the user just gave; by default what the configuration gives, looked up when it is needed.
    may_sign_in
        Whether it may sign in where there is no valid token.
    timeout
        Longest silence of Rucio, in seconds; by default the instance's.

    Raises
    ------
    RucioLabError
        If it cannot be signed in.
    """

    AUTH_RETRIES = 1  # two attempts, so that a host which drops packets costs twice the time limit, not three times
    REQUEST_RETRIES = 0  # the second attempt says what is wrong; else rucio.client forgets it

    def __init__(
        self,
        instance: Instance,
        credentials: Mapping[str, str] | None = None,
        *,
        may_sign_in: bool = True,
        timeout: float | None = None,
    ) -> None:
        self.instance = instance
        self.may_sign_in = may_sign_in
        self.token = Token("")
        self._given = credentials
        self._answer: Mapping[str, str] = {}
        limit = timeout or instance.timeout
        auth_type = "oidc" if instance.auth == "token" else instance.auth
        program = sys.argv[:1]
        # What rucio.client does last is to look for request_retries, and it fails where a rucio.cfg has no [client].
        with speaking_to(instance), suppress(configparser.NoSectionError):
            super().__init__(
                rucio_host=instance.url,
                auth_host=instance.auth_url,
                account=instance.account,
                ca_cert=instance.ca or True,
                auth_type=auth_type,
                timeout=(min(CONNECT_TIMEOUT, limit), limit),
                user_agent=f"rucio-lab/{__version__} rucio-clients",
                vo=instance.vo,
                logger=_log,
            )
        self.request_retries = self.REQUEST_RETRIES
        sys.argv[:1] = program  # rucio.client strips its folder

    @property
    def session(self) -> requests.Session:
        """The HTTP session; rucio.client makes a new one whenever a token was refused."""
        return self._session

    @session.setter
    def session(self, _new: requests.Session) -> None:
        self._session = _Session()

    def catch_up(self) -> None:
        """Take the token that is stored now: another thread or process may have signed in again, or out."""
        stored = _stored_token(self.instance)
        if stored is None or not stored.valid:
            with speaking_to(self.instance):
                self._obtain(rejected=None)
        elif stored.text != self.token.text:
            self._use(stored)

    def rows(self, path: list[str], parameters: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """Ask REST for a list.

        For parameters that rucio.client's own methods do not have, and for names with blanks in them, which it writes
        as ``+`` where Rucio wants ``%20``.
        """
        if any(part in {".", ".."} for part in path):
            raise BadRequest("Rucio cannot be asked for a DID named '.' or '..'.", "Name the container that holds it.")
        url = build_url(self.host, path="/".join(quote(part, safe="") for part in path), params=parameters)
        response = self._send_request(url, method=HTTPMethod.GET)
        if response.status_code != requests.codes.ok:
            kind, message = self._get_exception(response.headers, response.status_code, response.content)
            raise kind(message)
        yield from self._load_json_data(response)

    # What follows takes the place of rucio.client's handling of configuration and tokens.

    def _get_auth_tokens(self) -> tuple[None, str, str, str]:
        self.account = self.instance.account or None  # never RUCIO_ACCOUNT, which may be meant for another server
        self.script_id = "rucio-lab"  # by default it is the command line, which can hold a secret
        return None, "", "", ""

    def _get_creds(self, _creds: Any) -> dict[str, str]:
        return {}

    def _BaseClient__authenticate(self) -> None:  # noqa: N802
        self._obtain(rejected=None)

    def _BaseClient__get_token(self) -> None:  # noqa: N802
        self._obtain(rejected=self.auth_token)

    def _send_request(self, url: str, *args: Any, get_token: bool = False, **kwargs: Any) -> requests.Response:
        response: requests.Response = super()._send_request(url, *args, get_token=get_token, **kwargs)
        broke = response.status_code >= requests.codes.server_error
        if broke and (get_token or "ExceptionClass" not in response.headers):
            raise LakeBroken(
                f"Rucio ({self.instance.name}) answered with HTTP {response.status_code} {response.reason}.",
                "Try again later, or tell the operators of this instance.",
            )
        if not response.ok and "ExceptionClass" not in response.headers:
            raise LakeBroken(
                f"What answers at {url.partition('?')[0]} is not Rucio: HTTP {response.status_code} {response.reason}.",
                "Check the address of the instance.",
            )
        if get_token:
            self._answer = response.headers
        return response

    def _load_json_data(self, response: requests.Response) -> Generator[Any, None, None]:
        kind = response.headers.get("content-type", "").partition(";")[0]
        try:
            if kind not in ("application/json", "application/x-json-stream"):
                raise LakeBroken(
                    f"What answers at {self.instance.url} is not Rucio: it sent {kind or 'nothing'!r} instead of JSON.",
                    "Check the address of the instance.",
                )
            yield from super()._load_json_data(response)
        finally:
            response.close()  # a reader that leaves early must not keep the connection, or Rucio at work

    def _use(self, token: Token) -> None:
        self.token = token
        self.auth_token = token.text
        self.headers["X-Rucio-Auth-Token"] = token.text

    def _obtain(self, rejected: str | None) -> None:
        """Get a token that Rucio has not rejected: the stored one, or a new one.

        One thread at a time asks for a new one. Those that waited for it share what came of it, also a failure: else
        each of them would in turn wait for a server that hangs.
        """
        asked = time.monotonic()
        with _lock(self.instance):
            failed, error = _failures.get(self.instance.key, (0.0, None))
            if error is not None and failed > asked and self._given is None:
                raise type(error)(error.message, error.remedy, rucio=error.rucio)
            stored = _stored_token(self.instance) if self._given is None else None
            if stored is not None and stored.valid and stored.text != rejected:
                self._use(stored)
                return
            if self.instance.auth == "token":
                raise _no_token(self.instance, stored)
            try:
                if not self.may_sign_in:
                    raise not_signed_in(self.instance)
                with speaking_to(self.instance):
                    self._use(self._sign_in())
            except SignInNeeded as error:
                if stored is not None and error.rucio is None:
                    raise SignInNeeded(f"Your sign-in to {self.instance.name} ended.", error.remedy) from error
                raise
            except RucioLabError as error:
                _failures[self.instance.key] = (time.monotonic(), error.with_traceback(None))
                raise
            TokenStore(self.instance).write(self.token)

    def _sign_in(self) -> Token:
        """Let rucio.client ask the authentication server for a token."""
        self.creds = dict(self._given or _credentials(self.instance))
        if not all(map(_sendable, self.creds.values())):
            raise SignInNeeded(
                f"The user name or password for {self.instance.name} holds characters that cannot be sent, "
                "such as the end of a line.",
                how_to_sign_in(self.instance),
            )
        ask = {
            "userpass": self._BaseClient__get_token_userpass,
            "x509": self._BaseClient__get_token_x509,
            "x509_proxy": self._BaseClient__get_token_x509,
            "gss": self._BaseClient__get_token_gss,
            "ssh": self._BaseClient__get_token_ssh,
        }[self.instance.auth]
        try:
            if not ask():
                raise exception.CannotAuthenticate("no token came back")
        finally:
            self.creds = {}
        expires = self._answer.get("X-Rucio-Auth-Token-Expires")
        return Token(self.auth_token, self._answer.get("X-Rucio-Auth-Account"), rucio_timestamp(expires))


# ------------------------------------------------------------------------------------------------ credentials, tokens


def _credentials(instance: Instance) -> dict[str, str]:
    """Look up what an instance's way of signing in needs, without asking anybody.

    Raises
    ------
    SignInNeeded
        If something is missing; says what.
    """
    if instance.auth == "userpass":
        password = read_rucio_cfg(instance.rucio_cfg).get("password") if instance.rucio_cfg else None
        if not password or not instance.username:
            raise not_signed_in(instance)
        return {"username": instance.username, "password": Secret(password)}
    if instance.auth == "x509":
        files = {"client_cert": instance.client_cert, "client_key": instance.client_key or instance.client_cert}
    elif instance.auth == "x509_proxy":
        default = os.environ.get("X509_USER_PROXY") or f"/tmp/x509up_u{os.geteuid()}"  # noqa: S108 - where all proxies lie
        files = {"client_proxy": instance.client_proxy or default}
    elif instance.auth == "ssh":
        files = {"ssh_private_key": instance.ssh_private_key}
    elif instance.auth == "gss":
        files = {}
    else:
        raise not_signed_in(instance)
    for what, path in files.items():
        if not path or not os.access(path, os.R_OK):
            raise SignInNeeded(
                f"The {what} for {instance.name} cannot be read: {path or 'it is not configured'}.",
                how_to_sign_in(instance),
            )
    return files


def _stored_token(instance: Instance) -> Token | None:
    """Read the token that is there: for ``token`` wherever the configuration says, else from our own store."""
    if instance.auth != "token":
        return TokenStore(instance).read()
    text = None
    if instance.token_file:
        try:
            text = Path(instance.token_file).read_text().strip()
        except (OSError, UnicodeDecodeError):
            text = None
    if not text and instance.wlcg_token:
        text = wlcg_token_discovery()
    return Token(text, None, jwt_expiry(text)) if text and _sendable(text) else None


def _sendable(text: str) -> bool:
    """Whether a text can be the value of an HTTP header; where not, requests quotes it, secret or not, in its error."""
    return text.isprintable() and text == text.lstrip() and all(ord(character) < 256 for character in text)


def _no_token(instance: Instance, stored: Token | None) -> SignInNeeded:
    """Say what is wrong with the token of an instance that takes one from elsewhere."""
    where = instance.token_file or ("the WLCG bearer token discovery" if instance.wlcg_token else "")
    if not where:
        return SignInNeeded(f"No token is configured for {instance.name}.", "Set token_file in rucio_lab.toml.")
    if stored is None:
        return SignInNeeded(f"There is no token for {instance.name}: {where} has none.", "Get one, then try again.")
    if not stored.valid:
        ended = datetime.fromtimestamp(stored.expires or 0, UTC)
        what = f"The token for {instance.name} (from {where}) ended at {ended:%Y-%m-%d %H:%M} UTC."
    else:
        what = f"{instance.name} does not accept the token from {where}."
    return SignInNeeded(what, "Get a new one, then try again.")


_locks: dict[tuple[str, ...], threading.RLock] = {}
_failures: dict[tuple[str, ...], tuple[float, RucioLabError]] = {}


def _lock(instance: Instance) -> threading.RLock:
    """Give the lock under which one instance's token is read, renewed and written."""
    return _locks.setdefault(instance.key, threading.RLock())
