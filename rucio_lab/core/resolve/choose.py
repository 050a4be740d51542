"""Which replica of a file to read: leave out what cannot be read from here, rank the rest, and probe servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from rucio_lab.core.address import lake_url
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.catalogue.replies import FileReplicas, Pfn
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.copies.verified import verified_copies
from rucio_lab.core.did import DID
from rucio_lab.core.model import LeftOut, Replica, Request, ResolvedFile
from rucio_lab.core.reading import probe, xrootd
from rucio_lab.core.reading.reader import UNKNOWN
from rucio_lab.core.reasons import Cause, Reason
from rucio_lab.core.storage import readable_schemes


def replicas_of(instance: Instance, dids: list[DID]) -> dict[DID, ReplicasNow]:
    """Give the replicas from which ``rucio://`` would read some files now, best first, and those left out."""
    found = {}
    for row in Lake(instance).replicas(dids, rse=instance.rse, site=instance.site):
        candidates, left_out = readable_replicas(instance, row)
        candidates.sort(key=lambda replica: bool(_dead(replica)))
        found[row.did] = ReplicasNow(candidates, left_out, row)
    return found


class ReplicasNow(NamedTuple):
    """The replicas of a file, those left out, and what Rucio says of the file."""

    candidates: list[Replica]
    left_out: list[LeftOut]
    row: FileReplicas


def readable_replicas(instance: Instance, row: FileReplicas) -> tuple[list[Replica], list[LeftOut]]:
    """Sort the replicas of a file as ``rucio://`` does, which has the credentials of the instance. Probes nothing.

    Returns
    -------
    list of Replica
        Replicas that can be read here, best first.
    list of LeftOut
        The others, and why.
    """
    draft = Sorter(instance, Request((), instance.name, "lake")).draft(row.did, row)
    put_copies_first(instance, [draft])
    return draft.candidates, draft.left_out


@dataclass
class Draft:
    """A file that is being resolved."""

    did: DID
    row: FileReplicas | None
    candidates: list[Replica]
    left_out: list[LeftOut]

    def drop(self, bad: Callable[[Replica], Reason | None]) -> None:
        """Leave out the candidates for which `bad` gives a reason."""
        kept = []
        for replica in self.candidates:
            if reason := bad(replica):
                self.left_out.append(LeftOut(replica, reason))
            else:
                kept.append(replica)
        self.candidates = kept

    def file(self, datasets: tuple[DID, ...]) -> ResolvedFile:
        """Make the result."""
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


class Sorter:
    """Decides which replicas of a file can be read here, and in which order."""

    def __init__(self, instance: Instance, request: Request) -> None:
        """Combine the settings of the instance with those of the request, which take precedence.

        If an instance has credentials or a CA of its own, ``auto`` gives no plain roots:// URL: XRootD's client would
        look for them elsewhere.
        """
        schemes = request.schemes or instance.schemes
        self._schemes = tuple(readable_schemes.SPELLINGS.get(scheme, scheme) for scheme in schemes)
        self._mounts = instance.mounts if request.access != "stream" else {}
        self._stream = request.access != "mount"
        storage = instance.storage
        ours = storage.token_file or storage.token_command or storage.proxy or storage.ca
        self._ours_for_roots = request.access == "auto" and bool(ours)
        self._may_be_lake = request.access == "auto" and not (request.schemes or request.rse)
        self._cache_endpoint = instance.storage.xcache.rstrip("/") if self._stream else ""
        self._download = request.access == "download"
        self._any_scheme = self._download and not request.schemes
        self._unpacks = request.access in ("lake", "download")
        self._no_protocol = (
            Reason(Cause.NO_PROTOCOL_AT_SITE, (instance.site,)) if instance.site else Reason(Cause.NO_PROTOCOL_OUTSIDE)
        )

    def draft(self, did: DID, row: FileReplicas | None) -> Draft:
        """Sort the replicas of a file, best first: mounted, then on the local network, then by scheme."""
        draft = Draft(did, row, [], [])
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
            left_out[LeftOut(Replica(rse, ""), self._no_protocol)] = None
        draft.left_out = list(left_out)
        draft.candidates = sorted(found.values(), key=self._rank)
        return draft

    def _rank(self, replica: Replica) -> tuple[bool, bool, bool, int, bool, int]:
        scheme = replica.scheme
        order = self._schemes.index(scheme) if scheme in self._schemes else len(self._schemes)
        cached = bool(self._cache_endpoint) and replica.endpoint == self._cache_endpoint
        archived = replica.domain == "zip"
        return archived, scheme != "file", replica.domain != "lan", order, not cached, replica.priority

    def _judge(self, did: DID, pfn: Pfn, state: str) -> Iterator[tuple[Replica, Reason | None]]:
        """Give a replica in all forms that readers accept, each with the reason if it cannot be read."""
        pfn = _without_options(pfn)
        scheme, _, rest = pfn.url.partition("://")
        scheme = readable_schemes.SPELLINGS.get(scheme, scheme)
        url = f"{scheme}://{_escaped(rest, did.name) if scheme in ('https', 'http') else rest}"
        replica = Replica(pfn.rse, url, pfn.url, pfn.domain, pfn.priority)
        if not _is_address(url):
            yield replica, Reason(Cause.BAD_ADDRESS)
        elif pfn.rse_type == "TAPE":
            yield replica, Reason(Cause.ON_TAPE)
        elif state != "AVAILABLE":
            yield replica, Reason(Cause.NOT_AVAILABLE, (state,))
        else:
            archived = Reason(Cause.IN_ARCHIVE) if pfn.domain == "zip" and not self._unpacks_from(scheme) else None
            path = self._mounted(pfn)
            if path:
                yield replace(replica, url=path), archived
            if scheme != "file" and self._stream:
                reason = self._against(scheme) or archived
                if scheme in ("root", "roots") and "?" in did.name:
                    reason = reason or Reason(Cause.QUESTION_MARK)
                ours = Reason(Cause.NEEDS_OURS) if scheme == "roots" and self._ours_for_roots else None
                if "::" in url and self._may_be_lake:
                    ours = Reason(Cause.DOUBLE_COLON)
                yield replica, reason or ours
                if scheme == "root" and self._is_asked_for(scheme) and self._through_cache(replica):
                    yield replace(replica, url=f"{self._cache_endpoint}//{url}"), reason
            elif not path:
                yield replica, Reason(Cause.NOT_MOUNTED)

    def _unpacks_from(self, scheme: str) -> bool:
        """Whether files can be read out of archives: not by readers that only get an address, nor by other tools."""
        return self._unpacks and scheme in ("file", *readable_schemes.READABLE)

    def _is_asked_for(self, scheme: str) -> bool:
        return self._any_scheme or scheme in self._schemes

    def _against(self, scheme: str) -> Reason | None:
        """Say why a scheme is not used; None if it is."""
        if not self._is_asked_for(scheme):
            return Reason(Cause.NOT_ASKED_FOR, (scheme, ", ".join(self._schemes)))
        unreadable = readable_schemes.not_downloadable if self._download else readable_schemes.unreadable
        words = unreadable(scheme)
        return Reason(Cause.NO_READER, (words,)) if words else None

    def _through_cache(self, replica: Replica) -> bool:
        """Whether to read a replica through the XCache: not if it already is, and not on the local network."""
        there_already = replica.endpoint == self._cache_endpoint or "root://" in replica.url.removeprefix("root://")
        return bool(self._cache_endpoint) and replica.domain != "lan" and not there_already

    def _mounted(self, pfn: Pfn) -> str:
        """Give the local path of a PFN on a mounted RSE; empty if there is none, or if it is outside the folder."""
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
        return server.port != 0 and not (server.hostname or "").startswith("-")  # programs would take it as an option
    except ValueError:
        return False


def _without_options(pfn: Pfn) -> Pfn:
    """Remove options for tools: Rucio adds some for its own, and XRootD's client obeys all.

    One of them (``xrdcl.unzip``) names a file in an archive. Only xrdcp follows it: readers would get the archive.
    """
    scheme, _, rest = pfn.url.partition("://")
    rest = rest.partition("&#multirange=")[0]
    if readable_schemes.SPELLINGS.get(scheme, scheme) in ("root", "roots") or pfn.domain == "zip":
        rest = xrootd.without_options(rest)
    return pfn._replace(url=f"{scheme}://{rest}")


def _escaped(rest: str, name: str) -> str:
    """Escape characters of a name that have a meaning in web addresses, or ``::`` to fsspec; Rucio does not."""
    if not rest.endswith(name):
        return rest
    return rest.removesuffix(name) + quote(name, safe="/:@!$&'()*+,;=").replace("::", "%3A%3A")


def put_copies_first(instance: Instance, drafts: list[Draft]) -> None:
    """Prefer copies that were downloaded and verified before. Looks only at the disk."""
    copies = verified_copies(instance, [draft.row for draft in drafts if draft.row])
    for draft in drafts:
        if draft.did in copies:
            draft.candidates.insert(0, Replica.of_copy(copies[draft.did]))


def check_mounts(drafts: list[Draft]) -> None:
    """Drop local paths that cannot be read, or do not have the size that Rucio has registered."""
    mounts: dict[str, dict[str, int]] = {}
    for draft in drafts:
        for replica in draft.candidates:
            if replica.scheme == "file" and replica.domain != "zip" and draft.row:
                mounts.setdefault(replica.rse, {})[replica.url] = draft.row.bytes
    reasons = {}
    for expected in mounts.values():  # one mount after another, so that a dead one does not block the others
        for path, size in zip(expected, probe.sizes_on_disk(list(expected)), strict=True):
            if isinstance(size, str):
                reasons[path] = Reason(Cause.MOUNT_UNREADABLE, (path, size))
            elif size != expected[path]:
                reasons[path] = Reason(Cause.MOUNT_WRONG_SIZE, (path, str(size), str(expected[path])))
    for draft in drafts:
        draft.drop(lambda replica: reasons.get(replica.url))


def drop_dead(instance: Instance, drafts: list[Draft]) -> None:
    """Probe the two best servers of each file, and drop the dead ones; probe others only in their place."""
    while True:
        unknown: dict[probe.Endpoint, Replica] = {}
        for draft in drafts:
            draft.drop(_dead)
            if draft.candidates and draft.candidates[0].scheme != "file":
                best = [replica for replica in draft.candidates if replica.scheme != "file"][:2]
                asked = {probe.endpoint(replica): replica for replica in reversed(best)}
                unknown.update({where: replica for where, replica in asked.items() if not probe.is_known(where)})
        if not unknown:
            return
        probe.probe(unknown.values(), instance.storage.redirects_to_http)


def through_lake(instance: Instance, drafts: list[Draft]) -> None:
    """Use ``rucio://`` for files that need credentials, if their storages accept those of the instance.

    The same for files in archives.
    """
    asking: dict[int, list[Replica]] = {}
    for number, draft in enumerate(drafts):
        if not draft.candidates:
            asking[number] = [left.replica for left in draft.left_out if left.why.wants_rucio]
    sizes = {number: row.bytes for number in asking if (row := drafts[number].row)}
    refusals = probe.refusals(
        [_to_ask(replica, sizes[number]) for number, replicas in asking.items() for replica in replicas], instance
    )
    for number, replicas in asking.items():
        draft = drafts[number]
        why = {replica: refusals[replica.rse, replica.endpoint] for replica in replicas}
        accepted = [replica for replica in replicas if not why[replica]]
        draft.candidates = [Replica.in_lake(lake_url(instance.name, draft.did), each.rse) for each in accepted[:1]]
        draft.left_out = [
            LeftOut(left.replica, refusal) if (refusal := why.get(left.replica)) else left for left in draft.left_out
        ]


def _to_ask(replica: Replica, size: int) -> tuple[Replica, int]:
    """Ask for an archive itself, whatever its size."""
    return (replace(replica, domain="wan"), UNKNOWN) if replica.domain == "zip" else (replica, size)


def put_dead_last(instance: Instance, drafts: list[Draft]) -> None:
    """Probe the two best servers of each file, and put those that are down last, for a download.

    Anything else that a probe reports is no obstacle: a download has credentials, and does not need parts of files.
    """
    unknown: dict[probe.Endpoint, Replica] = {}
    for draft in drafts:
        best = [replica for replica in draft.candidates if replica.scheme in readable_schemes.PROBED][:2]
        unknown.update({probe.endpoint(it): it for it in best if not probe.is_known(probe.endpoint(it))})
    if unknown:
        probe.probe(unknown.values(), instance.storage.redirects_to_http)
    for draft in drafts:
        draft.candidates.sort(key=_is_down)


def _dead(replica: Replica) -> Reason | None:
    return None if replica.scheme in ("file", "rucio") else probe.fault_of(probe.endpoint(replica))


def _is_down(replica: Replica) -> bool:
    fault = _dead(replica)
    return fault is not None and fault.is_down
