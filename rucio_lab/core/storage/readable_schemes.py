"""What can be read on this machine: which schemes have a reader."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from rucio_lab.core.errors import BadRequest

SPELLINGS = {"davs": "https", "xroot": "root", "xroots": "roots"}
"""Schemes of Rucio that readers know by another name."""

READABLE = ("root", "roots", "https", "http")
"""Schemes of direct URLs that have readers."""

PROBED = ("root", "roots", "https", "http")
"""Schemes whose servers can be asked whether they are there."""

_GRID_TOOLS = {"gsiftp": "gfal2", "srm": "gfal2"}

BROKEN_UPROOT = ("5.7.6", "5.7.7")
"""Releases of uproot whose ``iterate`` fails over direct root:// URLs (``TypeError: integer argument expected``)."""


def schemes_of(words: str | Iterable[str]) -> tuple[str, ...]:
    """Read the schemes that somebody asks for.

    Parameters
    ----------
    words
        Names of schemes, best first, or one text with commas between them.

    Raises
    ------
    BadRequest
        If one of them can never be read from.
    """
    names = [
        word.strip().lower().removesuffix("://") for word in (words.split(",") if isinstance(words, str) else words)
    ]
    schemes = tuple(dict.fromkeys(SPELLINGS.get(name, name) for name in names if name))
    for scheme in schemes:
        if scheme not in READABLE:
            raise BadRequest(f"{scheme!r} is no scheme that can be read.", f"There are {', '.join(READABLE)}.")
    return schemes


@cache
def unreadable(scheme: str) -> str:
    """Say why nothing on this machine can read a scheme.

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
        missing = [package for package in ("XRootD", "fsspec_xrootd") if find_spec(package) is None]
        return (
            f"{scheme}:// needs the package {' and '.join(missing).lower()}, which is not installed" if missing else ""
        )
    if scheme in ("https", "http"):
        return "" if find_spec("aiohttp") else f"{scheme}:// needs the package aiohttp, which is not installed"
    return f"no reader here knows {scheme}://"


@cache
def not_downloadable(scheme: str) -> str:
    """Say why nothing on this machine can download over a scheme; empty if it can be done.

    Parameters
    ----------
    scheme
        As in a PFN. What nothing here knows is left to rucio-clients, where what that needs is installed.
    """
    scheme = SPELLINGS.get(scheme, scheme)
    if scheme in ("https", "http"):
        return ""
    needed = "XRootD" if scheme in ("root", "roots") else _GRID_TOOLS.get(scheme)
    if needed is None:
        return f"nothing here knows {scheme}://"
    return "" if find_spec(needed) else f"{scheme}:// needs the package {needed.lower()}, which is not installed"


def broken_uproot() -> str | None:
    """Give the version of uproot, if it is one that cannot iterate over direct root:// URLs."""
    try:
        installed = version("uproot")
    except PackageNotFoundError:
        return None
    return installed if installed in BROKEN_UPROOT else None
