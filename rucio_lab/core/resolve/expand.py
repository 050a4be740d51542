"""Which files a request asks for: DIDs and patterns expanded to files, each with the datasets that contain it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

from rucio_lab.core.catalogue import pfns
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.catalogue.parallel import side_by_side
from rucio_lab.core.catalogue.replies import FileReplicas
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, LakeBroken, NotFound
from rucio_lab.core.model import DidInfo, Request

T = TypeVar("T")

MOST_MATCHES = 1000
"""A pattern that matches more DIDs than this is refused, because each of them costs a request to Rucio."""

_TOLD_AFTER = 100  # rows

Tell = Callable[[str, int, int], None]
"""Is told about progress: what is being done, how much is done, and how much there is (0 if unknown)."""


@dataclass
class Wanted:
    """The files of a request, each with the datasets that contain it."""

    files: dict[DID, tuple[DID, ...]] = field(default_factory=dict)
    infos: dict[DID, DidInfo] = field(default_factory=dict)
    datasets: dict[DID, list[DidInfo]] = field(default_factory=dict)
    collections: list[DID] = field(default_factory=list)
    open: list[DID] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def expand(lake: Lake, request: Request, tell: Tell) -> Wanted:
    """Find all files that a request asks for."""
    wanted = Wanted()
    asked = list({info.did: info for text in request.dids for info in _match(lake, DID.parse(text))}.values())
    below: dict[DID, list[DID]] = {}
    for info in asked:
        if info.type == "file":
            wanted.files[info.did] = ()
            wanted.infos[info.did] = info
            continue
        if info.open:
            wanted.open.append(info.did)
        wanted.collections.append(info.did)
        below[info.did] = lake.datasets(info)
    wanted.datasets = {dataset: [] for datasets in below.values() for dataset in datasets}
    expected = sum(info.length or 0 for info in asked if info.type != "file")
    with closing(_told(lake.files_of(wanted.datasets), "Listing files", expected, tell)) as listed:
        for dataset, file in listed:
            wanted.files[file.did] = (*wanted.files.get(file.did, ()), dataset)
            wanted.infos[file.did] = file
            wanted.datasets[dataset].append(file)
    _check_whole(asked, {did: sum(len(wanted.datasets[its]) for its in datasets) for did, datasets in below.items()})
    empty = [info.did for info in asked if info.type != "file" and info.length == 0]
    named = {DID.parse(text) for text in request.dids}  # a collection that only matches a pattern may be empty
    if not wanted.files or (named.intersection(empty) and not request.allow_missing):
        names = [str(did) for did in empty] or list(request.dids)
        are, it = ("is", "it") if len(names) == 1 else ("are", "them")
        raise NotFound(
            f"{', '.join(names)} {are} empty: Rucio lists no files in {it}.",
            f"Check {it} with %rucio_ls; if you asked for other DIDs too, --allow-missing attaches their files.",
        )
    wanted.notes += [f"{did} is empty." for did in empty]
    return wanted


def _check_whole(asked: list[DidInfo], listed: dict[DID, int]) -> None:
    """Refuse an incomplete listing: a proxy can cut one short without any sign."""
    for info in asked:
        if info.length and listed.get(info.did, info.length) < info.length:
            raise LakeBroken(
                f"Only {listed[info.did]:,} of the {info.length:,} files of {info.did} arrived.", "Try again."
            )


def _match(lake: Lake, did: DID) -> list[DidInfo]:
    """Look up a DID, or all DIDs that match a pattern."""
    if not did.is_pattern:
        return [lake.info(did)]
    matches = list(lake.search(did, type="all", limit=MOST_MATCHES + 1))
    if len(matches) > MOST_MATCHES:
        raise BadRequest(
            f"More than {MOST_MATCHES:,} DIDs match {did}.", "Use a narrower pattern, or attach a container of them."
        )
    if not matches:
        raise NotFound(f"No DID in {lake.instance.name} matches {did}.", "Try the pattern with %rucio_search.")
    # A search does not say which collections are open or empty.
    calls = [lambda _, did=match.did: lake.info(did) for match in matches if match.type != "file"]
    with closing(side_by_side(lake.instance, calls)) as infos:
        found = {info.did: info for info in infos}
    return [found.get(match.did, match) for match in matches]


def _told(rows: Iterable[T], what: str, total: int, tell: Tell) -> Generator[T, None, None]:
    """Pass on some rows, and tell how many they are so far."""
    for number, row in enumerate(rows, start=1):
        if number % _TOLD_AFTER == 0:
            tell(what, number, total)
        yield row


def find_replicas(
    lake: Lake, request: Request, wanted: Wanted, chosen: list[DID], tell: Tell
) -> dict[DID, FileReplicas]:
    """Ask Rucio for replicas: by collection, or by file if only some are wanted."""
    with closing(_told(_rows(lake, request, wanted, chosen), "Finding replicas", len(chosen), tell)) as rows:
        found = {row.did: row for row in rows}
    # of a collection, Rucio lists no archives
    silent = [did for did in chosen if wanted.files[did] and not (did in found and found[did].states)]
    rse, site = _expression(lake.instance, request), lake.instance.site
    return found | {row.did: row for row in pfns.replicas_of_files(lake, silent, rse=rse, site=site)}


def _rows(lake: Lake, request: Request, wanted: Wanted, chosen: list[DID]) -> Iterator[FileReplicas]:
    rse, site = _expression(lake.instance, request), lake.instance.site
    single = [did for did, datasets in wanted.files.items() if not datasets]
    if len(chosen) < len(wanted.files):
        yield from pfns.replicas_of_files(lake, chosen, rse=rse, site=site)
    elif len(wanted.files) < pfns.MANY:
        yield from lake.replicas([*wanted.collections, *single], rse=rse, site=site)
    else:
        yield from pfns.replicas_of_files(lake, single, rse=rse, site=site)
        yield from pfns.replicas_of_datasets(lake, wanted.datasets, rse=rse, site=site)


def _expression(instance: Instance, request: Request) -> str:
    """Combine the RSE expressions of the instance and the request."""
    both = [expression for expression in (instance.rse, request.rse) if expression]
    return "&".join(f"({expression})" for expression in both) if len(both) > 1 else "".join(both)
