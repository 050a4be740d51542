"""Download the files of DIDs, verified: resolve them, fetch them, and report the outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rucio_lab.core.config.instances import load_downloads, load_instances
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.copies.base_folder import checked_base, mark, tells_case_apart
from rucio_lab.core.copies.places import Place, place, places
from rucio_lab.core.copies.verified import forget
from rucio_lab.core.did import DID
from rucio_lab.core.errors import FilesUnavailable
from rucio_lab.core.model import Replica, Request, Resolution, ResolvedFile
from rucio_lab.core.resolve.choose import ReplicasNow, replicas_of
from rucio_lab.core.resolve.resolution import resolve
from rucio_lab.core.transfer.fetch import Fetcher
from rucio_lab.core.transfer.outcome import Outcome, Progress
from rucio_lab.core.words import count

Watch = Callable[[Progress], None]

_MOST_NAMES = 3
_said_of_locks: set[Path] = set()


@dataclass(frozen=True, slots=True)
class Target:
    """The folder that files are downloaded into.

    Attributes
    ----------
    base
        The folder.
    own
        Whether it is the configured folder, with a subfolder for each instance and scope, and not one that the user
        named.
    """

    base: Path
    own: bool

    @classmethod
    def of(cls, folder: str) -> Target:
        """Find the target of a download.

        Parameters
        ----------
        folder
            A folder that the user named; empty for the configured one.
        """
        return cls(checked_base(folder or load_downloads().folder), own=not folder)


def download(request: Request, watch: Watch = lambda _: None) -> Resolution:
    """Download the files of some DIDs to this machine.

    Parameters
    ----------
    request
        What to download, and into which folder.
    watch
        Is called with the progress several times a second.

    Returns
    -------
    Resolution
        The files. The first replica of each is the path on this machine.

    Raises
    ------
    FilesUnavailable
        If files failed and `Request.allow_missing` is not set, or if all failed. Files that were downloaded are kept.
    NoSpace
        If the disk is full or too small.
    RucioLabError
        As `rucio_lab.core.resolve.resolution.resolve`.
    """
    resolution = resolve_for_download(request)
    asked = replace(resolution.request, allow_missing=request.allow_missing)
    return download_resolution(replace(resolution, request=asked), watch)


def resolve_for_download(request: Request) -> Resolution:
    """Resolve DIDs to files. Files without a readable replica are listed as missing, which is not an error."""
    return resolve(replace(request, access="download", allow_missing=True))


def download_resolution(resolution: Resolution, watch: Watch = lambda _: None) -> Resolution:
    """Download the files of a resolution to this machine; see `download`."""
    request = resolution.request
    target = Target.of(request.folder)
    result = Download(resolution, target).run(watch)
    if result.missing and not (request.allow_missing and result.downloaded):
        raise _not_all(result, target)
    return replace(
        resolution,
        request=replace(request, access="download"),
        files=tuple(_local(outcome) for outcome in result.downloaded),
        missing=result.missing,
        notes=(*resolution.notes, *result.notes()),
    )


class Download:
    """The download of the files of a resolution.

    Parameters
    ----------
    resolution
        The files. Rucio is asked for the replicas of those that would be read over ``rucio://``.
    target
        The folder.

    Attributes
    ----------
    progress
        The progress, without the files that are missing in the resolution.
    """

    def __init__(self, resolution: Resolution, target: Target) -> None:
        instance = load_instances().get(resolution.request.instance)
        files = _remote_files(resolution.files, instance)
        wanted = _placed(files, target, instance.name)
        self._missing, self._target = resolution.missing, target
        self._fetcher = Fetcher(instance, wanted, target.base, parallel=load_downloads().parallel)
        self.progress = self._fetcher.progress

    def run(self, watch: Watch = lambda _: None) -> Result:
        """Fetch the files; see `rucio_lab.core.transfer.fetch.Fetcher.run`."""
        try:
            outcomes = self._fetcher.run(watch)
        finally:
            forget()
        downloaded = tuple(outcome for outcome in outcomes if outcome.state in ("there", "fetched"))
        failed = tuple(outcome for outcome in outcomes if outcome.state == "failed")
        missing = self._missing | {outcome.file.did: outcome.reason for outcome in failed}
        return Result(downloaded, failed, missing, self._target.base if self._fetcher.without_locks else None)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a download.

    Attributes
    ----------
    downloaded
        The files that are on this machine now, whether fetched or already there.
    failed
        The files that failed.
    missing
        All files that are not on this machine, with the reason: those that failed, and those without a readable
        replica.
    without_locks
        The folder, if its disk has no locks.
    """

    downloaded: tuple[Outcome, ...]
    failed: tuple[Outcome, ...]
    missing: dict[DID, str]
    without_locks: Path | None = None

    @property
    def total(self) -> int:
        """Number of files that were requested."""
        return len(self.downloaded) + len(self.missing)

    def share_missing(self) -> str:
        """Say how many files are missing, for example ``2 of 3 files``."""
        return "1 file" if self.total == 1 else f"{len(self.missing):,} of {count(self.total, 'file')}"

    def reasons(self) -> list[str]:
        """Give the reasons why files are missing, the most frequent first."""
        return [reason for reason, _ in Counter(self.missing.values()).most_common()]

    def notes(self) -> list[str]:
        """Say what a user should know: which replicas could not be used, and which files could not be checked."""
        notes = []
        faults: dict[str, list[DID]] = {}
        for outcome in self.downloaded:
            for fault in outcome.faults:
                faults.setdefault(str(fault), []).append(outcome.file.did)
        for fault_text, dids in list(faults.items())[:_MOST_NAMES]:
            notes.append(f"{fault_text}. {_names(dids)} came from another replica, or from the same one later.")
        if len(faults) > _MOST_NAMES:
            notes.append(f"Not shown: {count(len(faults) - _MOST_NAMES, 'more failure')} of replicas.")
        if unchecked := self.unchecked():
            notes.append(f"Rucio has no checksum of {_names(unchecked)}: only the size was checked.")
        if self.without_locks and self.without_locks not in _said_of_locks:
            _said_of_locks.add(self.without_locks)
            notes.append(
                f"The disk of {self.without_locks} has no file locks. So two downloads of the same file at once both "
                "fetch it, and a file whose download was killed is fetched from its beginning."
            )
        return notes

    def unchecked(self) -> list[DID]:
        """Give the files that could not be verified, because Rucio has no checksum."""
        return [outcome.file.did for outcome in self.downloaded if not outcome.verified]


def _placed(files: Sequence[ResolvedFile], target: Target, instance: str) -> list[tuple[ResolvedFile, Place]]:
    """Give each file a place of its own."""
    above = instance if target.own else ""
    if target.own:
        mark(target.base, instance)
    wanted = [(file.did, place(file.did, file.datasets[0] if file.datasets else None, above)) for file in files]
    where = places(wanted, case_sensitive=tells_case_apart(target.base))
    return [(file, where[file.did]) for file in files]


def _remote_files(files: Sequence[ResolvedFile], instance: Instance) -> list[ResolvedFile]:
    """Give the files with only their remote replicas. Rucio is asked for those that are read over ``rucio://``."""
    known = [
        replace(file, replicas=tuple(it for it in file.replicas if it.kind in ("direct", "mounted"))) for file in files
    ]
    asked = [file.did for file in known if not file.replicas]
    found = replicas_of(instance, asked) if asked else {}
    return [_as_found(file, found[file.did]) if file.did in found else file for file in known]


def _as_found(file: ResolvedFile, found: ReplicasNow) -> ResolvedFile:
    remote = tuple(replica for replica in found.candidates if replica.kind != "copy")
    return replace(file, replicas=remote, adler32=found.row.adler32, md5=found.row.md5)


def _local(outcome: Outcome) -> ResolvedFile:
    """Put the copy on this machine before the replicas."""
    return replace(outcome.file, replicas=(Replica.of_copy(outcome.path), *outcome.file.replicas))


def _names(dids: Sequence[DID]) -> str:
    shown = ", ".join(map(str, dids[:_MOST_NAMES]))
    return f"{shown} and {len(dids) - _MOST_NAMES:,} more" if len(dids) > _MOST_NAMES else shown


def _not_all(result: Result, target: Target) -> FilesUnavailable:
    reasons = result.reasons()
    why = "; ".join([*reasons[:_MOST_NAMES], *(["and others"] if len(reasons) > _MOST_NAMES else [])])
    rest = f" The others are in {target.base}." if result.downloaded else ""
    return FilesUnavailable(
        f"{result.share_missing()} could not be downloaded: {_names(list(result.missing))}. Why: {why}.{rest}",
        "Try again when this is fixed: downloaded files are kept and not fetched again.",
        reasons={str(did): reason for did, reason in result.missing.items()},
    )
