"""The storage token: from a file, a command or the WLCG discovery, and which storages may see it."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.identity import token_command
from rucio_lab.core.identity.token_text import discovered_token, is_token, jwt_claims, jwt_expiry
from rucio_lab.core.model import Replica
from rucio_lab.core.private import Secret, own_file, unreadable

_MARGIN = 60.0  # seconds before a token expires in which its command is run again

_OPAQUE_LIFE = 300.0  # seconds for which a token that does not say when it expires is kept

TLS_SCHEMES = ("https", "roots")


@dataclass(frozen=True, slots=True, repr=False)
class StorageToken:
    """A bearer token for storages, with its claims. Its repr does not show it, so it cannot end up in a log.

    Attributes
    ----------
    text
        The token.
    source
        Where it comes from: a path, or a description.
    issuer, audience, scope
        Who issued it, for whom, and for what; empty if it does not say.
    expires
        When it expires (UTC); None if that is not known.
    """

    text: Secret
    source: str
    issuer: str = ""
    audience: str = ""
    scope: str = ""
    expires: datetime | None = None


def find_token(instance: Instance) -> tuple[StorageToken | None, str]:
    """Look up the current storage token of an instance: from its file, its command, or the WLCG discovery.

    Returns
    -------
    StorageToken or None
        None if there is no valid one.
    str
        A sentence on why there is none although one is configured; else empty.
    """
    settings = instance.storage
    problem = ""
    if settings.token_file:
        token, problem = _from_file(settings.token_file)
    elif settings.token_command:
        token, problem = _from_command(settings.token_command)
    else:
        token = None
    if token is None and settings.wlcg_token:
        token, problem = _discovered()
    return token, problem


def authorization(replica: Replica, instance: Instance) -> Secret | None:
    """Give the value of the header ``Authorization`` for reading a replica, if the rules allow one.

    Parameters
    ----------
    replica
        The replica. Only the host in its PFN, as Rucio gave it, may see the token.
    instance
        The instance it belongs to.
    """
    if not may_see_token(replica):
        return None
    token, _ = find_token(instance)
    return Secret(f"Bearer {token.text}") if token else None


def may_see_token(replica: Replica) -> bool:
    """Whether a replica is read over TLS, and from exactly the host that Rucio named."""
    return replica.scheme in TLS_SCHEMES and _host(replica.url) == _host(replica.pfn or replica.url)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return url


def _from_file(path: str) -> tuple[StorageToken | None, str]:
    try:
        text = own_file(path).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        return None, f"The storage token cannot be read from {path}: {unreadable(error)}."
    return _checked(text, path)


def _discovered() -> tuple[StorageToken | None, str]:
    source = "the WLCG bearer token discovery"
    text, refused = discovered_token()
    if refused is not None:
        return None, f"The storage token {refused.filename} is not used: {refused.strerror}."
    return _checked(text, source) if text else (None, f"No storage token was found by {source}.")


def _checked(text: str, source: str) -> tuple[StorageToken | None, str]:
    """Make a token from a text, if it can be one and has not expired."""
    if not is_token(text):
        return None, f"No valid storage token came from {source}."
    end = jwt_expiry(text)
    expires = datetime.fromtimestamp(end, UTC) if end is not None and 0 <= end < 1e11 else None
    if expires is not None and expires <= datetime.now(UTC):
        return None, f"The storage token from {source} expired at {expires:%Y-%m-%d %H:%M:%S} UTC."
    claims = jwt_claims(text)
    audience = claims.get("aud", "")
    names = audience if isinstance(audience, list) else [audience]
    issuer, scope = (str(claims.get(name, "")) for name in ("iss", "scope"))
    return StorageToken(Secret(text), source, issuer, ", ".join(map(str, names)), scope, expires), ""


_commands: dict[tuple[str, ...], tuple[StorageToken, float]] = {}


_command_lock = threading.Lock()


def _from_command(command: tuple[str, ...]) -> tuple[StorageToken | None, str]:
    """Give the token that a command printed; run it again shortly before that token expires."""
    with _command_lock:  # whoever waits for it takes its token
        token, until = _commands.get(command, (None, 0.0))
        if token is not None and until > time.time():
            return token, ""
        fresh, problem = _run(command)
        if fresh is None:  # the old one may still be valid for its last minute
            valid = token is not None and token.expires is not None and token.expires > datetime.now(UTC)
            return (token, "") if valid else (None, problem)
        now = time.time()
        end = fresh.expires.timestamp() if fresh.expires else now + _OPAQUE_LIFE + _MARGIN
        _commands[command] = (fresh, end - min(_MARGIN, (end - now) / 2))
        return fresh, ""


def _run(command: tuple[str, ...]) -> tuple[StorageToken | None, str]:
    name = Path(command[0]).name
    try:
        return _checked(token_command.output_of(command), f"the command {name}")
    except subprocess.TimeoutExpired:
        return None, f"The token command {name} did not end within {token_command.SECONDS:g} s."
    except subprocess.CalledProcessError as error:
        return None, f"The token command {name} failed with status {error.returncode}."
    except (OSError, ValueError) as error:
        return None, f"The token command {name} cannot be run: {getattr(error, 'strerror', None) or error}."


def _after_fork() -> None:
    global _command_lock  # noqa: PLW0603
    _command_lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
