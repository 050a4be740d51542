"""The tokens of sign-ins: what is known of them, and where they are kept."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
import time
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from rucio_lab.core.config import Instance
from rucio_lab.core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who one is at an instance.

    Attributes
    ----------
    account
        The Rucio account; None where Rucio did not say.
    expires
        When the sign-in ends (UTC); None where that is not known.
    """

    account: str | None
    expires: datetime | None


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A Rucio token with what is known of it. Has no repr, so that it cannot end up in a log."""

    text: str
    account: str | None = None
    expires: float | None = None

    @property
    def valid(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self.expires is None or self.expires > time.time()

    @property
    def sign_in(self) -> SignIn:
        """What may be told of it."""
        expires = datetime.fromtimestamp(self.expires, UTC) if self.expires is not None else None
        return SignIn(self.account, expires)


class Secret(str):
    """A text that is shown nowhere, not even as a local variable in a verbose traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class TokenStore:
    """The token of one instance, in a file (0600) in a folder of the user's own (0700).

    The name of the file depends on server, VO, account and user, so that no server is ever shown another's token.
    """

    def __init__(self, instance: Instance) -> None:
        from jupyter_core.paths import jupyter_data_dir

        digest = hashlib.sha256("\n".join(instance.key).encode()).hexdigest()[:16]
        self._folder = Path(jupyter_data_dir()) / "rucio-lab" / "tokens"
        self._path = self._folder / digest

    _unwritten: ClassVar[dict[Path, Token]] = {}  # what a full or read-only disk did not take

    def read(self) -> Token | None:
        """Give the stored token; None if there is none."""
        if self._path in self._unwritten:
            return self._unwritten[self._path]
        try:
            known = json.loads(self._path.read_text())
            return Token(known["token"], known["account"], known["expires"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # a token that cannot be read is as good as none: the next sign-in replaces it

    def write(self, token: Token) -> None:
        """Store a token, whole or not at all. Where the disk does not take it, it serves this process only."""
        self._unwritten.pop(self._path, None)
        temporary = None
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            handle, temporary = tempfile.mkstemp(dir=self._folder)  # made with mode 0600
            with os.fdopen(handle, "w") as file:
                json.dump({"token": token.text, "account": token.account, "expires": token.expires}, file)
            Path(temporary).replace(self._path)
        except OSError as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            self._unwritten[self._path] = token
            warnings.warn(
                f"The sign-in cannot be kept in {self._folder} ({error.strerror}), so it ends with this process. "
                "Let JUPYTER_DATA_DIR name a folder that can be written to.",
                stacklevel=2,
            )

    def drop(self) -> None:
        """Forget the stored token."""
        self._unwritten.pop(self._path, None)
        try:
            self._path.unlink(missing_ok=True)
        except NotADirectoryError:
            return  # there is no such folder, and so no token
        except OSError as error:
            raise ConfigurationError(
                f"The sign-in cannot be removed from {self._folder}: {error.strerror}.", "Mend its permissions."
            ) from error


def rucio_timestamp(text: str | None) -> float | None:
    """Read the time in Rucio's headers, for example ``Sat, 21 Nov 2026 04:00:00 UTC``."""
    if not text:
        return None
    try:
        return datetime.strptime(text, "%a, %d %b %Y %H:%M:%S UTC").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def jwt_claims(text: str) -> dict[str, Any]:
    """Read what a JSON web token (RFC 7519) says of itself, unverified; nothing for tokens of another kind."""
    parts = text.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}


def jwt_expiry(text: str) -> float | None:
    """Read the end of a JSON web token (``exp``); None for tokens of another kind."""
    try:
        return float(jwt_claims(text)["exp"])
    except (ValueError, KeyError, TypeError):
        return None
