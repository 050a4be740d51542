"""From DIDs to verified files on this machine: resolve, bring, and say what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rucio_lab.core.config.instances import Instance, load_downloads, load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import FilesUnavailable
from rucio_lab.core.model import Replica, Request, Resolution, ResolvedFile
from rucio_lab.core.resolve.choose import replicas_of
from rucio_lab.core.resolve.resolution import resolve
from rucio_lab.core.transfer.fetch import Outcome, Progress, Transfer
from rucio_lab.core.transfer.places import checked_base, mark, place, places, tells_case_apart

Watch = Callable[[Progress], None]

_MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class Target:
    """Where files go.

    Attributes
    ----------
    base
        The folder.
    own
        Whether it is the configured one, with a folder for each instance and scope, and not one that the user named.
    """

    base: Path
    own: bool

    @classmethod
    def of(cls, folder: str) -> Target:
        """Find the folder for downloads.

        Parameters
        ----------
        folder
            One that the user named; empty for the configured one.
        """
        return cls(checked_base(folder or load_downloads().folder), own=not folder)


def download(request: Request, watch: Watch = lambda _: None) -> Resolution:
    """Bring the files of some DIDs to this machine.

    Parameters
    ----------
    request
        What is wanted, and where to.
    watch
        Is told the progress several times a second.

    Returns
    -------
    Resolution
        The files, whose first replica is the path on this machine.

    Raises
    ------
    FilesUnavailable
        If files cannot be had, and `Request.allow_missing` is not set (or none can). The others are there then.
    NoSpace
        If the disk is full, or too small.
    RucioLabError
        As `rucio_lab.core.resolve.resolution.resolve`.
    """
    resolution = resolve(replace(request, access="download", allow_missing=True))  # the rest is to arrive
    return bring(replace(resolution, request=replace(resolution.request, allow_missing=request.allow_missing)), watch)


def bring(resolution: Resolution, watch: Watch = lambda _: None) -> Resolution:
    """Bring the files of a resolution to this machine; see `download`."""
    request = resolution.request
    target = Target.of(request.folder)
    instance = load_instances().get(request.instance)
    outcomes = transfer_of(remote_files(resolution.files, instance), instance, target).run(watch)
    came = tuple(_local(outcome) for outcome in outcomes if outcome.state in ("there", "fetched"))
    missing = dict(resolution.missing)
    missing |= {outcome.file.did: outcome.reason for outcome in outcomes if outcome.state == "failed"}
    if missing and not (request.allow_missing and came):
        raise _not_all(missing, len(came) + len(missing), target)
    return replace(
        resolution,
        request=replace(request, access="download"),
        files=came,
        missing=missing,
        notes=(*resolution.notes, *notes_of(outcomes)),
    )


def transfer_of(files: Sequence[ResolvedFile], instance: Instance, target: Target) -> Transfer:
    """Prepare the transfer of some files, each to its own place."""
    name = instance.name if target.own else ""
    if target.own:
        mark(target.base, name)
    wanted = [(file.did, place(file.did, file.datasets[0] if file.datasets else None, name)) for file in files]
    where = places(wanted, case_sensitive=tells_case_apart(target.base))
    parallel = load_downloads().parallel
    return Transfer(instance, [(file, where[file.did]) for file in files], target.base, parallel=parallel)


def remote_files(files: Sequence[ResolvedFile], instance: Instance) -> list[ResolvedFile]:
    """Give the files with their remote replicas alone; Rucio is asked for those that are read over ``rucio://``."""
    known = [
        replace(file, replicas=tuple(it for it in file.replicas if it.kind in ("direct", "mounted"))) for file in files
    ]
    asked = [file.did for file in known if not file.replicas]
    found = replicas_of(instance, asked) if asked else {}
    return [replace(file, replicas=tuple(found.get(file.did, ([], []))[0]) or file.replicas) for file in known]


def _local(outcome: Outcome) -> ResolvedFile:
    """Put the copy on this machine before the replicas."""
    return replace(outcome.file, replicas=(Replica.of_copy(outcome.path), *outcome.file.replicas))


def notes_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Say what a user should know of files that came: replicas that were of no use, and what could not be checked."""
    notes = []
    came = [outcome for outcome in outcomes if outcome.state in ("there", "fetched")]
    faults: dict[str, list[DID]] = {}
    for outcome in came:
        for fault in outcome.faults:
            faults.setdefault(str(fault), []).append(outcome.file.did)
    for words, dids in list(faults.items())[:_MOST_NAMES]:
        notes.append(f"{words}. It was not read from for {_names(dids)}; another replica was, or the same one later.")
    if len(faults) > _MOST_NAMES:
        notes.append(f"There were {len(faults) - _MOST_NAMES:,} more such failures of replicas.")
    unchecked = [outcome.file.did for outcome in came if not (outcome.file.adler32 or outcome.file.md5)]
    if unchecked:
        notes.append(f"Rucio has no checksum of {_names(unchecked)}: only the size was checked.")
    return notes


def _names(dids: Sequence[DID]) -> str:
    shown = ", ".join(map(str, dids[:_MOST_NAMES]))
    return f"{shown} and {len(dids) - _MOST_NAMES:,} more" if len(dids) > _MOST_NAMES else shown


def _not_all(failed: dict[DID, str], total: int, target: Target) -> FilesUnavailable:
    why = [reason for reason, _ in Counter(failed.values()).most_common(_MOST_NAMES)]
    also = "; and others" if len(set(failed.values())) > _MOST_NAMES else ""
    files = "1 file" if total == 1 else f"{len(failed):,} of {total:,} files"
    rest = f" The others are in {target.base}." if len(failed) < total else ""
    return FilesUnavailable(
        f"{files} could not be downloaded: {_names(list(failed))}. Why: {'; '.join(why)}{also}.{rest}",
        "Ask again when that is mended: what came is kept, and is not fetched again.",
        reasons={str(did): reason for did, reason in failed.items()},
    )
