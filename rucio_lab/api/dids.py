"""DIDs as people give them: as text, or as what `search` and `ls` return."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rucio_lab.core.config.instances import load_instances
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


def flat(given: Iterable[DidLike | Iterable[DidLike]]) -> Iterator[DidLike]:
    """Give the DIDs of some arguments one by one. Each argument is one DID, or an iterable of DIDs."""
    for each in given:
        if isinstance(each, Iterable) and not isinstance(each, str | DID):
            yield from each
        else:
            yield each


def instance_of(given: Iterable[DidLike], asked: str | None) -> str | None:
    """Say which instance some DIDs belong to: the one in which `search` or `ls` found them, or else the one asked for.

    Raises
    ------
    BadRequest
        If they were found in several instances, or in another one than asked for.
    """
    found = {info.instance: info.did for info in given if isinstance(info, DidInfo) and info.instance}
    if not found:
        return asked
    if len(found) > 1:
        raise BadRequest(
            f"These DIDs are from several instances: {', '.join(f'{did} ({name})' for name, did in found.items())}.",
            "Make one call for each instance.",
        )
    ((name, did),) = found.items()
    if asked is not None and (known := load_instances().get(asked).name) != name:
        raise BadRequest(
            f"{did} was found in {name}, but the instance {known} was asked for.",
            f"Leave instance out, or give the DID as text to look for it in {known}.",
        )
    return name
