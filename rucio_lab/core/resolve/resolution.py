"""From DIDs to files that can be read from here.

The data flows one way: `resolve` expands the request to files (`_expand`), asks Rucio for their replicas, sorts what
can be read here from what cannot (`_Sorter`), drops what turns out to be dead (`_drop_dead`), and reports the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TypeVar
from urllib.parse import quote, urlsplit

from rucio_lab.core.address import lake_url
from rucio_lab.core.catalogue import pfns, read_ahead
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.catalogue.parallel import side_by_side
from rucio_lab.core.catalogue.replies import FileReplicas, Pfn
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, FilesUnavailable, LakeBroken, NotFound
from rucio_lab.core.model import DidInfo, LeftOut, Replica, Request, Resolution, ResolvedFile
from rucio_lab.core.reading import probe, xrootd
from rucio_lab.core.storage import known_schemes

T = TypeVar("T")

MOST_MATCHES = 1000
"""A pattern that fits more DIDs than this is refused: each of them is a question to Rucio."""

_TOLD_AFTER = 100  # rows

_NOT_ASKED_FOR = "is not among the schemes asked for"

Tell = Callable[[str, int, int], None]
"""Is told how a long work goes on: what is done, how much of it, and how much it will be (0 where nobody knows)."""


def resolve(request: Request, tell: Tell = lambda *_: None) -> Resolution:
    """Find for each file of some DIDs the replica to read, without downloading anything.

    Parameters
    ----------
    request
        What is wanted, and how.
    tell
        Is told how it goes on, in the calling thread. What it raises ends the work, as an interrupt does: at once, and
        with nothing left that goes on asking Rucio for more.

    Returns
    -------
    Resolution
        The files, each with the replica to read first, the others in order, and why some were left out.

    Raises
    ------
    BadRequest
        If a DID, the RSE expression or the limit is malformed.
    NotFound
        If there is no such DID, no DID fits a pattern, or there is no file in it.
    FilesUnavailable
        If files cannot be read from here, and `Request.allow_missing` is not set (or none can).
    RucioLabError
        Whatever else goes wrong between here and Rucio; see `rucio_lab.core.errors`.
    """
    if not request.dids:
        raise BadRequest("No DID was named.", "Name one as scope:name, for example opendata13TeV:GamGam.")
    if request.limit is not None and request.limit < 1:
        raise BadRequest(f"A limit of {request.limit} files makes no sense.", "Ask for 1 at least.")
    instance = load_instances().get(request.instance or None)
    choosy = bool(request.schemes or request.rse)
    usual = "auto" if choosy and instance.access == "lake" else instance.access
    request = replace(request, instance=instance.name, access=request.access or usual)
    lake = Lake(instance)
    if request.access == "lake" and choosy:
        raise BadRequest(
            "With access lake a replica is chosen when a file is opened, so it takes no schemes and no RSE expression.",
            "Leave them out, or set schemes and rse of the instance in rucio_lab.toml.",
        )
    wanted = _expand(lake, request, tell)
    chosen = sorted(wanted.files)[: request.limit]
    if request.access == "lake":
        return _in_lake(instance, request, wanted, chosen)
    rows = _replicas(lake, request, wanted, chosen, tell)
    sorter = _Sorter(instance, request)
    drafts = [sorter.draft(did, rows.get(did)) for did in chosen]
    _check_mounts(drafts)
    if request.access == "download":
        _put_dead_last(instance, drafts)
    else:
        _drop_dead(instance, drafts)
    if request.access == "auto" and not choosy:
        _through_lake(instance, drafts)
    files = tuple(draft.file(wanted.files[draft.did]) for draft in drafts if draft.candidates)
    missing = _missing(lake, request, [draft for draft in drafts if not draft.candidates])
    if missing and not (request.allow_missing and files):
        raise _unavailable(missing, len(chosen), instance)
    if any(file.replica.scheme == "root" for file in files):
        xrootd.prepare()
    return Resolution(
        request=request,
        files=files,
        missing=missing,
        total=len(wanted.files),
        open=tuple(wanted.open),
        shared=sum(len(wanted.files[file.did]) > 1 for file in files),
        notes=(*wanted.notes, *_notes(files)),
    )


def _in_lake(instance: Instance, request: Request, wanted: _Wanted, chosen: list[DID]) -> Resolution:
    """Give addresses that are resolved when they are opened: no replica is asked for now."""
    read_ahead.expect(instance, chosen)
    return Resolution(
        request=request,
        files=tuple(_lake_file(instance, wanted.infos[did], wanted.files[did]) for did in chosen),
        total=len(wanted.files),
        open=tuple(wanted.open),
        shared=sum(len(wanted.files[did]) > 1 for did in chosen),
        notes=tuple(wanted.notes),
    )


def _lake_file(instance: Instance, info: DidInfo, datasets: tuple[DID, ...]) -> ResolvedFile:
    replica = Replica("", lake_url(instance.name, info.did))
    return ResolvedFile(info.did, datasets, info.bytes or 0, info.adler32, (replica,))


def replicas_of(instance: Instance, dids: list[DID]) -> dict[DID, tuple[list[Replica], list[LeftOut]]]:
    """Say from which replicas ``rucio://`` would read some files now: those to be tried, in order, and the others."""
    found = {}
    for row in Lake(instance).replicas(dids, rse=instance.rse, site=instance.site):
        candidates, left_out = readable_replicas(instance, row)
        found[row.did] = sorted(candidates, key=lambda replica: bool(_dead(replica))), left_out
    return found


def readable_replicas(instance: Instance, row: FileReplicas) -> tuple[list[Replica], list[LeftOut]]:
    """Sort the replicas of one file as ``rucio://`` reads them, with the credentials of the instance. Asks nobody.

    Returns
    -------
    list of Replica
        Those that can be read here, best first.
    list of LeftOut
        The others, and why.
    """
    draft = _Sorter(instance, Request((), instance.name, "lake")).draft(row.did, row)
    return draft.candidates, draft.left_out


# ------------------------------------------------------------------------------------------------ which files


@dataclass
class _Wanted:
    """The files of a request: each with the datasets that it was reached through."""

    files: dict[DID, tuple[DID, ...]] = field(default_factory=dict)
    infos: dict[DID, DidInfo] = field(default_factory=dict)
    datasets: dict[DID, list[DidInfo]] = field(default_factory=dict)
    collections: list[DID] = field(default_factory=list)
    open: list[DID] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _expand(lake: Lake, request: Request, tell: Tell) -> _Wanted:
    """Find all files of a request."""
    wanted = _Wanted()
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
    named = {DID.parse(text) for text in request.dids}  # what only fits a pattern may be empty
    if not wanted.files or (named.intersection(empty) and not request.allow_missing):
        raise NotFound(
            f"{', '.join(map(str, empty)) or ' '.join(request.dids)} is empty: Rucio knows of no file in it.",
            "Check the DID with %rucio_ls; with other DIDs beside it, --allow-missing takes theirs.",
        )
    wanted.notes += [f"{did} is empty." for did in empty]
    return wanted


def _check_whole(asked: list[DidInfo], listed: dict[DID, int]) -> None:
    """Refuse a listing that was cut on its way, as a proxy can do without a sign of it."""
    for info in asked:
        if info.length and listed.get(info.did, info.length) < info.length:
            raise LakeBroken(f"Of the {info.length:,} files of {info.did}, {listed[info.did]:,} arrived.", "Try again.")


def _match(lake: Lake, did: DID) -> list[DidInfo]:
    """Look up a DID, or all that fit a pattern."""
    if not did.is_pattern:
        return [lake.info(did)]
    matches = list(lake.search(did, type="all", limit=MOST_MATCHES + 1))
    if len(matches) > MOST_MATCHES:
        raise BadRequest(f"More than {MOST_MATCHES:,} DIDs fit {did}.", "Narrow it, or attach what holds them.")
    if not matches:
        raise NotFound(f"No DID in {lake.instance.name} fits {did}.", "Try it with %rucio_search first.")
    # A search does not say which collections are open or empty.
    calls = [lambda _, did=match.did: lake.info(did) for match in matches if match.type != "file"]
    with closing(side_by_side(lake.instance, calls)) as infos:
        found = {info.did: info for info in infos}
    return [found.get(match.did, match) for match in matches]


def _told(rows: Iterable[T], what: str, total: int, tell: Tell) -> Generator[T, None, None]:
    """Give some rows, and tell how many they are."""
    for number, row in enumerate(rows, start=1):
        if number % _TOLD_AFTER == 0:
            tell(what, number, total)
        yield row


def _replicas(lake: Lake, request: Request, wanted: _Wanted, chosen: list[DID], tell: Tell) -> dict[DID, FileReplicas]:
    """Ask Rucio for replicas: by collection, or by file where only some are wanted."""
    with closing(_told(_rows(lake, request, wanted, chosen), "Finding replicas", len(chosen), tell)) as rows:
        return {row.did: row for row in rows}


def _rows(lake: Lake, request: Request, wanted: _Wanted, chosen: list[DID]) -> Iterator[FileReplicas]:
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
    """Join the RSE expressions of the instance and of the request."""
    both = [expression for expression in (instance.rse, request.rse) if expression]
    return "&".join(f"({expression})" for expression in both) if len(both) > 1 else "".join(both)


# ------------------------------------------------------------------------------------------------ which replica


@dataclass
class _Draft:
    """A file on its way to being resolved."""

    did: DID
    row: FileReplicas | None
    candidates: list[Replica]
    left_out: list[LeftOut]

    def drop(self, bad: Callable[[Replica], str]) -> None:
        """Leave out the candidates for which a reason is given."""
        kept = []
        for replica in self.candidates:
            if reason := bad(replica):
                self.left_out.append(LeftOut(replica, reason))
            else:
                kept.append(replica)
        self.candidates = kept

    def file(self, datasets: tuple[DID, ...]) -> ResolvedFile:
        """Make the final value."""
        assert self.row is not None  # noqa: S101 - there are candidates, so there was a row
        return ResolvedFile(
            self.did,
            datasets,
            self.row.bytes,
            self.row.adler32,
            tuple(self.candidates),
            tuple(self.left_out),
            self.row.md5,
        )


class _Sorter:
    """Sorts the replicas of a file by whether and how they can be read here."""

    def __init__(self, instance: Instance, request: Request) -> None:
        """Take the settings of the instance, as far as the request does not overrule them.

        Where an instance has credentials or a CA of its own for roots://, ``auto`` does not give roots:// away as a
        plain URL: XRootD's client would look for them elsewhere.
        """
        schemes = request.schemes or instance.schemes
        self._schemes = tuple(known_schemes.SPELLINGS.get(scheme, scheme) for scheme in schemes)
        self._mounts = instance.mounts if request.access != "stream" else {}
        self._stream = request.access != "mount"
        storage = instance.storage
        ours = storage.token_file or storage.token_command or storage.proxy or storage.ca
        self._ours_for_roots = request.access == "auto" and bool(ours)
        self._cache_endpoint = instance.storage.xcache.rstrip("/") if self._stream else ""
        self._download = request.access == "download"
        self._any_scheme = self._download and not request.schemes

    def draft(self, did: DID, row: FileReplicas | None) -> _Draft:
        """Sort the replicas of one file, best first: mounted, then on the local network, then by scheme."""
        draft = _Draft(did, row, [], [])
        if row is None:
            return draft
        found: dict[str, Replica] = {}
        left_out: dict[LeftOut, None] = {}
        for pfn in row.pfns:
            for replica, reason in self._judge(did, pfn, row.states.get(pfn.rse, "AVAILABLE")):
                if reason:
                    left_out[LeftOut(replace(replica, pfn="", priority=0), reason)] = None
                else:
                    found.setdefault(replica.url, replica)  # https and davs can be the same address
        for rse in row.states.keys() - {pfn.rse for pfn in row.pfns}:
            left_out[LeftOut(Replica(rse, ""), "the RSE offers no protocol that is known here")] = None
        draft.left_out = list(left_out)
        draft.candidates = sorted(found.values(), key=self._rank)
        return draft

    def _rank(self, replica: Replica) -> tuple[bool, bool, int, bool, int]:
        scheme = replica.scheme
        order = self._schemes.index(scheme) if scheme in self._schemes else len(self._schemes)
        cached = bool(self._cache_endpoint) and replica.endpoint == self._cache_endpoint
        return scheme != "file", replica.domain != "lan", order, not cached, replica.priority

    def _judge(self, did: DID, pfn: Pfn, state: str) -> Iterator[tuple[Replica, str]]:
        """Give a replica in the forms that readers know, each with why it cannot be read, if so."""
        pfn = _without_options(did, pfn)
        scheme, _, rest = pfn.url.partition("://")
        scheme = known_schemes.SPELLINGS.get(scheme, scheme)
        url = f"{scheme}://{_escaped(rest, did.name) if scheme in ('https', 'http') else rest}"
        replica = Replica(pfn.rse, url, pfn.url, pfn.domain, pfn.priority)
        if not _is_address(url):
            yield replica, "its address cannot be understood"
        elif pfn.rse_type == "TAPE":
            yield replica, "it is on tape (a rule can bring a copy to disk)"
        elif state != "AVAILABLE":
            yield replica, f"Rucio calls this replica {state}"
        else:
            path = self._mounted(pfn)
            if path:
                yield replace(replica, url=path), ""
            if scheme != "file" and self._stream:
                asked_for = scheme in self._schemes or self._any_scheme
                not_asked_for = f"{scheme} {_NOT_ASKED_FOR} ({', '.join(self._schemes)})"
                unreadable = known_schemes.not_downloadable if self._download else known_schemes.unreadable
                reason = unreadable(scheme) if asked_for else not_asked_for
                yield replica, reason or (probe.NEEDS_OURS if scheme == "roots" and self._ours_for_roots else "")
                if asked_for and scheme == "root" and self._through_cache(replica):
                    yield replace(replica, url=f"{self._cache_endpoint}//{url}"), reason
            elif not path:
                yield replica, "no folder is configured for it (mounts in rucio_lab.toml)"

    def _through_cache(self, replica: Replica) -> bool:
        """Whether a replica is to be read through the XCache: never twice, and not on the local network."""
        there_already = replica.endpoint == self._cache_endpoint or "root://" in replica.url.removeprefix("root://")
        return bool(self._cache_endpoint) and replica.domain != "lan" and not there_already

    def _mounted(self, pfn: Pfn) -> str:
        """Give the local path of a PFN on a mounted RSE; empty if there is none, or it would lead out of the folder."""
        mount = self._mounts.get(pfn.rse)
        if mount is None:
            return ""
        try:
            path = "/" + urlsplit(pfn.url).path.lstrip("/")
        except ValueError:
            return ""
        prefix = "/" + mount.prefix.strip("/")
        if not PurePosixPath(path).is_relative_to(prefix):
            return ""
        inside = PurePosixPath(path).relative_to(prefix)
        return "" if ".." in inside.parts else str(PurePosixPath(mount.folder) / inside)


def _is_address(url: str) -> bool:
    return _is_server(url.partition("://")[2].partition("/")[0])


@lru_cache(maxsize=1024)
def _is_server(text: str) -> bool:
    try:
        server = urlsplit(f"//{text}")
        return server.port != 0 and not (server.hostname or "").startswith("-")  # an option, to a program
    except ValueError:
        return False


def _without_options(did: DID, pfn: Pfn) -> Pfn:
    """Strip the options that are meant for tools: Rucio adds some for its own, and XRootD's client obeys any."""
    scheme, _, rest = pfn.url.partition("://")
    rest = rest.partition("&#multirange=")[0]
    if known_schemes.SPELLINGS.get(scheme, scheme) in ("root", "roots"):
        rest = xrootd.without_options(rest)
        if pfn.domain == "zip" and quote(did.name) == did.name:  # so that xrdcp takes the file out of its archive
            rest += f"{'&' if '?' in rest else '?'}xrdcl.unzip={did.name}"
    return pfn._replace(url=f"{scheme}://{rest}")


def _escaped(rest: str, name: str) -> str:
    """Escape what a name holds that means something else in a web address; Rucio writes names as they are."""
    return rest.removesuffix(name) + quote(name, safe="/:@!$&'()*+,;=") if rest.endswith(name) else rest


def _check_mounts(drafts: list[_Draft]) -> None:
    """Drop local paths that cannot be read, or are not of the size that Rucio has registered."""
    mounts: dict[str, dict[str, int]] = {}
    for draft in drafts:
        for replica in draft.candidates:
            if replica.scheme == "file" and draft.row:
                mounts.setdefault(replica.rse, {})[replica.url] = draft.row.bytes
    reasons = {}
    for expected in mounts.values():  # one by one, so that a mount that is dead does not hold up the others
        for path, size in zip(expected, probe.sizes_on_disk(list(expected)), strict=True):
            if isinstance(size, str):
                reasons[path] = f"{path}: {size}"
            elif size != expected[path]:
                reasons[path] = f"{path} has {size} bytes, but Rucio has registered {expected[path]}"
    for draft in drafts:
        draft.drop(lambda replica: reasons.get(replica.url, ""))


def _drop_dead(instance: Instance, drafts: list[_Draft]) -> None:
    """Ask the two best servers of each file whether they are there, and go on to others only where they are not."""
    while True:
        unknown: dict[probe.Endpoint, Replica] = {}
        for draft in drafts:
            draft.drop(_dead)
            if draft.candidates and draft.candidates[0].scheme != "file":
                best = [replica for replica in draft.candidates if replica.scheme != "file"][:2]
                asked = {probe.endpoint(replica): replica for replica in reversed(best)}
                unknown.update({where: replica for where, replica in asked.items() if probe.verdict(where) is None})
        if not unknown:
            return
        probe.probe(unknown.values(), instance.storage.redirects_to_http)


def _through_lake(instance: Instance, drafts: list[_Draft]) -> None:
    """Take ``rucio://`` for files whose storages only ask for credentials, where those of the instance are accepted."""
    asking: dict[int, list[Replica]] = {}
    for number, draft in enumerate(drafts):
        if not draft.candidates:
            asking[number] = [left.replica for left in draft.left_out if probe.wants_credentials(left.reason)]
    sizes = {number: row.bytes for number in asking if (row := drafts[number].row)}
    refusals = probe.refusals(
        [(replica, sizes[number]) for number, replicas in asking.items() for replica in replicas], instance
    )
    for number, replicas in asking.items():
        draft = drafts[number]
        why = {replica: refusals[replica.rse, replica.endpoint] for replica in replicas}
        accepted = [replica for replica in replicas if not why[replica]]
        draft.candidates = [Replica(each.rse, lake_url(instance.name, draft.did)) for each in accepted[:1]]
        draft.left_out = [
            LeftOut(left.replica, f"{left.replica.endpoint} {why[left.replica]}") if why.get(left.replica) else left
            for left in draft.left_out
        ]


_DOWN = ("did not answer", "refuses connections", "cannot be reached", "closed the connection")


def _put_dead_last(instance: Instance, drafts: list[_Draft]) -> None:
    """Ask the two best servers of each file whether they are there; a download goes to others first, if they are not.

    It brings its own credentials and needs no parts of files, so whatever else a probe says is of no matter to it.
    """
    unknown: dict[probe.Endpoint, Replica] = {}
    for draft in drafts:
        best = [replica for replica in draft.candidates if replica.scheme in known_schemes.PROBED][:2]
        unknown.update({probe.endpoint(it): it for it in best if probe.verdict(probe.endpoint(it)) is None})
    if unknown:
        probe.probe(unknown.values(), instance.storage.redirects_to_http)
    for draft in drafts:
        draft.candidates.sort(key=lambda it: (probe.verdict(probe.endpoint(it)) or "").startswith(_DOWN))


def _dead(replica: Replica) -> str:
    if replica.scheme in ("file", "rucio"):
        return ""
    reason = probe.verdict(probe.endpoint(replica))
    return f"{replica.endpoint} {reason}" if reason else ""


# ------------------------------------------------------------------------------------------------ what to say


def _missing(lake: Lake, request: Request, drafts: list[_Draft]) -> dict[DID, str]:
    """Say for each file without a usable replica why."""
    silent = [draft.did for draft in drafts if not draft.left_out]
    blocked = {row.did: row for row in lake.replicas(silent, blocked=True)} if silent else {}
    readable = lake.rses() if blocked else {}
    reasons = {}
    for draft in drafts:
        telling = [left for left in draft.left_out if _NOT_ASKED_FOR not in left.reason] or draft.left_out
        words = {f"{left.replica.rse}: {left.reason}": None for left in telling}
        if row := blocked.get(draft.did):
            for rse in row.states:
                reason = (
                    "it does not fit the RSE expression" if readable.get(rse, True) else "it is blocked for reading"
                )
                words[f"{rse}: {reason}"] = None
        reasons[draft.did] = "; ".join(words) or "Rucio has no replica of it"
    return reasons


def _unavailable(missing: dict[DID, str], total: int, instance: Instance) -> FilesUnavailable:
    """Make one error of all missing files: a few by name, the reasons once each."""
    shown = list(missing)[:3]
    more = f" and {len(missing) - len(shown):,} more" if len(missing) > len(shown) else ""
    why = list(dict.fromkeys(reason for reasons in missing.values() for reason in reasons.split("; ")))
    also = "; and others" if len(why) > 3 else ""
    files = "1 file" if total == 1 else f"{len(missing):,} of {total:,} files"
    remedy = "Ask for a copy on disk with a rule, or try another --rse or --scheme."
    if len(missing) < total:
        remedy = "Attach the others with --allow-missing, or ask for a copy on disk with a rule."
    return FilesUnavailable(
        f"{files} cannot be read from here: {', '.join(map(str, shown))}{more}. Why: {'; '.join(why[:3])}{also}.",
        remedy,
        reasons={str(did): reason for did, reason in missing.items()},
    )


def _notes(files: tuple[ResolvedFile, ...]) -> list[str]:
    """Say what a user should know of how the files will be read."""
    notes = []
    schemes = {file.replica.scheme for file in files}
    if "rucio" in schemes:
        count = sum(file.replica.scheme == "rucio" for file in files)
        which = f"{count:,} of {len(files):,} files are" if count < len(files) else "The files are"
        notes.append(
            f"{which} read as rucio://, since their storages ask for credentials that a plain URL cannot carry."
        )
    if "root" in schemes and (broken := known_schemes.broken_uproot()):
        notes.append(
            f"uproot {broken} cannot iterate over root:// URLs: install another version, or add --access lake."
        )
    if "root" not in schemes and (reason := known_schemes.unreadable("root")):
        offered = any(left.replica.scheme == "root" for file in files for left in file.left_out)
        notes += [f"{reason[0].upper()}{reason[1:]}; took {', '.join(sorted(schemes))} instead."] if offered else []
    return notes
