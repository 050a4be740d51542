"""Which schemes can be read, and downloaded over, on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from rucio_lab.core.errors import BadRequest

SPELLINGS = {"davs": "https", "xroot": "root", "xroots": "roots"}
"""Schemes that Rucio and readers call by different names: Rucio's -> the readers'."""

READABLE = ("root", "roots", "https", "http")
"""Schemes of URLs that can be read directly."""

PROBED = ("root", "roots", "https", "http")
"""Schemes of servers that can be probed."""

_GRID_TOOLS = {"gsiftp": "gfal2", "srm": "gfal2"}

BROKEN_UPROOT = ("5.7.6", "5.7.7")
"""Releases of uproot whose ``iterate`` fails over direct root:// URLs (``TypeError: integer argument expected``)."""


def schemes_of(words: str | Iterable[str]) -> tuple[str, ...]:
    """Parse a list of schemes.

    Parameters
    ----------
    words
        Names of schemes, best first, as a list or separated by commas.

    Raises
    ------
    BadRequest
        If one of them cannot be read on any machine.
    """
    names = [
        word.strip().lower().removesuffix("://") for word in (words.split(",") if isinstance(words, str) else words)
    ]
    schemes = tuple(dict.fromkeys(SPELLINGS.get(name, name) for name in names if name))
    for scheme in schemes:
        if scheme not in READABLE:
            raise BadRequest(f"{scheme!r} is not a scheme that can be read.", f"Choose from {', '.join(READABLE)}.")
    return schemes


@cache
def unreadable(scheme: str) -> str:
    """Say why a scheme cannot be read on this machine.

    Parameters
    ----------
    scheme
        As in a PFN.

    Returns
    -------
    str
        The reason; empty if it can be read.
    """
    scheme = SPELLINGS.get(scheme, scheme)
    if scheme in ("root", "roots"):
        return _not_installed(scheme, "XRootD", "fsspec_xrootd")
    if scheme in ("https", "http"):
        return _not_installed(scheme, "aiohttp")
    return f"nothing here can read {scheme}://"


@cache
def not_downloadable(scheme: str) -> str:
    """Say why files cannot be downloaded over a scheme on this machine; empty if they can.

    Parameters
    ----------
    scheme
        As in a PFN. Schemes that we cannot read ourselves are left to rucio-clients, if its tools are installed.
    """
    scheme = SPELLINGS.get(scheme, scheme)
    if scheme in ("https", "http"):
        return ""
    needed = "XRootD" if scheme in ("root", "roots") else _GRID_TOOLS.get(scheme)
    if needed is None:
        return f"nothing here can download over {scheme}://"
    return _not_installed(scheme, needed)


def _not_installed(scheme: str, *packages: str) -> str:
    """Say which packages a scheme needs that are not installed; empty if none."""
    missing = [package.lower() for package in packages if find_spec(package) is None]
    if not missing:
        return ""
    noun, verb = ("package", "is") if len(missing) == 1 else ("packages", "are")
    return f"{scheme}:// needs the {noun} {' and '.join(missing)}, which {verb} not installed"


def broken_uproot() -> str | None:
    """Give the version of uproot if it cannot iterate over direct root:// URLs."""
    try:
        installed = version("uproot")
    except PackageNotFoundError:
        return None
    return installed if installed in BROKEN_UPROOT else None
