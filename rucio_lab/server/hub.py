"""Keeps token files fresh under a single-user server of a JupyterHub, so that nobody has to start it again.

A hub that keeps ``auth_state`` has the user's access token, and renews it when it is asked for something and the token
is old (`Authenticator.refresh_user`, at most once in `Authenticator.auth_refresh_age` seconds; requests with the
server's own API token count). So all there is to do is to ask it for the user in time, and to write the token into the
file that the instance names: server, kernels and workers read that file whenever it changes.
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
"""Longest time between two questions to the hub, in seconds: as often as a server reports its activity."""

UNKNOWN = 60.0
"""Time between two questions where the token does not say when it ends, in seconds."""

_TIMEOUT = (5, 30)  # seconds, for the connection and for the answer: the hub may have to ask its identity provider
_SCOPES = '"admin:auth_state!user", "read:users:name!user"'


@dataclass(frozen=True)
class Hub:
    """The JupyterHub that started this server.

    Attributes
    ----------
    api
        Address of its REST interface.
    user
        Whose server this is.
    token
        The server's own API token.
    certificate
        Files of the client certificate and its key, where the hub uses TLS of its own; else None.
    ca
        File of the authority that signs the hub's certificate; empty for the usual ones.
    """

    api: str
    user: str
    token: str = field(repr=False)
    certificate: tuple[str, str] | None = None
    ca: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Hub | None:
        """Find the hub by what it tells its servers; None where there is none.

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
        """Ask for what the hub keeps of the user's sign-in.

        Raises
        ------
        RucioLabError
            If the hub does not answer, or does not give it; says what to change in jupyterhub_config.py.
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
            raise RucioLabError(f"What answers at {self.api} is no JupyterHub.", "Check JUPYTERHUB_API_URL.")
        if "auth_state" not in user:
            raise _not_allowed()
        if not isinstance(user["auth_state"], dict):
            raise ConfigurationError(
                f"JupyterHub keeps no auth_state of {self.user}.",
                "In jupyterhub_config.py: c.Authenticator.enable_auth_state = True, with JUPYTERHUB_CRYPT_KEY in the "
                "hub's environment; then sign out of the hub, and in again.",
            )
        return user["auth_state"]

    def _ask(self) -> Any:
        import requests

        with requests.Session() as session:
            session.trust_env = False  # no proxy of the environment is shown the server's token
            session.headers["Authorization"] = f"token {self.token}"
            session.cert, session.verify = self.certificate, self.ca or True
            try:
                url = f"{self.api}/users/{quote(self.user, safe='@')}"
                return session.get(url, timeout=_TIMEOUT, allow_redirects=False)
            except (OSError, ValueError):  # requests' own errors are both; without the cause: it can quote the token
                host = urlsplit(self.api).netloc
                raise RucioLabError(
                    f"JupyterHub does not answer at {host}.", "It is asked again until it does."
                ) from None


def _not_allowed() -> ConfigurationError:
    return ConfigurationError(
        "JupyterHub does not give this server the user's auth_state: it lacks the scope admin:auth_state!user.",
        f"In jupyterhub_config.py, add {_SCOPES} to the scopes of the role server, and the first of them to the role "
        "user, in c.JupyterHub.load_roles; then start the server again.",
    )


@dataclass(frozen=True)
class Wanted:
    """A token that is to be kept in a file.

    Attributes
    ----------
    whose
        The instance, or its storage, as a user reads it.
    key
        Its key in the hub's ``auth_state``.
    path
        The file.
    rucio
        The instance whose Rucio takes the token; None where storages do.
    """

    whose: str
    key: str
    path: Path
    rucio: Instance | None = None


def wanted(instances: Iterable[Instance]) -> list[Wanted]:
    """Give what instances want of the hub.

    Parameters
    ----------
    instances
        All that are configured.
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
    """Write a token into its file, unless it is there.

    Parameters
    ----------
    token
        Which one, and where.
    auth_state
        What the hub keeps of the user.

    Returns
    -------
    float or None
        When the token ends, in seconds since the epoch; None where it does not say.

    Raises
    ------
    RucioLabError
        If there is no such token, if it ended, or if the file cannot be written.
    """
    text = auth_state.get(token.key)
    if not isinstance(text, str) or not is_token(text):
        raise ConfigurationError(
            f"JupyterHub's auth_state has no token {token.key!r} for {token.whose}; "
            f"it has {', '.join(sorted(map(str, auth_state))) or 'nothing'}.",
            "Set hub_token to the one that is meant, or have the authenticator put it there.",
        )
    expires = jwt_expiry(text)
    if expires is not None and expires <= time.time():
        raise SignInNeeded(
            f"JupyterHub's {token.key} for {token.whose} has ended, and the hub has not renewed it yet.",
            "If that lasts, sign out of the hub and in again; docs/configuration.md says how a hub renews in time.",
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
            "Let token_file name a file of the user's own.",
        ) from error
    return expires


def _holds(path: Path, text: str) -> bool:
    """Whether a file holds a token already, for its owner alone."""
    try:
        return own_file(path, private=True) == text.encode()
    except OSError:
        return False


def _introduce(token: Wanted, text: str) -> None:
    """Show a new token to Rucio before anybody uses it, as well as that goes.

    Rucio writes down a JSON web token when it first sees it, and refuses it to all but one where several requests bring
    it for the first time at once (tried with 41.5: in two of three cases with four requests).
    """
    from rucio_lab.core.upstream.rest import get

    if token.rucio is None:
        return
    headers = {"X-Rucio-Auth-Token": text}
    with (
        suppress(RucioLabError),
        get(token.rucio, f"{token.rucio.auth_url}/auth/validate", headers, timeout=_TIMEOUT[0]),
    ):
        pass  # what comes of it, those will see who use it


class Keeper:
    """A thread that keeps the token files of all instances with ``hub_token`` fresh while the server runs.

    Parameters
    ----------
    hub
        Whom to ask.
    log
        Where to say what changes.
    """

    def __init__(self, hub: Hub, log: logging.Logger) -> None:
        self._hub = hub
        self._log = log
        self._said = ""
        self._failures = 0

    def start(self) -> None:
        """Start it; nobody waits for it, and the end of the server ends it."""
        threading.Thread(target=self._run, name="rucio-lab hub", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(self._round())

    def _round(self) -> float:
        """Do it once, and give the time until it is to be done again, in seconds."""
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
            self._say(logging.INFO, f"JupyterHub's tokens are kept for {names}.")
        lasting = all(isinstance(error, ConfigurationError) for error in failures)  # until somebody mends something
        again = min(2.0 ** min(self._failures - 1, 10), LONGEST if lasting else UNKNOWN) if failures else LONGEST
        left = [UNKNOWN if end is None else max(1.0, (end - time.time()) / 2) for end in ends]
        return min([again, *left])

    def _say(self, level: int, text: str) -> None:
        """Log what is not what was logged last."""
        if text != self._said:
            self._said = text
            self._log.log(level, "rucio_lab: %s", text)


def keep_tokens(log: logging.Logger) -> None:
    """Keep token files fresh if this is a server of a JupyterHub.

    Parameters
    ----------
    log
        The server's.
    """
    if (hub := Hub.of(os.environ)) is not None:
        Keeper(hub, log).start()
