"""The tokens of sign-ins, and the files that they are kept in."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import msgspec
from filelock import FileLock

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import ConfigurationError
from rucio_lab.core.identity.token_text import jwt_claims, jwt_time
from rucio_lab.core.notice import notice
from rucio_lab.core.private import NotOwn, lab_folder, own_file, own_folder, write_private

MARGIN = 0.1
"""A token is renewed when this fraction of its life is left ..."""

MOST_MARGIN = 600.0
"""... but at most this many seconds before it expires."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who is signed in to an instance.

    Attributes
    ----------
    account
        The Rucio account; None if Rucio did not say.
    expires
        When the sign-in expires (UTC); None if that is not known.
    """

    account: str | None
    expires: datetime | None


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A Rucio token and what is known about it. Its repr does not show it, so it cannot end up in a log.

    Attributes
    ----------
    text
        The token itself.
    account
        The Rucio account.
    expires, issued
        When it expires and when it was issued, by Rucio's clock, in seconds since 1970.
    renewable
        Whether Rucio holds a refresh token for it.
    """

    text: str
    account: str | None = None
    expires: float | None = None
    issued: float | None = None
    renewable: bool = False

    def valid(self, now: float) -> bool:
        """Whether it has not expired, as far as is known."""
        return self.expires is None or self.expires > now

    @property
    def due(self) -> float:
        """When to renew it: well before it expires, so that no request fails on the way."""
        if self.expires is None:
            return math.inf
        life = self.expires - self.issued if self.issued is not None else MOST_MARGIN / MARGIN
        return self.expires - min(life * MARGIN, MOST_MARGIN)

    @property
    def sign_in(self) -> SignIn:
        """What may be shown of it."""
        expires = datetime.fromtimestamp(self.expires, UTC) if self.expires is not None else None
        return SignIn(self.account, expires)


class _Kept(msgspec.Struct):
    """The content of a token file."""

    token_text: str = msgspec.field(name="token")
    account: str | None = None
    expires: float | None = None
    issued: float | None = None
    renewable: bool = False

    @classmethod
    def of(cls, token: Token) -> _Kept:
        text = str(token.text)  # msgspec cannot encode a Secret
        return cls(text, token.account, token.expires, token.issued, token.renewable)

    def token(self) -> Token:
        return Token(self.token_text, self.account, self.expires, self.issued, self.renewable)


class TokenStore:
    """The token of one instance, in a private file (0600) in a private folder (0700).

    The name of the file depends on server, VO, account and user, so that no server ever gets another server's token.
    """

    def __init__(self, instance: Instance) -> None:
        digest = hashlib.sha256("\n".join(instance.key).encode()).hexdigest()[:16]
        self._folder = lab_folder("tokens")
        self._path = self._folder / digest
        self._lock_path = lab_folder("locks") / digest
        self._patience = instance.timeout

    _unwritten: ClassVar[dict[Path, Token]] = {}  # when the disk is full or read-only
    _said: ClassVar[set[str]] = set()

    def read(self) -> Token | None:
        """Give the stored token; None if there is none."""
        if self._path in self._unwritten:
            return self._unwritten[self._path]
        try:
            own_folder(self._folder, make=False)
            return msgspec.json.decode(own_file(self._path), type=_Kept).token()
        except NotOwn as error:
            self._say(f"The sign-in stored in {self._folder} is not used: {error.strerror}.")
            return None
        except (OSError, ValueError):
            return None  # a token that cannot be read counts as none: the next sign-in replaces it

    def write(self, token: Token) -> None:
        """Store a token atomically. If the disk fails, keep it for this process only."""
        self._unwritten.pop(self._path, None)
        try:
            own_folder(self._folder)
            write_private(self._path, msgspec.json.encode(_Kept.of(token)).decode())
            own_file(self._path)  # a file system without modes would leave it open to everybody
        except OSError as error:
            self._unwritten[self._path] = token
            self._say(
                f"The sign-in cannot be stored in {self._folder} ({error.strerror}), so it ends with this process. "
                "Set JUPYTER_DATA_DIR to a folder of your own that you can write to."
            )

    def problem(self) -> str:
        """Say if the folder is another user's; else empty."""
        try:
            own_folder(self._folder, make=False)
        except NotOwn as error:
            return f"No sign-in is stored: {error.strerror}."
        except OSError:
            pass  # it is created when needed
        return ""

    def _say(self, words: str) -> None:
        """Warn of something only once, however often tokens are looked up."""
        if words not in self._said:
            self._said.add(words)
            notice(words, stacklevel=3)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from renewing or removing this token.

        If locks do not work here, or another process holds one for longer than Rucio may be silent, it continues
        anyway: two renewals at once are a waste, but waiting forever is worse.
        """
        with ExitStack() as stack:
            with suppress(OSError, NotImplementedError):  # filelock's Timeout is an OSError
                own_folder(self._lock_path.parent)  # in another user's folder, the lock could be a link to any file
                stack.enter_context(FileLock(self._lock_path, timeout=self._patience, mode=0o600))
            yield

    def drop(self) -> None:
        """Forget the stored token."""
        self._unwritten.pop(self._path, None)
        try:
            own_folder(self._folder, make=False)
            self._path.unlink(missing_ok=True)
        except (FileNotFoundError, NotADirectoryError, NotOwn):
            return  # without a folder of this user's, there is no token
        except OSError as error:
            raise ConfigurationError(
                f"The sign-in cannot be removed from {self._folder}: {error.strerror}.", "Correct its permissions."
            ) from error


def rucio_timestamp(text: str | None) -> float | None:
    """Read the time in Rucio's headers, for example ``Sat, 21 Nov 2026 04:00:00 UTC``."""
    if not text:
        return None
    try:
        return datetime.strptime(text, "%a, %d %b %Y %H:%M:%S UTC").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def bearer_token(text: str, account: str | None = None) -> Token:
    """Make a `Token` of a bearer token, with the times from its claims if it is a JSON web token."""
    claims = jwt_claims(text)
    return Token(text, account, jwt_time(claims, "exp"), jwt_time(claims, "iat"))
