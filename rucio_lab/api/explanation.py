"""Which replicas of some files were taken, and why the others were not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from rucio_lab.api.tables import html_table, text_table
from rucio_lab.core.did import DID
from rucio_lab.core.model import LeftOut, Replica, ResolvedFile
from rucio_lab.core.words import count

MOST_EXPLAINED = 1000
"""An explanation looks up the replicas of at most this many ``rucio://`` addresses."""


Replicas = dict[tuple[str, DID], tuple[Sequence[Replica], Sequence[LeftOut]]]
"""Instance and file -> the replicas that would be read, best first, and those that were left out."""


def replicas_now(files: Iterable[tuple[str, ResolvedFile]]) -> Replicas:
    """Look up where the first of some ``rucio://`` addresses would be read from."""
    from rucio_lab.core.config.instances import load_instances
    from rucio_lab.core.resolve.choose import replicas_of

    by_instance: dict[str, list[DID]] = {}
    for instance, file in islice((each for each in files if each[1].replica.scheme == "rucio"), MOST_EXPLAINED):
        by_instance.setdefault(instance, []).append(file.did)
    return {
        (name, did): (found.candidates, found.left_out)
        for name, dids in by_instance.items()
        for did, found in replicas_of(load_instances().get(name), dids).items()
    }


class ExplanationRow(NamedTuple):
    """Files with the same outcome at one endpoint: how many, one of them, and why."""

    files: int
    example: str
    rse: str
    endpoint: str
    state: str
    why: str


class Explanation:
    """Which replicas were taken, which are in reserve, and which were left out. Similar files share a row.

    Attributes
    ----------
    rows
        All rows, those with the most files first, as ``files`` (their number), ``example``, ``rse``, ``endpoint``,
        ``state`` (``taken``, ``in reserve``, ``left out`` or ``missing``) and ``why``.
    """

    _HEADER = ("files", "RSE", "endpoint", "replica", "why")
    _MOST_ROWS = 40

    def __init__(self, files: Iterable[tuple[str, ResolvedFile]], missing: dict[DID, str], now: Replicas) -> None:
        found: dict[tuple[str, str, str, str], list[DID]] = {}

        def note(did: DID, replica: Replica, state: str, why: str = "") -> None:
            found.setdefault((replica.rse, _endpoint(replica), state, why), []).append(did)

        for instance, file in files:
            replicas, left_out = now.get((instance, file.did)) or (file.replicas, file.left_out)
            for replica in replicas:
                why = "when it is opened" if replica.scheme == "rucio" else ""
                note(file.did, replica, "taken" if replica is replicas[0] else "in reserve", why)
            for left in left_out:
                note(file.did, left.replica, "left out", left.reason)
        for did, reason in missing.items():
            note(did, Replica("", ""), "missing", reason)
        order = ("taken", "in reserve", "left out", "missing")
        rows = [ExplanationRow(len(set(dids)), str(dids[0]), *key) for key, dids in found.items()]
        self.rows = sorted(rows, key=lambda row: (order.index(row.state), -row.files))

    def _cells(self) -> list[tuple[str, ...]]:
        cells = []
        for files, example, *rest in self.rows[: self._MOST_ROWS]:
            cells.append((example if files == 1 else f"{files:,} files, one is {example}", *rest))
        return cells

    def _more(self) -> str:
        more = len(self.rows) - self._MOST_ROWS
        return f"... and {count(more, 'more row')}." if more > 0 else ""

    def __repr__(self) -> str:
        return "\n".join(filter(None, [text_table(self._HEADER, self._cells()), self._more()]))

    def _repr_html_(self) -> str:
        caption = "Which replicas were taken, and why the others were not"
        return html_table(self._HEADER, self._cells(), caption, [self._more()] if self._more() else [])


def _endpoint(replica: Replica) -> str:
    if not replica.url:
        return ""
    if "://" in replica.url:
        return replica.endpoint
    return "downloaded" if replica.kind == "copy" else replica.kind
