"""The seam to rucio.client: one client per instance and thread, and sign-ins that never mix, prompt or leak.

rucio.client reads global configuration and environment variables, shares one token file among all servers, and asks on
the terminal when a token expires. `RucioClient` replaces only that part; requests, retries and the ways of signing in
stay Rucio's own. It overrides private methods of rucio.client's `BaseClient`, which tests/core/identity/test_client.py
guards.

The ways of signing in are modules of their own: `credentials` (passwords, certificates, keys), `oidc` (an identity
provider), `bearer` (tokens from outside). Every request uses the stored token and renews it when it is due, so that it
expires neither in a loop of calls nor in another process.
"""

from __future__ import annotations

import configparser
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import msgspec
import requests

from rucio_lab.core.answers import Answer
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import BadRequest, LakeBroken, RucioLabError, SignInNeeded
from rucio_lab.core.identity import bearer, keeper, oidc
from rucio_lab.core.identity.credentials import credentials
from rucio_lab.core.identity.renewal import (
    failure_since,
    lock_of,
    put_off,
    remember_failure,
    seconds_to_renewal,
    stored_tokens,
    usable_token,
)
from rucio_lab.core.identity.token_store import Token, TokenStore, rucio_timestamp
from rucio_lab.core.text import sendable
from rucio_lab.core.upstream import clock
from rucio_lab.core.upstream.faults import how_to_sign_in, not_signed_in, speaking_to
from rucio_lab.core.upstream.rest import CONNECT_TIMEOUT, USER_AGENT, Session
from rucio_lab.core.upstream.rucio_api import (
    Client,
    HTTPMethod,
    build_url,
    exception,
    parse_response,
    reading_rucio_cfg,
)

_log = logging.getLogger("rucio_lab.rucio")
_log.addHandler(logging.NullHandler())
_log.setLevel(logging.WARNING)  # below it, rucio.client logs all headers, including the password
_log.propagate = False  # rucio.client logs each retry as an error; real errors become exceptions


def client_for(instance: Instance, *, may_sign_in: bool = True, timeout: float | None = None) -> RucioClient:
    """Give this thread's client of an instance.

    Parameters
    ----------
    instance
        Which Rucio to ask.
    may_sign_in
        Whether to sign in without asking the user if there is no valid token.
    timeout
        How long Rucio may be silent, in seconds; by default that of the instance.

    Raises
    ------
    SignInNeeded
        If there is no valid token, and getting one needs the user.
    """
    clients: dict[tuple[Any, ...], RucioClient] = _local.__dict__.setdefault("clients", {})
    key = (*instance.key, may_sign_in, timeout)
    if key not in clients or clients[key].instance != instance:  # its time limit or CA may have changed
        clients[key] = RucioClient(instance, may_sign_in=may_sign_in, timeout=timeout)
    return clients[key]


_local = threading.local()


def _after_fork() -> None:
    """Forget the parent's clients in a forked child: on the same connections it would read the parent's answers."""
    global _local  # noqa: PLW0603
    _local = threading.local()


os.register_at_fork(after_in_child=_after_fork)


# ------------------------------------------------------------------------------------------------ the client


class RucioClient(Client):  # type: ignore[misc]
    """A rucio.client for one instance and one thread.

    Parameters
    ----------
    instance
        Which Rucio to ask.
    given
        User name and password from the user; by default those of the configuration, looked up when needed.
    anew
        Whether to drop the stored token, and get another.
    may_sign_in
        Whether it may sign in if there is no valid token.
    timeout
        How long Rucio may be silent, in seconds; by default that of the instance.

    Raises
    ------
    RucioLabError
        If signing in fails.
    """

    AUTH_RETRIES = 1  # two attempts: a host that drops packets costs twice the time limit, not three times
    REQUEST_RETRIES = 0  # so that the second attempt raises its error, which rucio.client otherwise drops

    def __init__(
        self,
        instance: Instance,
        given: Mapping[str, str] | None = None,
        *,
        anew: bool = False,
        may_sign_in: bool = True,
        timeout: float | None = None,
    ) -> None:
        self.instance = instance
        self.may_sign_in = may_sign_in
        self.token = Token("")
        self._given = given
        self._anew = anew
        self._answer: Mapping[str, str] = {}
        limit = timeout or instance.timeout
        auth_type = "oidc" if instance.auth == "token" else instance.auth
        program = sys.argv[:1]
        # The last thing rucio.client does is look up request_retries, which fails if rucio.cfg has no [client].
        with speaking_to(instance), reading_rucio_cfg(), suppress(configparser.NoSectionError):
            super().__init__(
                rucio_host=instance.url,
                auth_host=instance.auth_url,
                account=instance.account,
                ca_cert=instance.ca or True,
                auth_type=auth_type,
                timeout=(min(CONNECT_TIMEOUT, limit), limit),
                user_agent=USER_AGENT,
                vo=instance.vo,
                logger=_log,
            )
        self.request_retries = self.REQUEST_RETRIES
        sys.argv[:1] = program  # rucio.client removes its folder

    @property
    def session(self) -> requests.Session:
        """The HTTP session; rucio.client makes a new one whenever a token is refused."""
        return self._session

    @session.setter
    def session(self, _new: requests.Session) -> None:
        instance = self.instance
        self._session = Session()
        self._session.hooks["response"].append(lambda answer, **_: clock.look(instance, answer.headers))

    def catch_up(self) -> None:
        """Use the stored token, which others may have renewed or removed; renew it if it is due."""
        if not self._take_stored():
            self._obtain(rejected=None)

    def rows(self, path: list[str], parameters: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """Ask the REST interface for a list.

        For parameters that rucio.client's methods lack, and for names with spaces: rucio.client sends ``+`` where Rucio
        expects ``%20``.
        """
        if any(part in {".", ".."} for part in path):
            raise BadRequest("Rucio cannot be asked for a DID named '.' or '..'.", "Name the container that holds it.")
        url = build_url(self.host, path="/".join(quote(part, safe="") for part in path), params=parameters)
        response = self._send_request(url, method=HTTPMethod.GET)
        if response.status_code != requests.codes.ok:
            kind, message = self._get_exception(response.headers, response.status_code, response.content)
            raise kind(message)
        yield from self._load_json_data(response)

    # The following methods replace rucio.client's handling of configuration and tokens.

    def _get_auth_tokens(self) -> tuple[None, str, str, str]:
        self.account = self.instance.account or None  # never RUCIO_ACCOUNT, which may be meant for another server
        self.script_id = "rucio-lab"  # the default is the command line, which can contain a secret
        return None, "", "", ""

    def _get_creds(self, _creds: Any) -> dict[str, str]:
        return {}

    def _BaseClient__authenticate(self) -> None:  # noqa: N802
        self._obtain(rejected=None)

    def _BaseClient__get_token(self) -> None:  # noqa: N802
        # If two simultaneous requests are the first with a JSON web token, Rucio may refuse one for no reason.
        if not bearer.is_accepted(self.instance, self.token):
            self._obtain(rejected=self.auth_token)

    def _send_request(self, url: str, *args: Any, get_token: bool = False, **kwargs: Any) -> Answer:
        if not get_token:
            self.catch_up()
        response: Answer = super()._send_request(url, *args, get_token=get_token, **kwargs)
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

    def _get_exception(self, *args: Any, **kwargs: Any) -> tuple[type[Exception], str]:
        kind, message = super()._get_exception(*args, **kwargs)
        known = isinstance(kind, type) and issubclass(kind, exception.RucioException)
        return kind if known else exception.RucioException, str(message)

    def _load_json_data(self, response: Answer) -> Generator[Any, None, None]:
        kind = response.headers.get("content-type", "").partition(";")[0]
        try:
            if kind not in ("application/json", "application/x-json-stream"):
                raise LakeBroken(
                    f"What answers at {self.instance.url} is not Rucio: it sent {kind or 'nothing'!r} instead of JSON.",
                    "Check the address of the instance.",
                )
            if kind != "application/x-json-stream":
                yield _parsed(response.content)
                return
            yield from map(_parsed, response.rows())
        finally:
            response.close()  # a reader that stops early must not keep the connection open, or Rucio working

    # The following methods get a token.

    def _use(self, token: Token) -> None:
        if token.text != self.token.text:
            keep_renewed(self.instance, token)
        self.token = token
        self.auth_token = token.text
        self.headers["X-Rucio-Auth-Token"] = token.text

    def _take_stored(self, rejected: str | None = None) -> bool:
        """Use the stored token, unless Rucio has rejected it, it has expired, or it is due for renewal."""
        token = usable_token(self.instance, rejected)
        if token is None or (self.may_sign_in and seconds_to_renewal(self.instance, token) <= 0):
            return False
        self._use(token)
        return True

    def _obtain(self, rejected: str | None) -> None:
        """Get a token that Rucio has not rejected: the stored one, or a new one.

        Only one thread of one process at a time asks for a new one. Threads that waited share the result, even if it is
        a failure: otherwise each of them would wait for a hanging server in turn.
        """
        asked = time.monotonic()
        store = TokenStore(self.instance)
        with lock_of(self.instance):
            if not self._anew and (error := failure_since(self.instance, asked)) is not None:
                raise error
            if not self._anew and self._take_stored(rejected):
                return
            with store.alone():
                if self._anew:
                    store.drop()
                elif self._take_stored(rejected):
                    return  # another process was faster
                self._take_new(store, rejected)
                self._anew, self._given = False, None

    def _take_new(self, store: TokenStore, rejected: str | None) -> None:
        """Get a new token, and store it. If that fails, keep using the old one as long as it is valid."""
        old = usable_token(self.instance, rejected)
        known = next(iter(stored_tokens(self.instance)), None)
        try:
            with speaking_to(self.instance):
                new = self._new_token(old, known, rejected)
        except RucioLabError as error:
            if old is not None:
                put_off(self.instance, old)
                self._use(old)
                return
            if not isinstance(error, SignInNeeded):
                remember_failure(self.instance, error)
            raise
        if old is not None and new.text == old.text:
            put_off(self.instance, old)
        self._use(new)
        if new is not known:
            store.write(new)

    def _new_token(self, old: Token | None, known: Token | None, rejected: str | None) -> Token:
        """Get a new token in the way the instance is configured, or say why there is none.

        Parameters
        ----------
        old
            The token that is still valid, and due for renewal.
        known
            The latest token, even if something is wrong with it.
        rejected
            The token that Rucio has just rejected.
        """
        auth, remedy = self.instance.auth, how_to_sign_in(self.instance)
        if auth == "oidc" and old is not None and self.may_sign_in:
            return oidc.refresh(self.instance, old)
        if auth == "token":
            return self._token_from_elsewhere(known, rejected)
        if auth == "oidc" and known is not None:
            return self._unless_expired(known, rejected, f"Your sign-in to {self.instance.name}", remedy)
        try:
            if auth == "oidc" or not self.may_sign_in:
                raise not_signed_in(self.instance)
            return self._sign_in()
        except SignInNeeded as error:
            if known is not None and error.rucio is None:
                raise SignInNeeded(f"Your sign-in to {self.instance.name} has expired.", error.remedy) from error
            raise

    def _token_from_elsewhere(self, known: Token | None, rejected: str | None) -> Token:
        """Run the token command, if there is one; else say what is wrong with the token in the file."""
        if self.instance.token_command and self.may_sign_in:
            known = replace(bearer.by_command(self.instance), issued=clock.now(self.instance), renewable=True)
            if known.text != rejected:
                return known
        if known is None:
            raise bearer.missing(self.instance)
        what = f"The token from {bearer.origin(self.instance)} for {self.instance.name}"
        return self._unless_expired(known, rejected, what, "Get a new one, then try again.")

    def _unless_expired(self, known: Token, rejected: str | None, what: str, remedy: str) -> Token:
        """Give the token if it has expired only by this machine's wrong clock; else say what is wrong with it."""
        if known.text != rejected:
            if self.may_sign_in and not clock.known(self.instance):
                bearer.ask_for_the_time(self.instance)
            if known.valid(clock.now(self.instance)):
                return known
        raise bearer.refused(self.instance, known, what, remedy)

    def _sign_in(self) -> Token:
        """Let rucio.client ask the authentication server for a token."""
        self.creds = dict(self._given or credentials(self.instance))
        if not all(map(sendable, self.creds.values())):
            raise SignInNeeded(
                f"The user name or password for {self.instance.name} contains characters that cannot be sent, "
                "such as a line break.",
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
        return Token(
            self.auth_token,
            self._answer.get("X-Rucio-Auth-Account"),
            rucio_timestamp(self._answer.get("X-Rucio-Auth-Token-Expires")),
            clock.now(self.instance),
            renewable=self._given is None,
        )


def _parsed(text: bytes) -> Any:
    """Read JSON. If it contains times, read it as rucio.client does, which is much slower."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:  # Python's reader also accepts NaN, which Rucio sends if metadata contain it
        value = json.loads(text)
    return parse_response(text) if b" UTC" in text else value


# ------------------------------------------------------------------------------------------------ in the background


def keep_renewed(instance: Instance, token: Token) -> None:
    """Renew a sign-in at an identity provider in the background: once it has expired, it cannot be renewed."""
    if instance.auth == "oidc" and token.renewable:
        keeper.keep(instance.key, lambda: _look_after(instance))


def _look_after(instance: Instance) -> float | None:
    """Renew the sign-in of an instance if it is due; give the seconds until the next check, None if none is needed."""
    token = usable_token(instance)
    if token is not None and seconds_to_renewal(instance, token) <= 0:
        with suppress(RucioLabError):  # it is tried again, and the next request reports the error
            client_for(instance).catch_up()
        token = usable_token(instance)
    return seconds_to_renewal(instance, token) if token is not None and token.renewable else None
