"""Which files a request asks for: DIDs and patterns expanded to files, each with the datasets that contain it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from rucio_lab.core.catalogue import pfns
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.catalogue.parallel import meanwhile, together
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
    """The files of a request, each with the datasets that contain it; the replicas that are already known."""

    files: dict[DID, tuple[DID, ...]] = field(default_factory=dict)
    infos: dict[DID, DidInfo] = field(default_factory=dict)
    datasets: dict[DID, list[DidInfo]] = field(default_factory=dict)
    collections: list[DID] = field(default_factory=list)
    open: list[DID] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    replicas: dict[DID, FileReplicas] = field(default_factory=dict)


def expand(lake: Lake, request: Request, tell: Tell) -> Wanted:
    """Find all files that a request asks for. If they are few, ask for their replicas meanwhile."""
    wanted = Wanted()
    asked = _at_once(lake, request, wanted) if _were_few(lake, request) else _asked(lake, request)
    for info in asked:
        if info.type == "file":
            wanted.files[info.did] = ()
            wanted.infos[info.did] = info
            continue
        if info.open:
            wanted.open.append(info.did)
        wanted.collections.append(info.did)
    if not _are_few(request, asked):
        _list(lake, asked, wanted, tell)
    elif len(asked) == 1 and asked[0].type == "dataset":
        _remember_few(lake, asked[0].did)
        wanted.replicas = wanted.replicas or _by_did(_of_all(lake, request, asked, tell))
        if len(wanted.replicas) == asked[0].length:  # then they are the files of the dataset
            wanted.files = dict.fromkeys(wanted.replicas, (asked[0].did,))
        else:
            _list(lake, asked, wanted, tell)
    elif not wanted.collections:
        wanted.replicas = _by_did(_of_all(lake, request, asked, tell))
    else:
        with meanwhile(lake.instance, lambda: list(_of_all(lake, request, asked, lambda *_: None))) as rows:
            _list(lake, asked, wanted, tell)
            wanted.replicas = _by_did(rows())
    _check_empty(asked, request, wanted)
    return wanted


def _asked(lake: Lake, request: Request) -> list[DidInfo]:
    """Look up the DIDs of a request, and those that match its patterns."""
    dids = list(dict.fromkeys(DID.parse(text) for text in request.dids))
    found = together(lake.instance, [partial(_matches if did.is_pattern else _one, lake, did) for did in dids])
    # A search does not say which collections are open or empty.
    matches = dict.fromkeys(
        info.did for did, its in zip(dids, found, strict=True) if did.is_pattern for info in its if info.type != "file"
    )
    whole = {info.did: info for info in together(lake.instance, [partial(lake.info, did) for did in matches])}
    return list({info.did: whole.get(info.did, info) for its in found for info in its}.values())


_few: set[tuple[tuple[str, ...], DID]] = set()
"""Datasets that had few files when they were last looked up, each with the key of its instance."""

_MOST_FEW = 10_000


def _were_few(lake: Lake, request: Request) -> bool:
    """Whether a request is for one dataset that had few files before, so that everything can be asked at once."""
    if len(request.dids) != 1 or request.limit is not None or request.access == "lake":
        return False
    return (lake.instance.key, DID.parse(request.dids[0])) in _few


def _at_once(lake: Lake, request: Request, wanted: Wanted) -> list[DidInfo]:
    """Look up a dataset that had few files before, and meanwhile its replicas."""
    alike = [DidInfo(DID.parse(text), "dataset") for text in request.dids]
    with meanwhile(lake.instance, lambda: list(_of_all(lake, request, alike, lambda *_: None))) as rows:
        asked = _asked(lake, request)
        if _are_few(request, asked):
            wanted.replicas = _by_did(rows())
        else:  # it has grown: the replicas are not waited for
            _few.clear()
    return asked


def _remember_few(lake: Lake, dataset: DID) -> None:
    if len(_few) >= _MOST_FEW:
        _few.clear()
    _few.add((lake.instance.key, dataset))


def _are_few(request: Request, asked: list[DidInfo]) -> bool:
    """Whether asking Rucio for all replicas of some DIDs at once is no waste."""
    lengths = [1 if info.type == "file" else info.length for info in asked]
    total = sum(length or 0 for length in lengths)
    cut = request.limit is not None and request.limit < total
    return request.access != "lake" and None not in lengths and 0 < total < pfns.MANY and not cut


def _of_all(lake: Lake, request: Request, asked: list[DidInfo], tell: Tell) -> Iterator[FileReplicas]:
    rows = lake.replicas([info.did for info in asked], rse=_expression(lake.instance, request), site=lake.instance.site)
    return _told(rows, "Finding replicas", sum(info.length or 1 for info in asked), tell)


def _by_did(rows: Iterable[FileReplicas]) -> dict[DID, FileReplicas]:
    return {row.did: row for row in rows}


def _list(lake: Lake, asked: list[DidInfo], wanted: Wanted, tell: Tell) -> None:
    """List the files of the collections, each with the dataset it is in."""
    collections = [info for info in asked if info.type != "file"]
    below = lake.datasets(*collections)
    wanted.datasets = {dataset: [] for datasets in below.values() for dataset in datasets}
    expected = sum(info.length or 0 for info in collections)
    with closing(_told(lake.files_of(wanted.datasets), "Listing files", expected, tell)) as listed:
        for dataset, file in listed:
            wanted.files[file.did] = (*wanted.files.get(file.did, ()), dataset)
            wanted.infos[file.did] = file
            wanted.datasets[dataset].append(file)
    _check_whole(asked, {did: sum(len(wanted.datasets[its]) for its in datasets) for did, datasets in below.items()})


def _check_empty(asked: list[DidInfo], request: Request, wanted: Wanted) -> None:
    """Refuse a request for nothing, and one that names an empty collection."""
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


def _check_whole(asked: list[DidInfo], listed: dict[DID, int]) -> None:
    """Refuse an incomplete listing: a proxy can cut one short without any sign."""
    for info in asked:
        if info.length and listed.get(info.did, info.length) < info.length:
            raise LakeBroken(
                f"Only {listed[info.did]:,} of the {info.length:,} files of {info.did} arrived.", "Try again."
            )


def _one(lake: Lake, did: DID) -> list[DidInfo]:
    return [lake.info(did)]


def _matches(lake: Lake, pattern: DID) -> list[DidInfo]:
    """Find all DIDs that match a pattern."""
    matches = list(lake.search(pattern, type="all", limit=MOST_MATCHES + 1))
    if len(matches) > MOST_MATCHES:
        raise BadRequest(
            f"More than {MOST_MATCHES:,} DIDs match {pattern}.",
            "Use a narrower pattern, or attach a container of them.",
        )
    if not matches:
        raise NotFound(f"No DID in {lake.instance.name} matches {pattern}.", "Try the pattern with %rucio_search.")
    return matches


def _told(rows: Iterable[T], what: str, total: int, tell: Tell) -> Generator[T, None, None]:
    """Pass on some rows, and tell how many they are so far."""
    try:
        for number, row in enumerate(rows, start=1):
            if number % _TOLD_AFTER == 0:
                tell(what, number, total)
            yield row
    finally:  # after an interrupt in `tell`, the traceback would keep the requests open
        if isinstance(rows, Generator):
            rows.close()


def find_replicas(
    lake: Lake, request: Request, wanted: Wanted, chosen: list[DID], tell: Tell
) -> dict[DID, FileReplicas]:
    """Give the replicas of files: those that are known, and what Rucio says about the others."""
    unknown = [did for did in chosen if did not in wanted.replicas]
    with closing(_told(_rows(lake, request, wanted, unknown), "Finding replicas", len(unknown), tell)) as rows:
        found = {**wanted.replicas, **_by_did(rows)}
    # of a collection, Rucio lists no archives
    by_file = set(unknown) if len(unknown) < len(wanted.files) else set()
    silent = [did for did in chosen if wanted.files[did] and did not in by_file and not _is_anywhere(found.get(did))]
    rse, site = _expression(lake.instance, request), lake.instance.site
    return found | {row.did: row for row in pfns.replicas_of_files(lake, silent, rse=rse, site=site)}


def _is_anywhere(row: FileReplicas | None) -> bool:
    return row is not None and bool(row.states)


def _rows(lake: Lake, request: Request, wanted: Wanted, unknown: list[DID]) -> Iterator[FileReplicas]:
    """Ask Rucio for replicas: by collection, or by file if only some are wanted."""
    rse, site = _expression(lake.instance, request), lake.instance.site
    single = [did for did, datasets in wanted.files.items() if not datasets]
    if len(unknown) < len(wanted.files):
        yield from pfns.replicas_of_files(lake, unknown, rse=rse, site=site)
    elif len(wanted.files) < pfns.MANY:
        yield from lake.replicas([*wanted.collections, *single], rse=rse, site=site)
    else:
        yield from pfns.replicas_of_files(lake, single, rse=rse, site=site)
        yield from pfns.replicas_of_datasets(lake, wanted.datasets, rse=rse, site=site)


def _expression(instance: Instance, request: Request) -> str:
    """Combine the RSE expressions of the instance and the request."""
    both = [expression for expression in (instance.rse, request.rse) if expression]
    return "&".join(f"({expression})" for expression in both) if len(both) > 1 else "".join(both)
