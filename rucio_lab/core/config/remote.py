"""A site's configuration at an https address: fetched in the background and cached on disk.

The cached copy is used at once; if it is old, a thread fetches a new one. Only without any copy does the first call
wait, for a few seconds at most. If the configuration cannot be fetched or is not valid, the last good copy stays in
use.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rucio_lab.core.errors import ConfigurationError
from rucio_lab.core.private import lab_folder, own_file, own_folder, write_private

if TYPE_CHECKING:
    import requests

MAX_AGE = 3600.0
"""Age of a copy after which a new one is fetched, in seconds."""

RETRY = 60.0
"""Pause after a failure, in seconds."""

FIRST_WAIT = 5.0
"""Longest wait for the first copy, in seconds."""

DEADLINE = 10.0
"""Longest time that a fetch may take, in seconds."""

MAX_BYTES = 256 * 1024
"""Longest configuration that is read, in bytes."""

Check = Callable[[str], object]
"""Raises a ConfigurationError for a text that is not a valid configuration."""


@dataclass(frozen=True)
class Source:
    """Where a remote configuration is.

    Attributes
    ----------
    url
        Its address.
    ca
        CA bundle (file or folder) to check its certificate with; empty for the usual ones.
    """

    url: str
    ca: str = ""


@dataclass(frozen=True)
class Copy:
    """The last good copy of a remote configuration, and what has gone wrong since.

    Attributes
    ----------
    text
        The configuration; None if it was never fetched.
    fetched
        When it was fetched, in seconds since the epoch; 0 for never.
    failure
        Why the last fetch failed; empty if it did not.
    tried
        When the last fetch was tried, in seconds since the epoch; 0 for never.
    """

    text: str | None = None
    fetched: float = 0.0
    failure: str = ""
    tried: float = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to fetch it."""
        now = time.time()
        old = not 0 <= now - self.fetched < MAX_AGE
        return old and not (self.failure and 0 <= now - self.tried < RETRY)


def copy_of(source: Source, check: Check) -> Copy:
    """Give the last good copy, and fetch a new one if it is due.

    Parameters
    ----------
    source
        Where it comes from.
    check
        The check that a new copy must pass.
    """
    copy = _read(source, check)
    if not copy.due:
        return copy
    with _lock:
        thread = _fetching.get(source.url)
        if thread is None or not thread.is_alive():
            thread = _fetching[source.url] = threading.Thread(target=refresh, args=(source, check), daemon=True)
            thread.start()
    if copy.text is not None:
        return copy
    thread.join(FIRST_WAIT)
    copy = _read(source, check)
    failure = f"The site's configuration at {source.url} did not arrive within {FIRST_WAIT:.0f} seconds."
    return copy if copy.tried else replace(copy, failure=failure)


def refresh(source: Source, check: Check) -> Copy:
    """Fetch it now, and give the last good copy with the outcome. The parameters are those of `copy_of`."""
    try:
        text = _fetch(source)
        check(text)
    except ConfigurationError as error:
        copy = replace(_read(source, check), failure=error.message, tried=time.time())
    else:
        copy = Copy(text, time.time(), tried=time.time())
    _write(source, copy)
    return copy


# ------------------------------------------------------------------------------------------------ over the network


def _fetch(source: Source) -> str:
    from rucio_lab.core.answers import Session

    if not _is_https(source.url):
        raise ConfigurationError(f"remote is not an https address without a password: {_shown(source)}.", "Correct it.")
    answer: requests.Response | None = None
    session = Session()
    try:
        answer = session.get(
            source.url,
            verify=source.ca or True,
            timeout=FIRST_WAIT,
            stream=True,
            allow_redirects=False,
            auth=lambda request: request,  # else requests sends what ~/.netrc has for that host
        )
        if answer.status_code != 200:
            raise ConfigurationError(
                f"The site's configuration at {_shown(source)} cannot be fetched: HTTP {answer.status_code}"
                + (", a redirect." if answer.is_redirect else "."),
                "Correct remote, or tell its maintainer.",
            )
        return _text(source, answer)
    except (OSError, ValueError) as error:  # requests' own errors are both of these
        raise ConfigurationError(
            f"The site's configuration at {_shown(source)} cannot be fetched: {_why(error)}.", "Tell its maintainer."
        ) from error
    finally:
        if answer is not None:
            answer.close()
        session.close()


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and parts.username is None


def _text(source: Source, answer: requests.Response) -> str:
    """Read an answer, unless it is too long or too slow."""
    deadline = time.monotonic() + DEADLINE
    body = b""
    for chunk in answer.iter_content(16 * 1024):
        body += chunk
        if len(body) > MAX_BYTES or time.monotonic() > deadline:
            limit = f"longer than {MAX_BYTES // 1024} kB" if len(body) > MAX_BYTES else "too slow"
            raise ConfigurationError(
                f"The site's configuration at {_shown(source)} is {limit}.", "Tell its maintainer."
            )
    return body.decode()


def _shown(source: Source) -> str:
    return source.url.partition("?")[0].rpartition("@")[2]


def _why(error: Exception) -> str:
    import requests

    if "timed out" in str(error):
        return "it is too slow"
    kinds = {
        requests.exceptions.ProxyError: "the proxy of the environment does not let us reach it",
        requests.exceptions.SSLError: "its certificate is not accepted",
        requests.exceptions.ConnectionError: "nobody answers, or the connection broke",
        UnicodeDecodeError: "it is not text",
    }
    return next((words for kind, words in kinds.items() if isinstance(error, kind)), type(error).__name__)


# ------------------------------------------------------------------------------------------------ on disk

_lock = threading.Lock()
_fetching: dict[str, threading.Thread] = {}
_unwritten: dict[str, Copy] = {}  # when the disk is full or read-only


def _after_fork() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _fetching.clear()


os.register_at_fork(after_in_child=_after_fork)


def _path(source: Source) -> Path:
    digest = hashlib.sha256(source.url.encode()).hexdigest()[:16]
    return lab_folder("remote") / f"{digest}.json"


def _read(source: Source, check: Check) -> Copy:
    """Read the copy; one that no longer passes (it is truncated, or from another version) counts as none."""
    if source.url in _unwritten:
        return _unwritten[source.url]
    try:
        copy = Copy(**json.loads(own_file(_path(source))))
        if copy.text is not None:
            check(copy.text)
    except (OSError, ValueError, TypeError, AttributeError, ConfigurationError):
        return Copy()
    return copy


def _write(source: Source, copy: Copy) -> None:
    try:
        own_folder(_path(source).parent)
        write_private(_path(source), json.dumps(vars(copy)))
    except OSError:
        _unwritten[source.url] = copy
    else:
        _unwritten.pop(source.url, None)
