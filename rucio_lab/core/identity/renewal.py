"""Which stored token is used, when it must be renewed, and what came of the last attempt."""

from __future__ import annotations

import math
import os
import threading
import time

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import RucioLabError
from rucio_lab.core.identity import bearer
from rucio_lab.core.identity.token_store import Token, TokenStore
from rucio_lab.core.upstream import clock


def stored_tokens(instance: Instance) -> list[Token]:
    """Give the available tokens, the preferred one first.

    A token that somebody signed in for comes before one in a file, and that before one that a command printed.
    """
    own = TokenStore(instance).read() if instance.auth != "token" or instance.token_command else None
    found = bearer.found(instance) if instance.auth in ("oidc", "token") else None
    tokens = (found, own) if instance.auth == "token" else (own, found)
    return [token for token in tokens if token is not None]


def usable_token(instance: Instance, rejected: str | None = None) -> Token | None:
    """Give the stored token that has not expired, and that Rucio has not rejected."""
    now = clock.now(instance)
    good = (token for token in stored_tokens(instance) if token.valid(now) and token.text != rejected)
    return next(good, None)


def seconds_to_renewal(instance: Instance, token: Token) -> float:
    """Give the time until a token must be renewed; infinite if it cannot be."""
    if not token.renewable:
        return math.inf
    return max(token.due - clock.now(instance), _put_off_until.get(instance.key, 0.0) - time.monotonic())


def put_off(instance: Instance, token: Token) -> None:
    """Retry the renewal of a token later, but well before it expires."""
    left = (token.expires or math.inf) - clock.now(instance)
    _put_off_until[instance.key] = time.monotonic() + min(max(left / 4, 0.1), 60.0)


def lock_of(instance: Instance) -> threading.RLock:
    """Give the lock for reading, renewing and writing an instance's token."""
    return _locks.setdefault(instance.key, threading.RLock())


def remember_failure(instance: Instance, error: RucioLabError) -> None:
    """Remember why there is no new token, for the threads that waited for it."""
    _failures[instance.key] = (time.monotonic(), error.with_traceback(None))


def failure_since(instance: Instance, asked: float) -> RucioLabError | None:
    """Give a copy of the error if getting a token has failed since then (by `time.monotonic`)."""
    failed, error = _failures.get(instance.key, (0.0, None))
    return type(error)(error.message, error.remedy, rucio=error.rucio) if error is not None and failed > asked else None


_put_off_until: dict[tuple[str, ...], float] = {}
_locks: dict[tuple[str, ...], threading.RLock] = {}
_failures: dict[tuple[str, ...], tuple[float, RucioLabError]] = {}

os.register_at_fork(after_in_child=_locks.clear)  # a thread of the parent may have held one
