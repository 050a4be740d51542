"""Addresses: ``rucio://`` URLs, and any URL without the parts that may be secret."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest

PREFIX = "rucio://"

_SHORT = re.compile(r"(?!\s|[^/]*:\d+(?:/|$))[^/:]+:.+", re.DOTALL)  # but not host:port


class Address(NamedTuple):
    """The parts of a ``rucio://`` path; those that it does not have are empty."""

    instance: str = ""
    scope: str = ""
    name: str = ""

    @classmethod
    def parse(cls, path: str) -> Address:
        """Read a path or URL."""
        parts = path.removeprefix(PREFIX).rstrip("/").split("/", 2)
        return cls(*map(unquote, parts))

    @property
    def path(self) -> str:
        """The path, without ``rucio://``."""
        return "/".join(quote(part, safe="") for part in self if part)

    @property
    def did(self) -> DID:
        """The DID of the path.

        Raises
        ------
        BadRequest
            If it cannot be one.
        """
        return DID.parse(f"{self.scope}:{self.name}")._replace(name=self.name)  # with a blank at its end


def is_short(path: str) -> bool:
    """Whether a path, without ``rucio://``, is ``scope:name``: a DID of the default instance, not encoded."""
    return _SHORT.fullmatch(path) is not None


def did_of(text: str) -> DID:
    """Read a DID as ``scope:name``, or as ``rucio://scope:name``, the form that some other tools use.

    Raises
    ------
    BadRequest
        If it is no DID. The remedy for another ``rucio://`` address is what to write instead.
    """
    path = text.strip().removeprefix(PREFIX)
    if path == text.strip() or is_short(path):
        return DID.parse(path)
    instance, scope, name = Address.parse(path)
    if name:
        remedy = f"Write {scope}:{name}, and name the instance ({instance}) as an option."
    elif scope:
        remedy = f"To attach the DID write {instance}:{scope}, to open it {PREFIX}INSTANCE/{path}."
    else:
        remedy = "Write it as scope:name, for example opendata13TeV:GamGam."
    raise BadRequest(f"{text.strip()!r} is an address, not a DID.", remedy)


def lake_url(instance: str, did: DID) -> str:
    """Write the ``rucio://`` address of a DID.

    Parameters
    ----------
    instance
        Name of the instance, or its host.
    did
        A file, dataset or container.
    """
    return f"{_start(instance, did.scope)}/{quote(did.name, safe='')}"


@lru_cache(maxsize=256)
def _start(instance: str, scope: str) -> str:
    return PREFIX + Address(instance, scope).path


def without_query(url: str) -> str:
    """Remove what can be secret in a URL: the query, which may contain a signature, and user and password."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    path, question, _ = rest.partition("?")
    host, slash, below = path.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{below}{'?...' if question else ''}"
