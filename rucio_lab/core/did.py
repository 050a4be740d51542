"""Data identifiers: ``scope:name``."""

from __future__ import annotations

from typing import NamedTuple

from rucio_lab.core.errors import BadRequest
from rucio_lab.core.text import hidden_in

_REMEDY = "Write it as scope:name, for example opendata13TeV:GamGam."
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
            raise BadRequest(f"{stripped.partition('?')[0]!r} is a URL, not a DID.", f"Open it as it is, or: {_REMEDY}")
        scope, colon, name = stripped.partition(":")
        if not colon:
            raise BadRequest(f"{stripped!r} is not a DID: it has no colon between scope and name.", _REMEDY)
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
