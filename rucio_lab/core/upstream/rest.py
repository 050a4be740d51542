"""Plain requests to Rucio, before there is a token, or if rucio.client has no method for them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests

from rucio_lab._version import __version__
from rucio_lab.core import answers
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import LakeBroken
from rucio_lab.core.private import Secret
from rucio_lab.core.upstream import clock
from rucio_lab.core.upstream.faults import speaking_to

CONNECT_TIMEOUT = 5.0
"""Longest time to wait for a connection to Rucio, in seconds."""

USER_AGENT = f"rucio-lab/{__version__} rucio-clients"

_QUERY = re.compile(r"\?[^\s\"'<>]+")


class _NoQueries(logging.Filter):
    """Removes the queries of URLs from logs: with the signature in one, anybody could read the file, or sign in."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _QUERY.sub("?...", record.getMessage()), None
        if record.exc_info:  # fsspec logs whole exceptions
            traceback = logging.Formatter().formatException(record.exc_info)
            record.exc_text, record.exc_info = _QUERY.sub("?...", traceback), None
        return True


for _name in (
    *("urllib3.connection", "urllib3.connectionpool", "urllib3.poolmanager", "urllib3.response", "urllib3.util.retry"),
    *("aiohttp.client", "aiohttp.internal", "asyncio", "fsspec", "fsspec.http"),
):
    logging.getLogger(_name).addFilter(_NoQueries())  # a filter of a logger does not see records of its children


class Session(answers.Session):
    """A session that follows no redirect to another host: requests would pass on our token and password."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Refuse a redirect to another host."""
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]
        old, new = str(response.request.url), str(prepared_request.url)
        if self.should_strip_auth(old, new):  # type: ignore[no-untyped-call]
            here, there = urlsplit(old).netloc, urlsplit(new).netloc
            raise LakeBroken(
                f"{here} redirects to {there}, and credentials are never sent to another host.",
                "Check the address of the instance; a login page of the network may be in between.",
            )


@contextmanager
def get(
    instance: Instance, url: str, headers: Mapping[str, str] | None = None, *, timeout: float, follow: bool = True
) -> Iterator[requests.Response]:
    """Send one request to an instance, and read its clock.

    Parameters
    ----------
    instance
        The instance to ask.
    url
        The address, below its ``url`` or ``auth_url``.
    headers
        Additional headers.
    timeout
        How long Rucio may be silent, in seconds.
    follow
        Whether to follow redirects on the same host.

    Yields
    ------
    requests.Response
        The answer, whatever its status.

    Raises
    ------
    RucioLabError
        If there is no answer. Errors inside the context become ours, too.
    """
    known = {"User-Agent": USER_AGENT, "X-Rucio-VO": instance.vo, "X-Rucio-Script": "rucio-lab", **(headers or {})}
    limits = (min(CONNECT_TIMEOUT, timeout), timeout)
    # even without following, requests prepares the next request, and our Session would refuse
    with speaking_to(instance), Session() if follow else answers.Session() as session:
        try:
            answer = session.get(url, headers=known, verify=instance.ca or True, timeout=limits, allow_redirects=follow)
        except requests.RequestException as error:
            error.args = (Secret(error),)  # a verbose traceback shows its repr, which contains the address
            raise
        clock.look(instance, answer.headers)
        yield answer


def ping(instance: Instance, timeout: float) -> str:
    """Check that Rucio answers, without signing in.

    Parameters
    ----------
    instance
        The instance to ask.
    timeout
        How long Rucio may be silent, in seconds.

    Returns
    -------
    str
        Its version.

    Raises
    ------
    RucioLabError
        If it does not answer, or is not Rucio.
    """
    with get(instance, f"{instance.url}/ping", timeout=timeout) as answer:
        if not answer.ok:
            raise LakeBroken(
                f"What answers at {instance.url} is not Rucio: HTTP {answer.status_code} {answer.reason}.",
                "Check the address of the instance.",
            )
        return str(answer.json()["version"])
