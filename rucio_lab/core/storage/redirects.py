"""Where a web storage may send its readers on."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urljoin, urlsplit

from rucio_lab.core.errors import StorageFailed

MOST = 5
"""A storage that sends a reader on more often than this is given up."""


def sent_on(url: str, location: str, allowed: Collection[str]) -> str:
    """Give the next address of a reader.

    Parameters
    ----------
    url
        Where it is.
    location
        Where it is sent, as the header ``Location`` has it.
    allowed
        Hosts from which it may go on without TLS (``redirects_to_http``).

    Raises
    ------
    StorageFailed
        If it may not go there.
    """
    try:
        target = urljoin(url, location)
        here, there = urlsplit(url), urlsplit(target)
        known = there.scheme in ("https", "http") and bool(there.hostname) and there.port != 0
    except ValueError:
        known = False
    if not known:
        raise StorageFailed("sends the reader on to an address that is not on the web, which is not trusted")
    if here.scheme == "https" and there.scheme == "http" and here.hostname not in allowed:
        raise StorageFailed(
            f"sends the reader on from https to plain http ({there.hostname}), where anybody can listen; "
            f"if that is meant, name {here.hostname} in redirects_to_http of rucio_lab.toml"
        )
    return target


def without_credentials(headers: dict[str, str], url: str, target: str) -> dict[str, str]:
    """Give the headers for the next address: credentials stay with the server that they are for."""
    here, there = urlsplit(url), urlsplit(target)
    if (here.scheme, here.netloc) == (there.scheme, there.netloc):
        return headers
    return {name: value for name, value in headers.items() if name != "Authorization"}
