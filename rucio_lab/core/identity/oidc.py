"""Sign-in at an identity provider, through Rucio's own ``/auth/oidc``.

Rucio gives an address that redirects a browser to the provider, and that later returns the token to anybody who knows
it. So this address is a secret: it stays in this module, and users see only the provider's. rucio.client does all this
in private methods that print and ask on the terminal; this module sends the same requests.
"""

from __future__ import annotations

import re
import threading
import time
from urllib.parse import urlsplit

import requests

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import (
    BadRequest,
    ConfigurationError,
    LakeBroken,
    LakeTooSlow,
    LakeUnreachable,
    RucioLabError,
    SignInNeeded,
)
from rucio_lab.core.identity.token_store import SignIn, Token, TokenStore, bearer_token
from rucio_lab.core.private import Secret
from rucio_lab.core.upstream import clock
from rucio_lab.core.upstream.rest import get

SECONDS = 300.0
"""How long a sign-in may take, in seconds; Rucio keeps it no longer."""

_LIMIT = 15.0  # seconds of silence; the user is watching
_BETWEEN = 1.0  # seconds between two requests


class PendingSignIn:
    """A sign-in that waits for the user at the page of an identity provider. Made by `begin`.

    Attributes
    ----------
    instance
        Where to sign in.
    url
        The provider's page. It contains no secret: nobody can get a token with it alone.
    wants_code
        Whether the page ends with a code for `enter`; otherwise `poll` notices the sign-in.
    failure
        Why it failed; None while it waits.
    """

    def __init__(self, instance: Instance, url: str, query: str, *, wants_code: bool) -> None:
        self.instance = instance
        self.url = url
        self.wants_code = wants_code
        self.failure: RucioLabError | None = None
        self._query = Secret(query)
        self._deadline = time.monotonic() + SECONDS
        self._next = 0.0
        self._asking = threading.Lock()

    def __repr__(self) -> str:
        return f"<sign-in to {self.instance.name} at {urlsplit(self.url).netloc}>"

    @property
    def seconds_left(self) -> float:
        """How long it will wait, in seconds."""
        return max(0.0, self._deadline - time.monotonic())

    def poll(self) -> SignIn | None:
        """Check whether the user has signed in; asks Rucio once, or not at all if it was asked a moment ago.

        Raises
        ------
        SignInNeeded
            If the time is over, or another sign-in has replaced this one.
        """
        self.check_time()
        if self.failure is not None:
            raise self.failure
        if self.wants_code or time.monotonic() < self._next or not self._asking.acquire(blocking=False):
            return None
        try:
            return self._fetch(self._query)
        finally:
            self._next = time.monotonic() + _BETWEEN
            self._asking.release()

    def enter(self, code: str) -> SignIn:
        """Sign in with the code that the page shows at the end.

        Raises
        ------
        BadRequest
            If the code is wrong; another one can be entered.
        SignInNeeded
            If the time is over, or another sign-in has replaced this one.
        """
        code = Secret(code.strip())
        self.check_time()
        if self.failure is not None:
            raise self.failure
        known = self._fetch(code) if re.fullmatch(r"[A-Za-z0-9]{20,100}", code) else None
        if known is None:
            raise BadRequest(
                f"{self.instance.name} does not know this code.", "Copy the whole code from the page, and nothing else."
            )
        return known

    def wait(self, seconds: float = SECONDS) -> SignIn:
        """Wait until the user has signed in; can be interrupted.

        Parameters
        ----------
        seconds
            How long to wait; Rucio's own limit applies, too.

        Raises
        ------
        SignInNeeded
            If nobody signs in within that time.
        RucioLabError
            If Rucio was unreachable at the end.
        """
        self._deadline = min(self._deadline, time.monotonic() + seconds)
        away: RucioLabError | None = None
        try:
            while True:
                try:
                    if (known := self.poll()) is not None:
                        return known
                    away = None
                except (LakeUnreachable, LakeTooSlow) as error:  # it may come back in time
                    away = error
                except SignInNeeded as error:
                    raise (away or error) from None
                time.sleep(min(_BETWEEN, self.seconds_left) + 0.01)
        finally:
            self.cancel()

    def check_time(self) -> None:
        """Give up if the time is over."""
        if not self.seconds_left:
            self._end(_in_vain(self))

    def cancel(self) -> None:
        """Cancel it."""
        self._end(SignInNeeded(f"This sign-in to {self.instance.name} was cancelled.", "Start another."))
        if _pending.get(self.instance.key) is self:
            del _pending[self.instance.key]

    def _fetch(self, query: Secret) -> SignIn | None:
        """Ask for the token, and store it."""
        url = Secret(f"{self.instance.auth_url}/auth/oidc_redirect?{query}")
        with get(self.instance, url, {"X-Rucio-Client-Fetch-Token": "True"}, timeout=_LIMIT) as answer:
            text = Secret(answer.headers.get("X-Rucio-Auth-Token", ""))
            if not text:
                _check(self.instance, answer)
                return None
        token = _complete(self.instance, text)
        with TokenStore(self.instance).alone():
            if self.failure is not None:  # cancelled meanwhile
                raise self.failure
            TokenStore(self.instance).write(token)
        self._end(SignInNeeded(f"This sign-in to {self.instance.name} is done.", "Start another."))
        _pending.pop(self.instance.key, None)
        return token.sign_in

    def _end(self, failure: RucioLabError) -> None:
        """Forget the secret, and remember why it ended."""
        self.failure = self.failure or failure
        self._query = Secret("")


_pending: dict[tuple[str, ...], PendingSignIn] = {}


def begin(instance: Instance, *, code: bool = False) -> PendingSignIn:
    """Start to sign in; cancels another pending sign-in. An existing token stays in use until this is done.

    Parameters
    ----------
    instance
        Where to sign in; its ``auth`` is ``oidc``.
    code
        Whether the provider's page should end with a code, for programs that cannot poll Rucio meanwhile.

    Raises
    ------
    RucioLabError
        If Rucio gives no address to sign in at; says why if Rucio does.
    """
    if (other := _pending.get(instance.key)) is not None:
        other.cancel()
    asked = {
        "X-Rucio-Account": instance.account,
        "X-Rucio-Client-Authorize-Polling": str(not code),
        "X-Rucio-Client-Authorize-Scope": instance.oidc_scope,
        "X-Rucio-Client-Authorize-Audience": instance.oidc_audience,
        "X-Rucio-Client-Authorize-Issuer": instance.oidc_issuer,
        "X-Rucio-Client-Authorize-Refresh-Lifetime": str(instance.oidc_refresh_lifetime or ""),
    }
    headers = {name: value for name, value in asked.items() if value}
    with get(instance, f"{instance.auth_url}/auth/oidc", headers, timeout=_LIMIT) as answer:
        if "X-Rucio-OIDC-Auth-URL" not in answer.headers:
            raise _not_begun(instance, answer)
        query = Secret(urlsplit(answer.headers["X-Rucio-OIDC-Auth-URL"]).query)
    hidden = Secret(f"{instance.auth_url}/auth/oidc_redirect?{query}")
    with get(instance, hidden, timeout=_LIMIT, follow=False) as answer:
        url = answer.headers.get("Location", "")
    if urlsplit(url).scheme not in ("https", "http") or not urlsplit(url).netloc or not url.isprintable():
        raise LakeBroken(
            f"{instance.name} gave no usable address to sign in at.", "Tell the operators of this instance."
        )
    _pending[instance.key] = PendingSignIn(instance, url, query, wants_code=code)
    return _pending[instance.key]


def pending(instance: Instance) -> PendingSignIn | None:
    """Give the pending sign-in, or the last one if its time ran out."""
    if (waiting := _pending.get(instance.key)) is not None:
        waiting.check_time()
    return waiting


def refresh(instance: Instance, token: Token) -> Token:
    """Let Rucio renew a token, with the refresh token that it has.

    Rucio renews only tokens that have not expired. In the first five minutes of a token it gives the same one back.

    Raises
    ------
    RucioLabError
        If there is no new token.
    """
    headers = {"X-Rucio-Account": token.account or "", "X-Rucio-Auth-Token": Secret(token.text)}
    with get(instance, f"{instance.auth_url}/auth/oidc_refresh", headers, timeout=_LIMIT) as answer:
        text = Secret(answer.headers.get("X-Rucio-Auth-Token", ""))
        expires = answer.headers.get("X-Rucio-Auth-Token-Expires", "")
        if not answer.ok:
            raise _not_renewed(instance, _said(answer))
    if not text:
        raise _not_renewed(instance, "invalid_grant")
    new = bearer_token(text, token.account)
    ends = new.expires if new.expires is not None else float(expires) if re.fullmatch(r"[0-9]{1,11}", expires) else None
    began = token.issued if text == token.text else clock.now(instance)
    return Token(text, token.account, ends, began, renewable=True)


def _complete(instance: Instance, text: str) -> Token:
    """Find out whose a new token is, when it expires, and whether Rucio can renew it."""
    account = instance.account
    if not account:
        headers = {"X-Rucio-Auth-Token": text}
        with get(instance, f"{instance.url}/accounts/whoami", headers, timeout=_LIMIT) as answer:
            if not answer.ok:
                _check(instance, answer)
                raise SignInNeeded(
                    f"{instance.name} gave a token, but does not accept it.", "Tell the operators of this instance."
                )
            account = str(answer.json()["account"])
    plain = bearer_token(text, account)
    token = Token(text, account, plain.expires, clock.now(instance))
    try:
        return refresh(instance, token)
    except RucioLabError:  # no refresh token: it cannot be renewed
        return token


def _check(instance: Instance, answer: requests.Response) -> None:
    """Distinguish "not yet", which Rucio says with 401, from a Rucio that is broken."""
    if answer.status_code == requests.codes.unauthorized and "ExceptionClass" in answer.headers:
        return
    raise LakeBroken(
        f"Rucio ({instance.name}) answered a sign-in with HTTP {answer.status_code} {answer.reason}.",
        "Try again later, or tell the operators of this instance.",
    )


def _said(answer: requests.Response) -> str:
    """Give what Rucio says about a failure. It is often a traceback of the server: search it, but never show it."""
    try:
        return str(answer.json()["ExceptionMessage"])
    except (ValueError, KeyError, TypeError):
        return ""


def _not_begun(instance: Instance, answer: requests.Response) -> RucioLabError:
    said = _said(answer)
    if "minimal requirements" in said:
        return ConfigurationError(
            f"{instance.name} wants more than the scope {instance.oidc_scope!r} and the audience "
            f"{instance.oidc_audience or 'that it expects by itself'!r}.",
            "Set oidc_scope and oidc_audience as its operators say.",
        )
    if "for account" in said and not instance.account:  # a server such as 41.0, which cannot find it out
        return ConfigurationError(
            f"{instance.name} does not find out your account by itself.", "Set account in rucio_lab.toml or rucio.cfg."
        )
    if "for account" in said:
        return SignInNeeded(
            f"{instance.name} has no account {instance.account!r} to sign in as.",
            "Correct account in rucio_lab.toml or rucio.cfg.",
        )
    if "KeyError" in said:
        return ConfigurationError(
            f"{instance.name} knows no identity provider {instance.oidc_issuer or 'by default'!r}.",
            "Set oidc_issuer to the name that its operators gave it, or leave it out.",
        )
    if answer.headers.get("ExceptionClass") == "CannotAuthenticate":
        return LakeUnreachable(
            f"{instance.name} has no identity provider to sign in at: none is configured, or it cannot be reached.",
            "Try again later, or ask its operators.",
        )
    return LakeBroken(
        f"{instance.name} cannot start a sign-in: HTTP {answer.status_code} {answer.reason}.",
        "Check auth_url, or tell the operators of this instance.",
    )


def _not_renewed(instance: Instance, said: str) -> RucioLabError:
    if "invalid_grant" in said:
        return SignInNeeded(
            f"The sign-in to {instance.name} cannot be renewed: it has no refresh token, or an invalid one.",
            f"Sign in with %rucio_login {instance.name}.",
        )
    if any(word in said for word in ("ConnectionError", "Connection refused", "Max retries", "Timeout")):
        return LakeUnreachable(
            f"The sign-in to {instance.name} is not renewed: Rucio cannot reach the identity provider.",
            "Try again later.",
        )
    return LakeBroken(
        f"The sign-in to {instance.name} is not renewed: the identity provider refuses it.",
        f"Sign in with %rucio_login {instance.name}.",
    )


def _in_vain(sign_in: PendingSignIn) -> SignInNeeded:
    """Say that the time is over. Rucio does not tell what happened on the page."""
    return SignInNeeded(
        f"Nobody has signed in to {sign_in.instance.name} at {urlsplit(sign_in.url).netloc} in time: the page was not "
        "opened, access was denied there, or Rucio has no account for this identity. The page says which.",
        "Try again; if the page ends with an error from Rucio, ask the operators to map your identity.",
    )
