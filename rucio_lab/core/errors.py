"""The errors of rucio_lab, one tree, each with what to do about it.

::

    RucioLabError
    ├── BadRequest                the request makes no sense (400)
    ├── ConfigurationError        no usable instance, or a configuration file that is wrong (400)
    ├── SignInNeeded              no sign-in, or it has expired or was refused (401)
    ├── Refused                   Rucio knows who is asking, and refuses (403)
    ├── NotFound                  no such scope, DID or RSE (404)
    ├── FilesUnavailable          some files of a DID cannot be read from here (404)
    ├── Conflict                  exists already, or over quota (409)
    ├── LakeBroken                Rucio answered with an error of its own, or something invalid (502)
    ├── StorageFailed             a storage did not deliver what it should (502)
    ├── LakeUnreachable           nobody answers at the address of Rucio (503)
    ├── LakeTooSlow               Rucio did not answer in time (504)
    └── NoSpace                   a disk here is full, or too small (507)

The text of an error is its message followed by its remedy: ``str(error)`` is what a user should read.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from rucio_lab.core.text import printable


class RucioLabError(Exception):
    """The base of all errors of rucio_lab.

    Parameters
    ----------
    message
        One sentence: what failed, and why. Hidden characters in it are escaped.
    remedy
        One sentence: what to do about it.
    rucio
        Name of Rucio's own exception class, if there was one.

    Attributes
    ----------
    code
        The error's name in the REST interface.
    status
        The matching HTTP status.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, remedy: str = "", *, rucio: str | None = None) -> None:
        self.message = printable(message)
        self.remedy = printable(remedy)
        super().__init__(self.message, self.remedy)
        self.rucio = rucio

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class BadRequest(RucioLabError):  # noqa: N818 - named by what happened, as HTTP does
    """The request makes no sense: a malformed DID, filter, option or variable name."""

    code, status = "bad_request", 400


class ConfigurationError(RucioLabError):
    """No instance is configured, or the configuration cannot be used."""

    code, status = "configuration", 400


class SignInNeeded(RucioLabError):  # noqa: N818
    """There is no valid sign-in, and getting one needs the user."""

    code, status = "sign_in_needed", 401


class Refused(RucioLabError):  # noqa: N818
    """Rucio knows who is asking, and refuses."""

    code, status = "refused", 403


class NotFound(RucioLabError):  # noqa: N818
    """Rucio has no such scope, DID or RSE."""

    code, status = "not_found", 404


class FilesUnavailable(RucioLabError):  # noqa: N818
    """Some of the requested files cannot be read from here.

    Parameters
    ----------
    message, remedy
        As for every error.
    reasons
        Why, for each file: DID -> sentence.
    """

    code, status = "files_unavailable", 404

    def __init__(self, message: str, remedy: str = "", *, reasons: dict[str, str] | None = None) -> None:
        super().__init__(message, remedy)
        self.reasons = reasons or {}


class Conflict(RucioLabError):  # noqa: N818
    """It exists already, or is over a quota."""

    code, status = "conflict", 409


class LakeBroken(RucioLabError):  # noqa: N818
    """Rucio answered with an error of its own, or with something invalid."""

    code, status = "lake_broken", 502


class StorageFailed(RucioLabError):  # noqa: N818
    """A storage did not deliver what it should.

    Parameters
    ----------
    message, remedy
        As for every error; the message continues the storage's address, for example ``refuses connections``.
    concerns
        What it affects: the whole ``server``, the ``credentials`` it was shown, or only this ``file``.
    slow
        Whether it only did not answer in time, and may do so with more time.
    retry_after
        When it can be tried again, in seconds: at once (0) if only a connection was lost, later if the storage is busy;
        None if there is no reason to.
    """

    code, status = "storage_failed", 502

    def __init__(
        self,
        message: str,
        remedy: str = "",
        *,
        concerns: Literal["server", "credentials", "file"] = "file",
        slow: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, remedy)
        self.concerns = concerns
        self.slow = slow
        self.retry_after = retry_after

    @property
    def busy(self) -> bool:
        """Whether the storage works, but has asked to be tried again later."""
        return bool(self.retry_after)


class LakeUnreachable(RucioLabError):  # noqa: N818
    """Nobody answers at the address of Rucio."""

    code, status = "lake_unreachable", 503


class LakeTooSlow(RucioLabError):  # noqa: N818
    """Rucio did not answer within the time limit of the instance."""

    code, status = "lake_too_slow", 504


class NoSpace(RucioLabError):  # noqa: N818
    """A disk of this machine is full, or too small for the download."""

    code, status = "no_space", 507
