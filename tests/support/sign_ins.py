"""Helpers of the tests of sign-ins: who Rucio thinks we are, and the stored token."""

from __future__ import annotations

import time

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.identity.client import client_for
from rucio_lab.core.identity.token_store import Token, TokenStore

PASSWORD = "alice-pass"
SECRETS = (PASSWORD, "bob-pass")


def who(instance: Instance) -> str:
    """Ask Rucio who we are."""
    return str(client_for(instance).whoami()["account"])


def stored(instance: Instance) -> str:
    token = TokenStore(instance).read()
    assert token is not None
    return token.text


def store(instance: Instance, text: str, *, lives: float = 3600) -> None:
    TokenStore(instance).write(Token(text, instance.account, time.time() + lives))
