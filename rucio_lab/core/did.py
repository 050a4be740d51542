"""Data identifiers: ``scope:name``."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from rucio_lab.core.errors import BadRequest
from rucio_lab.core.text import hidden_in

_REMEDY = "Write it as scope:name, for example opendata13TeV:GamGam."
_OPENING = tuple("'\"`\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a[({<$#")
"""Quotation marks, brackets and the like, which other syntax puts before a DID; no scope begins with one."""

_ALMOST = "\uff1a\ufe55\ufe13\u2236\ua789\u02d0\u0589\u05c3"
"""Characters that look like a colon."""

_VISIBLE = "Write it as scope:name without them; if its name has them, use the dataset that contains it."


class DID(NamedTuple):
    """One data identifier.

    The scope ends at the first colon. The name may contain slashes, colons and spaces, as CMS and Belle II names do.
    """

    scope: str
    name: str

    @classmethod
    def parse(cls, text: str) -> DID:
        """Read a DID as users write it.

        Parameters
        ----------
        text
            ``scope:name``; spaces around it are ignored.

        Raises
        ------
        BadRequest
            If there is no colon, if scope or name is empty, or if it contains control or invisible characters.
        """
        stripped = text.strip()
        if hidden := hidden_in(stripped):
            raise BadRequest(
                f"{stripped!r} is not a DID: it contains invisible or control characters ({hidden}).", _VISIBLE
            )
        if "://" in stripped:
            raise BadRequest(f"{stripped.partition('?')[0]!r} is a URL, not a DID.", _instead_of(stripped))
        if stripped[:1] in _OPENING:
            raise BadRequest(f"{stripped!r} is not a DID: it begins with {stripped[0]}.", _REMEDY)
        scope, colon, name = stripped.partition(":")
        if not colon:
            raise BadRequest(f"{stripped!r} is not a DID: {_without_colon(stripped)}.", _REMEDY)
        if not scope or not name:
            missing = "name" if scope else "scope"
            raise BadRequest(f"{stripped!r} is not a DID: its {missing} is empty.", _REMEDY)
        if name in (".", ".."):
            raise BadRequest(f"{stripped!r} is not a DID: no address can contain the name {name!r}.", _REMEDY)
        if "/" in scope or any(c.isspace() for c in scope):
            raise BadRequest(f"{stripped!r} is not a DID: the scope {scope!r} contains a slash or a space.", _REMEDY)
        return cls(scope, name)

    @property
    def is_pattern(self) -> bool:
        """Whether the name contains ``*``, the only wildcard that Rucio knows."""
        return "*" in self.name

    def __str__(self) -> str:
        return f"{self.scope}:{self.name}"


def _without_colon(text: str) -> str:
    """Say what is wrong with a text without a colon."""
    almost = next((character for character in text if character in _ALMOST), "")
    if almost:
        return f"{almost!r} (U+{ord(almost):04X}) only looks like a colon"
    return "it has no colon between scope and name"


def _instead_of(url: str) -> str:
    """Say what to do with a URL. Pages of Rucio's web interface have the DID in their query."""
    try:
        query = parse_qs(urlsplit(url).query)
    except ValueError:
        query = {}
    scope, name = query.get("scope", [""])[0], query.get("name", [""])[0]
    return f"Write {scope}:{name}." if scope and name else f"Open it as it is, or: {_REMEDY}"
