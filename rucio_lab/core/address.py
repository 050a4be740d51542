"""Addresses: ``rucio://`` URLs, and any URL without the parts that may be secret."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, unquote

from rucio_lab.core.did import DID

PREFIX = "rucio://"


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
    """Remove what can be secret in a URL: the query, which may contain a signature, and user and password."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    path, question, _ = rest.partition("?")
    host, slash, below = path.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{below}{'?...' if question else ''}"
