"""Keeps token files up to date in a single-user server of a JupyterHub, so that nobody has to restart it.

A hub with ``auth_state`` has the user's access token. It renews an old token when it gets a request
(`Authenticator.refresh_user`, at most once in `Authenticator.auth_refresh_age` seconds; requests with the server's own
API token count). So it is enough to ask the hub for the user in time, and to write the token into the file of the
instance: server, kernels and workers read that file when it changes.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import ConfigurationError, RucioLabError, SignInNeeded
from rucio_lab.core.identity.token_text import is_token, jwt_expiry
from rucio_lab.core.private import Secret, lab_folder, own_file, own_folder, write_private

LONGEST = 300.0
"""Longest pause between two requests to the hub, in seconds: servers report their activity as often."""

UNKNOWN = 60.0
"""Pause between two requests if the token does not say when it expires, in seconds."""

_TIMEOUT = (5, 30)  # seconds for the connection and the answer: the hub may have to ask its identity provider
_SCOPES = '"admin:auth_state!user", "read:users:name!user"'


@dataclass(frozen=True)
class Hub:
    """The JupyterHub that started this server.

    Attributes
    ----------
    api
        Address of its REST interface.
    user
        The owner of this server.
    token
        The server's own API token.
    certificate
        Files of the client certificate and its key if the hub uses internal TLS; else None.
    ca
        CA file for the hub's certificate; empty for the usual ones.
    """

    api: str
    user: str
    token: str = field(repr=False)
    certificate: tuple[str, str] | None = None
    ca: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Hub | None:
        """Find the hub from the environment variables of its servers; None if there is no hub.

        Parameters
        ----------
        environment
            The variables of the process.
        """
        known = [environment.get(f"JUPYTERHUB_{name}", "") for name in ("API_URL", "USER", "API_TOKEN")]
        if not all(known):
            return None
        files = [environment.get(f"JUPYTERHUB_SSL_{name}", "") for name in ("CERTFILE", "KEYFILE", "CLIENT_CA")]
        return cls(known[0], known[1], Secret(known[2]), (files[0], files[1]) if all(files[:2]) else None, files[2])

    def auth_state(self) -> dict[str, Any]:
        """Ask the hub for the user's ``auth_state``.

        Raises
        ------
        RucioLabError
            If the hub does not answer or refuses; says what to change in jupyterhub_config.py.
        """
        answer = self._ask()
        if answer.status_code in (403, 404):
            raise _not_allowed()
        if answer.status_code != 200:
            raise RucioLabError(f"JupyterHub answers with HTTP {answer.status_code}.", "Its log says why.")
        try:
            user: Any = answer.json()
        except ValueError:
            user = None
        if not isinstance(user, dict):
            raise RucioLabError(f"What answers at {self.api} is not a JupyterHub.", "Check JUPYTERHUB_API_URL.")
        if "auth_state" not in user:
            raise _not_allowed()
        if not isinstance(user["auth_state"], dict):
            raise ConfigurationError(
                f"JupyterHub has no auth_state of {self.user}.",
                "In jupyterhub_config.py: c.Authenticator.enable_auth_state = True, with JUPYTERHUB_CRYPT_KEY in the "
                "hub's environment; then sign out of the hub and sign in again.",
            )
        return user["auth_state"]

    def _ask(self) -> Any:
        import requests

        with requests.Session() as session:
            session.trust_env = False  # the server's token must not go to a proxy of the environment
            session.headers["Authorization"] = f"token {self.token}"
            session.cert, session.verify = self.certificate, self.ca or True
            try:
                url = f"{self.api}/users/{quote(self.user, safe='@')}"
                return session.get(url, timeout=_TIMEOUT, allow_redirects=False)
            except (OSError, ValueError):  # requests' errors are both; no cause: it can quote the token
                host = urlsplit(self.api).netloc
                raise RucioLabError(
                    f"JupyterHub does not answer at {host}.", "It is asked again until it does."
                ) from None


def _not_allowed() -> ConfigurationError:
    return ConfigurationError(
        "JupyterHub does not give this server the user's auth_state: it lacks the scope admin:auth_state!user.",
        f"In jupyterhub_config.py, add {_SCOPES} to the scopes of the role server, and the first of them to the role "
        "user, in c.JupyterHub.load_roles; then restart the server.",
    )


@dataclass(frozen=True)
class Wanted:
    """A token to keep up to date in a file.

    Attributes
    ----------
    whose
        The instance, or its storage, in words.
    key
        Its key in the hub's ``auth_state``.
    path
        The file.
    rucio
        The instance, if the token is for Rucio; None if it is for storages.
    """

    whose: str
    key: str
    path: Path
    rucio: Instance | None = None


def wanted(instances: Iterable[Instance]) -> list[Wanted]:
    """Give the tokens that instances want from the hub.

    Parameters
    ----------
    instances
        All configured instances.
    """
    found = []
    for instance in instances:
        if instance.hub_token:
            found.append(Wanted(instance.name, instance.hub_token, Path(instance.token_file), instance))
        if instance.storage.hub_token:
            storage = instance.storage
            found.append(Wanted(f"{instance.name}'s storage", storage.hub_token, Path(storage.token_file)))
    return found


def keep(token: Wanted, auth_state: Mapping[str, Any]) -> float | None:
    """Write a token into its file, unless the file contains it already.

    Parameters
    ----------
    token
        Which token, and which file.
    auth_state
        What the hub knows about the user.

    Returns
    -------
    float or None
        When the token expires, in seconds since the epoch; None if it does not say.

    Raises
    ------
    RucioLabError
        If there is no such token, if it has expired, or if the file cannot be written.
    """
    text = auth_state.get(token.key)
    if not isinstance(text, str) or not is_token(text):
        raise ConfigurationError(
            f"JupyterHub's auth_state has no token {token.key!r} for {token.whose}; "
            f"it has {', '.join(sorted(map(str, auth_state))) or 'nothing'}.",
            "Set hub_token to the right one, or make the authenticator store it.",
        )
    expires = jwt_expiry(text)
    if expires is not None and expires <= time.time():
        raise SignInNeeded(
            f"JupyterHub's {token.key} for {token.whose} has expired, and the hub has not renewed it yet.",
            "If this lasts, sign out of the hub and sign in again; docs/configuration.md says how hubs renew in time.",
        )
    try:
        if not _holds(token.path, text):
            _introduce(token, text)
            if token.path.parent == lab_folder("hub"):
                own_folder(token.path.parent)
            write_private(token.path, text)
    except OSError as error:
        raise ConfigurationError(
            f"The token for {token.whose} cannot be written to {token.path}: {error.strerror}.",
            "Set token_file to a file of the user's own.",
        ) from error
    return expires


def _holds(path: Path, text: str) -> bool:
    """Whether a file contains a token already, and only its owner can read it."""
    try:
        return own_file(path, private=True) == text.encode()
    except OSError:
        return False


def _introduce(token: Wanted, text: str) -> None:
    """Show a new token to Rucio before anybody uses it, if Rucio can be reached.

    Rucio records a JSON web token when it first sees it. If several requests show it for the first time at once, Rucio
    refuses all but one (seen with 41.5, in two of three cases with four requests).
    """
    from rucio_lab.core.upstream.rest import get

    if token.rucio is None:
        return
    headers = {"X-Rucio-Auth-Token": text}
    with (
        suppress(RucioLabError),
        get(token.rucio, f"{token.rucio.auth_url}/auth/validate", headers, timeout=_TIMEOUT[0]),
    ):
        pass  # whoever uses the token gets the error


class Keeper:
    """A thread that keeps the token files of all instances with ``hub_token`` up to date while the server runs.

    Parameters
    ----------
    hub
        The hub to ask.
    log
        Where to log changes.
    """

    def __init__(self, hub: Hub, log: logging.Logger) -> None:
        self._hub = hub
        self._log = log
        self._said = ""
        self._failures = 0

    def start(self) -> None:
        """Start the thread. Nothing waits for it, and it ends with the server."""
        threading.Thread(target=self._run, name="rucio-lab hub", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(self._round())

    def _round(self) -> float:
        """Renew all tokens once, and give the time until the next round, in seconds."""
        ends: list[float | None] = []
        failures: list[RucioLabError] = []
        tokens: list[Wanted] = []
        try:
            tokens = wanted(load_instances())
            auth_state = self._hub.auth_state() if tokens else {}
        except RucioLabError as error:
            tokens, failures = [], [error]
        for token in tokens:
            try:
                ends.append(keep(token, auth_state))
            except RucioLabError as error:
                failures.append(error)
        self._failures = self._failures + 1 if failures else 0
        if failures:
            self._say(logging.WARNING, f"No new token from JupyterHub: {' '.join(map(str, failures))}")
        elif tokens:
            names = ", ".join(token.whose for token in tokens)
            self._say(logging.INFO, f"Tokens from JupyterHub are kept up to date for {names}.")
        lasting = all(
            isinstance(error, ConfigurationError) for error in failures
        )  # until somebody changes the configuration
        again = min(2.0 ** min(self._failures - 1, 10), LONGEST if lasting else UNKNOWN) if failures else LONGEST
        left = [UNKNOWN if end is None else max(1.0, (end - time.time()) / 2) for end in ends]
        return min([again, *left])

    def _say(self, level: int, text: str) -> None:
        """Log something, unless it was the last thing logged."""
        if text != self._said:
            self._said = text
            self._log.log(level, "rucio_lab: %s", text)


def keep_tokens(log: logging.Logger) -> None:
    """Keep token files up to date if this is a server of a JupyterHub.

    Parameters
    ----------
    log
        The log of the server.
    """
    if (hub := Hub.of(os.environ)) is not None:
        Keeper(hub, log).start()
