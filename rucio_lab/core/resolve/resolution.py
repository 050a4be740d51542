"""From DIDs to files that can be read from here.

The data flows one way: `resolve` expands the request to files (`expand`), asks Rucio for their replicas, leaves out
those that cannot be read here (`Sorter`) or turn out to be dead (`drop_dead`), and reports.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from rucio_lab.core.address import lake_url
from rucio_lab.core.catalogue import read_ahead
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.catalogue.replies import FileReplicas
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, FilesUnavailable
from rucio_lab.core.garbage import rarely_searched
from rucio_lab.core.model import DidInfo, Replica, Request, Resolution, ResolvedFile
from rucio_lab.core.reading import probe, xrootd
from rucio_lab.core.reasons import Cause, Reason
from rucio_lab.core.resolve.choose import (
    Draft,
    Sorter,
    check_mounts,
    drop_dead,
    put_copies_first,
    put_dead_last,
    through_lake,
)
from rucio_lab.core.resolve.expand import Tell, Wanted, expand, find_replicas
from rucio_lab.core.storage import readable_schemes


@rarely_searched()
def resolve(request: Request, tell: Tell = lambda *_: None) -> Resolution:
    """Find the replica to read for each file of some DIDs, without downloading anything.

    Parameters
    ----------
    request
        Which files are wanted, and how to read them.
    tell
        Is told about progress, in the calling thread. If it raises an exception, resolving ends at once, as after an
        interrupt, and no further requests are sent to Rucio.

    Returns
    -------
    Resolution
        The files, each with its replicas, best first, and why others were left out.

    Raises
    ------
    BadRequest
        If a DID, the RSE expression or the limit is malformed.
    NotFound
        If there is no such DID, if no DID matches a pattern, or if a DID has no files.
    FilesUnavailable
        If some files cannot be read from here and `Request.allow_missing` is not set, or if none can.
    RucioLabError
        If anything else goes wrong with Rucio; see `rucio_lab.core.errors`.
    """
    if not request.dids:
        raise BadRequest("No DID was given.", "Give one as scope:name, for example opendata13TeV:GamGam.")
    if request.limit is not None and request.limit < 1:
        raise BadRequest(f"A limit of {request.limit} leaves no file.", "Give 1 or more.")
    instance = load_instances().get(request.instance or None)
    choosy = bool(request.schemes or request.rse)
    usual = "auto" if choosy and instance.access == "lake" else instance.access
    request = replace(request, instance=instance.name, access=request.access or usual)
    lake = Lake(instance)
    if request.access == "lake" and choosy:
        raise BadRequest(
            "Access lake accepts no schemes and no RSE expression, because it chooses a replica when a file is opened.",
            "Leave them out, or set schemes and rse of the instance in rucio_lab.toml.",
        )
    if request.access != "lake":
        probe.prepare()
    wanted = expand(lake, request, tell)
    chosen = sorted(wanted.files)[: request.limit]
    if request.access == "lake":
        return _in_lake(instance, request, wanted, chosen)
    rows = find_replicas(lake, request, wanted, chosen, tell)
    drafts = _choose(instance, request, chosen, rows)
    files = tuple(draft.file(wanted.files[draft.did]) for draft in drafts if draft.candidates)
    missing = _missing(lake, request, [draft for draft in drafts if not draft.candidates])
    if missing and not (request.allow_missing and files):
        raise _unavailable(missing, len(chosen))
    if any(file.replica.scheme == "root" for file in files):
        xrootd.prepare()
    return Resolution(
        request=request,
        files=files,
        missing={did: "; ".join(reasons) for did, reasons in missing.items()},
        total=len(wanted.files),
        open=tuple(wanted.open),
        shared=sum(len(wanted.files[file.did]) > 1 for file in files),
        notes=(*wanted.notes, *_notes(files)),
    )


def _choose(instance: Instance, request: Request, chosen: list[DID], rows: dict[DID, FileReplicas]) -> list[Draft]:
    """Choose the replica of each file."""
    sorter = Sorter(instance, request)
    drafts = [sorter.draft(did, rows.get(did)) for did in chosen]
    check_mounts(drafts)
    free = request.access == "auto" and not (request.schemes or request.rse)
    if free:
        put_copies_first(instance, drafts)
    if request.access == "download":
        put_dead_last(instance, drafts)
    else:
        drop_dead(instance, drafts)
    if free:
        through_lake(instance, drafts)
    return drafts


def _in_lake(instance: Instance, request: Request, wanted: Wanted, chosen: list[DID]) -> Resolution:
    """Give addresses that are resolved when they are opened; no replicas are looked up now."""
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
    replica = Replica.in_lake(lake_url(instance.name, info.did))
    return ResolvedFile(info.did, datasets, info.bytes or 0, info.adler32, (replica,))


def _missing(lake: Lake, request: Request, drafts: list[Draft]) -> dict[DID, list[str]]:
    """Say why each file has no usable replica: one text for each RSE."""
    silent = [draft.did for draft in drafts if not draft.left_out]
    blocked = {row.did: row for row in lake.replicas(silent, blocked=True)} if silent else {}
    readable = lake.rses() if blocked else {}
    outside = Cause.OUTSIDE_EXPRESSION if request.rse or lake.instance.rse else Cause.NOT_OFFERED
    reasons = {}
    for draft in drafts:
        telling = [left for left in draft.left_out if left.why.cause is not Cause.NOT_ASKED_FOR] or draft.left_out
        words = {f"{left.replica.rse}: {left.reason}": None for left in telling}
        if row := blocked.get(draft.did):
            for rse in row.states:
                cause = outside if readable.get(rse, True) else Cause.BLOCKED
                words[f"{rse}: {Reason(cause)}"] = None
        reasons[draft.did] = list(words) or [str(Reason(Cause.NO_REPLICA))]
    return reasons


def _unavailable(missing: dict[DID, list[str]], total: int) -> FilesUnavailable:
    """Make one error for all missing files: it names a few, and gives each reason once."""
    shown = list(missing)[:3]
    more = f" and {len(missing) - len(shown):,} more" if len(missing) > len(shown) else ""
    why = list(dict.fromkeys(reason for reasons in missing.values() for reason in reasons))
    also = "; and others" if len(why) > 3 else ""
    files = "1 file" if total == 1 else f"{len(missing):,} of {total:,} files"
    remedy = "Ask for a copy on disk with a rule, or try another --rse or --scheme."
    if len(missing) < total:
        remedy = "Attach the others with --allow-missing, or ask for a copy on disk with a rule."
    return FilesUnavailable(
        f"{files} cannot be read from here: {', '.join(map(str, shown))}{more}. Why: {'; '.join(why[:3])}{also}.",
        remedy,
        reasons={str(did): "; ".join(reasons) for did, reasons in missing.items()},
    )


_PLAIN_URL_LACKS = {
    Cause.IN_ARCHIVE: (
        "it is in a zip archive, which a plain URL cannot look into",
        "they are in zip archives, which a plain URL cannot look into",
    ),
    Cause.NEEDS_PROXY: ("readers of a plain URL do not use the proxy of the environment",) * 2,
    Cause.DOUBLE_COLON: ("fsspec takes a plain URL with :: for two addresses",) * 2,
}
_CREDENTIALS = (
    "its storage asks for credentials that a plain URL cannot carry",
    "their storages ask for credentials that a plain URL cannot carry",
)


def _why_rucio(file: ResolvedFile) -> tuple[str, str]:
    """Say why a file is read over ``rucio://``, if it is the only one, and if there are several."""
    causes = {left.why.cause for left in file.left_out}
    return next((words for cause, words in _PLAIN_URL_LACKS.items() if cause in causes), _CREDENTIALS)


def _through_rucio(number: int, total: int, one: str, several: str) -> str:
    everything = "The file" if number == 1 else "The files"
    which = f"{number:,} of {total:,} files" if number < total else everything
    return f"{which} {'is' if number == 1 else 'are'} read as rucio://, because {one if number == 1 else several}."


def _notes(files: tuple[ResolvedFile, ...]) -> list[str]:
    """Say what a user should know about how the files will be read."""
    notes = []
    schemes = {file.replica.scheme for file in files}
    through_rucio = Counter(_why_rucio(file) for file in files if file.replica.scheme == "rucio")
    notes += [_through_rucio(number, len(files), *why) for why, number in through_rucio.items()]
    if "root" in schemes and (broken := readable_schemes.broken_uproot()):
        notes.append(
            f"uproot {broken} cannot iterate over root:// URLs: install another version, or add --access lake."
        )
    if "root" not in schemes and (reason := readable_schemes.unreadable("root")):
        offered = any(left.replica.scheme == "root" for file in files for left in file.left_out)
        notes += [f"{reason[0].upper()}{reason[1:]}; using {', '.join(sorted(schemes))} instead."] if offered else []
    return notes
