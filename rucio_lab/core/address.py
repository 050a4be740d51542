"""Addresses: ``rucio://`` of the lake, and any address without what may be secret in it."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, unquote

from rucio_lab.core.did import DID

PREFIX = "rucio://"


class Address(NamedTuple):
    """What a path names; the parts that it does not go down to are empty."""

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
        """The DID that is named.

        Raises
        ------
        BadRequest
            If it can be none.
        """
        return DID.parse(f"{self.scope}:{self.name}")


def lake_url(instance: str, did: DID) -> str:
    """Write the ``rucio://`` address of a DID.

    Parameters
    ----------
    instance
        Name of the instance, or its host.
    did
        A file, dataset or container.
    """
    return PREFIX + Address(instance, *did).path


def without_query(url: str) -> str:
    """Drop what can be secret in a URL: its query, where signatures stand, and a user with a password."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    path, question, _ = rest.partition("?")
    host, slash, below = path.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{below}{'?...' if question else ''}"
