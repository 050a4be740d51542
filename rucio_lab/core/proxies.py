"""The web proxy of the environment: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, for storages as for Rucio.

requests reads them in its own way, and Rucio's client uses requests. No other setting of the environment applies to
storages: credentials in a .netrc, for example, are never sent to them.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from rucio_lab.core.errors import StorageFailed

_UNUSABLE = "unusable://proxy"

REMEDY = "Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."
"""What to do about a proxy that does not work."""


def proxy_for(url: str) -> str:
    """Give the proxy for an address, maybe with credentials; empty if there is none.

    If the proxy has no valid address, the result is one that no client can use, so that the proxy is blamed.

    Raises
    ------
    ValueError
        If the address is not valid.
    """
    from requests.utils import get_environ_proxies, prepend_scheme_if_needed, select_proxy

    proxy = (select_proxy(url, get_environ_proxies(url)) or "").strip()
    if proxy and "://" not in proxy:  # requests would take the host or the user for the scheme
        proxy = f"http://{proxy.lstrip('/')}"
    try:
        return str(prepend_scheme_if_needed(proxy, "http")) if proxy else ""  # type: ignore[no-untyped-call]
    except ValueError:
        return _UNUSABLE


def shown(proxy: str) -> str:
    """Give the address of a proxy without its credentials."""
    if proxy == _UNUSABLE:
        return "of the environment"
    try:
        parts = urlsplit(proxy)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "of the environment"
    if "@" in f"{parts.path}?{parts.query}#{parts.fragment}":  # a password with a slash in it
        return "of the environment"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def failed(proxy: str, what: str, *, slow: bool = False) -> StorageFailed:
    """Say that a storage cannot be read because of the proxy.

    Parameters
    ----------
    proxy
        The proxy.
    what
        What the proxy does, for example ``refuses connections``.
    slow
        Whether it only did not answer in time.
    """
    words = f"is asked through the proxy {shown(proxy)}, which {what}"
    return StorageFailed(words, REMEDY, concerns="server", slow=slow)


def meaning(status: int | str) -> str:
    """Say what the proxy does if it answers with a status."""
    return "asks for credentials (HTTP 407)" if str(status) == "407" else f"answers with an error (HTTP {status})"
