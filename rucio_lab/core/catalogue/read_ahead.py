"""The replicas of single files. With a file of an attached list, those of the next files in it are looked up, too."""

from __future__ import annotations

import bisect
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.catalogue.replies import FileReplicas
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import NotFound

LIFE = 300.0
"""How long the replicas of a file stay in memory, in seconds."""

_MOST_ROWS = 20_000
_AHEAD = 200  # files to look up in one request when the files of a list are opened one after the other

_rows: OrderedDict[tuple[tuple[str, ...], DID], tuple[FileReplicas, float]] = OrderedDict()
_expected: dict[tuple[str, ...], tuple[Sequence[DID], int]] = {}  # a list, and how many of it were looked up
_lock = threading.Lock()


def expect(instance: Instance, dids: Sequence[DID]) -> None:
    """Announce files that will probably be opened one after the other.

    Parameters
    ----------
    instance
        Their instance.
    dids
        The files, sorted. The sequence is kept, not copied.
    """
    _expected[instance.key] = (dids, 0)


def replicas_of_file(instance: Instance, did: DID) -> FileReplicas | None:
    """Give the replicas of a file from memory, or else from Rucio; None if it has none."""
    with _lock:
        row, asked = _rows.get((instance.key, did), (None, 0.0))
    return row if row is not None and is_fresh(asked) else _look_up(instance, did)


def ask(instance: Instance, did: DID) -> FileReplicas | None:
    """Ask Rucio for the replicas of one file, whatever is in memory."""
    return next(iter(_rows_of(instance, [did])), None)


def is_fresh(asked: float) -> bool:
    """Say whether an answer is still usable that Rucio gave at this time of the monotonic clock."""
    return asked > time.monotonic() - LIFE


def _look_up(instance: Instance, did: DID) -> FileReplicas | None:
    """Ask Rucio for the replicas of a file and, if it is in an announced list, of the next ones there."""
    dids, looked_up = _expected.get(instance.key, ((), 0))
    place = bisect.bisect_left(dids, did)
    listed = place < len(dids) and dids[place] == did
    ahead = dids[place : place + _AHEAD] if listed and looked_up else [did]
    if listed:
        _expected[instance.key] = (dids, looked_up + 1)
    found = {row.did: row for row in _rows_of(instance, ahead)}
    with _lock:
        now = time.monotonic()
        for each, row in found.items():
            _rows[instance.key, each] = (row, now)
        while len(_rows) > _MOST_ROWS:
            _rows.popitem(last=False)
    return found.get(did)


def _rows_of(instance: Instance, dids: Sequence[DID]) -> list[FileReplicas]:
    """Ask Rucio. There is no row for a DID that does not exist, nor for a dataset."""
    wanted = set(dids)
    try:
        rows = list(Lake(instance).replicas(dids, rse=instance.rse, site=instance.site))
    except NotFound:
        return []
    return [row for row in rows if row.did in wanted and row.states]


def forget() -> None:
    """Forget all replicas and all announced files."""
    with _lock:
        _rows.clear()
        _expected.clear()


def _after_fork() -> None:
    """Give a forked child its own lock: the parent's may be held by a thread that does not exist in the child."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
