"""Which redirects of a web storage are followed."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urljoin, urlsplit

from rucio_lab.core.errors import StorageFailed

MOST = 5
"""The most redirects in a row that are followed."""


def redirected(url: str, location: str, allowed: Collection[str]) -> str:
    """Give the address that a redirect leads to.

    Parameters
    ----------
    url
        The address that was requested.
    location
        The target, from the header ``Location``.
    allowed
        Hosts that may redirect from https to plain http (``redirects_to_http``).

    Raises
    ------
    StorageFailed
        If the redirect is not allowed.
    """
    try:
        target = urljoin(url, location)
        here, there = urlsplit(url), urlsplit(target)
        known = there.scheme in ("https", "http") and bool(there.hostname) and there.port != 0
    except ValueError:
        known = False
    if not known:
        raise StorageFailed("redirects to an address that is not a valid web address")
    if here.scheme == "https" and there.scheme == "http" and here.hostname not in allowed:
        raise StorageFailed(
            f"redirects from https to plain http ({there.hostname}), where anybody can listen; "
            f"to allow it, add {here.hostname} to redirects_to_http in rucio_lab.toml"
        )
    return target


def without_credentials(headers: dict[str, str], url: str, target: str) -> dict[str, str]:
    """Give the headers for the next address: credentials go only to the server that they are for."""
    here, there = urlsplit(url), urlsplit(target)
    if (here.scheme, here.netloc) == (there.scheme, there.netloc):
        return headers
    return {name: value for name, value in headers.items() if name != "Authorization"}
