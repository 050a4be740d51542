"""The text of a token: whether it can be one, where the WLCG discovery finds it, and what is in a JSON web token."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rucio_lab.core.private import NotOwn, own_file

_MOST = 65_536  # characters; web servers accept no longer header


def is_token(text: str) -> bool:
    """Whether a text can be a bearer token: one word of visible ASCII characters that fits into an HTTP header."""
    return 0 < len(text) <= _MOST and text.isascii() and text.isprintable() and " " not in text


def discovered_token() -> tuple[str, NotOwn | None]:
    """Look for a token where the WLCG bearer token discovery does. Unlike rucio-clients, refuse other users' files.

    Returns
    -------
    str
        The token; empty if there is none.
    NotOwn or None
        What is wrong with a file that exists but is not used.
    """
    if text := os.environ.get("BEARER_TOKEN", "").strip():
        return text, None
    name, runtime = f"bt_u{os.geteuid()}", os.environ.get("XDG_RUNTIME_DIR", "")
    places = (os.environ.get("BEARER_TOKEN_FILE"), runtime and f"{runtime}/{name}", f"/tmp/{name}")  # noqa: S108
    refused = None
    for path in filter(None, places):
        try:
            if text := own_file(path).decode().strip():
                return text, None
        except NotOwn as error:
            refused = refused or error
        except (OSError, UnicodeDecodeError):
            continue  # counts as none
    return "", refused


def jwt_claims(text: str) -> dict[str, Any]:
    """Read the claims of a JSON web token (RFC 7519), unverified; none for tokens of another kind."""
    parts = text.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def jwt_time(claims: Mapping[str, Any], name: str) -> float | None:
    """Read a time from the claims of a JSON web token, ``exp``, ``nbf`` or ``iat``, in seconds since 1970."""
    value = claims.get(name)
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME
    return float(value) if good else None  # type: ignore[arg-type]


def jwt_expiry(text: str) -> float | None:
    """Read when a JSON web token expires (``exp``); None for tokens of another kind."""
    return jwt_time(jwt_claims(text), "exp")


_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC).timestamp()  # no date beyond it can be shown
