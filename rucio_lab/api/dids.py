"""DIDs as people give them: as text, or as what `search` and `ls` return."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rucio_lab.core.address import did_of
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest
from rucio_lab.core.model import DidInfo

DidLike = str | DID | DidInfo
"""One DID: as text (``scope:name`` or ``rucio://scope:name``), or as part of what `search` and `ls` return."""


def did_text(given: DidLike) -> str:
    """Give the text of a DID.

    Raises
    ------
    BadRequest
        If it is something else.
    """
    if isinstance(given, DidInfo):
        return str(given.did)
    if not isinstance(given, str | DID):
        raise BadRequest(f"{given!r} is not a DID.", "Give each DID as text of its own: attach('scope:a', 'scope:b').")
    return str(given)


def parse_dids(given: Iterable[DidLike | Iterable[DidLike]]) -> Iterator[DID]:
    """Read the DIDs of some arguments. Each argument is one DID, or an iterable of DIDs.

    Raises
    ------
    BadRequest
        If one of them is invalid.
    """
    for each in given:
        several = each if isinstance(each, Iterable) and not isinstance(each, str | DID) else (each,)
        yield from (did_of(did_text(did)) for did in several)
