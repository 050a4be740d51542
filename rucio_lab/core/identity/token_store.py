"""The tokens of sign-ins: what is known of them, and where they are kept."""

from __future__ import annotations

import hashlib
import math
import warnings
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
from rucio_lab.core.private import NotOwn, lab_folder, own_file, own_folder, write_private

MARGIN = 0.1
"""A token is renewed when this share of its life is left ..."""

MOST_MARGIN = 600.0
"""... and never sooner than so many seconds before its end."""


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
    """A Rucio token with what is known of it. Has no repr, so that it cannot end up in a log.

    Attributes
    ----------
    text
        The token itself.
    account
        The Rucio account.
    expires, issued
        When it ends and when it began, by Rucio's clock, in seconds since 1970.
    renewable
        Whether Rucio holds a refresh token for it.
    """

    text: str
    account: str | None = None
    expires: float | None = None
    issued: float | None = None
    renewable: bool = False

    def valid(self, now: float) -> bool:
        """Whether it has not ended, as far as is known."""
        return self.expires is None or self.expires > now

    @property
    def due(self) -> float:
        """When to renew it: well before its end, since what is under way when it ends fails."""
        if self.expires is None:
            return math.inf
        life = self.expires - self.issued if self.issued is not None else MOST_MARGIN / MARGIN
        return self.expires - min(life * MARGIN, MOST_MARGIN)

    @property
    def sign_in(self) -> SignIn:
        """What may be told of it."""
        expires = datetime.fromtimestamp(self.expires, UTC) if self.expires is not None else None
        return SignIn(self.account, expires)


class _Kept(msgspec.Struct):
    """What is in the file of a token."""

    token_text: str = msgspec.field(name="token")
    account: str | None = None
    expires: float | None = None
    issued: float | None = None
    renewable: bool = False

    @classmethod
    def of(cls, token: Token) -> _Kept:
        text = str(token.text)  # msgspec takes no Secret
        return cls(text, token.account, token.expires, token.issued, token.renewable)

    def token(self) -> Token:
        return Token(self.token_text, self.account, self.expires, self.issued, self.renewable)


class TokenStore:
    """The token of one instance, in a file (0600) in a folder of the user's own (0700).

    The name of the file depends on server, VO, account and user, so that no server is ever shown another's token.
    """

    def __init__(self, instance: Instance) -> None:
        digest = hashlib.sha256("\n".join(instance.key).encode()).hexdigest()[:16]
        self._folder = lab_folder("tokens")
        self._path = self._folder / digest
        self._lock_path = lab_folder("locks") / digest
        self._patience = instance.timeout

    _unwritten: ClassVar[dict[Path, Token]] = {}  # what a full or read-only disk did not take
    _said: ClassVar[set[str]] = set()

    def read(self) -> Token | None:
        """Give the stored token; None if there is none."""
        if self._path in self._unwritten:
            return self._unwritten[self._path]
        try:
            own_folder(self._folder, make=False)
            return msgspec.json.decode(own_file(self._path), type=_Kept).token()
        except NotOwn as error:
            self._say(f"The sign-in that is kept in {self._folder} is not used: {error.strerror}.")
            return None
        except (OSError, ValueError):
            return None  # a token that cannot be read is as good as none: the next sign-in replaces it

    def write(self, token: Token) -> None:
        """Store a token, whole or not at all. Where the disk does not take it, it serves this process only."""
        self._unwritten.pop(self._path, None)
        try:
            own_folder(self._folder)
            write_private(self._path, msgspec.json.encode(_Kept.of(token)).decode())
            own_file(self._path)  # a disk that knows no modes keeps it for everybody
        except OSError as error:
            self._unwritten[self._path] = token
            self._say(
                f"The sign-in cannot be kept in {self._folder} ({error.strerror}), so it ends with this process. "
                "Let JUPYTER_DATA_DIR name a folder of your own that can be written to."
            )

    def problem(self) -> str:
        """Say, as a sentence, if the folder is another user's; else nothing."""
        try:
            own_folder(self._folder, make=False)
        except NotOwn as error:
            return f"No sign-in is kept: {error.strerror}."
        except OSError:
            pass  # it is made when it is needed
        return ""

    def _say(self, words: str) -> None:
        """Warn of something once, however often tokens are looked up."""
        if words not in self._said:
            self._said.add(words)
            warnings.warn(words, stacklevel=3)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from renewing or removing this token meanwhile.

        Where there are no locks, or another process keeps one for longer than Rucio may be silent, it goes on all the
        same: two renewals at once are a waste, a wait without end is worse.
        """
        with ExitStack() as stack:
            with suppress(OSError, NotImplementedError):  # filelock's Timeout is an OSError
                own_folder(self._lock_path.parent)  # in another's, a link could lead the lock to any file
                stack.enter_context(FileLock(self._lock_path, timeout=self._patience, mode=0o600))
            yield

    def drop(self) -> None:
        """Forget the stored token."""
        self._unwritten.pop(self._path, None)
        try:
            own_folder(self._folder, make=False)
            self._path.unlink(missing_ok=True)
        except (FileNotFoundError, NotADirectoryError, NotOwn):
            return  # there is no such folder, or it is another's: and so no token of this user's
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


def bearer_token(text: str, account: str | None = None) -> Token:
    """Make a `Token` of a bearer token, with what its claims say if it is a JSON web token."""
    claims = jwt_claims(text)
    return Token(text, account, jwt_time(claims, "exp"), jwt_time(claims, "iat"))
