"""The replicas of very many files: worked out here where that can be shown to be right, else asked of Rucio.

To list replicas costs Rucio most of a millisecond a file. To count what an RSE has of a dataset costs it next to
nothing, and where a deterministic RSE has all of it, a PFN follows from the name of a file. What makes it sure:

- *Which replicas there are* is no guess: Rucio counts as many available replicas on an RSE as the dataset has files (and
  as many bytes), and lists those in other states or on other RSEs, if any. Files that have such are asked for.
- *What holds for an RSE* (its protocols, domain, priorities, order, whether it is blocked or fits the RSE expression)
  holds for all its files, and is taken from what Rucio says of some; and their PFNs must be what the settings of the
  RSE and its algorithm make of their names, to the letter. Proxies, caches and signatures fail that.
- *What may differ from file to file* is the path alone. Only algorithms of Rucio's own are trusted, on files from all
  over the dataset, with the oddest names, of each scope. What can slip through are single files that were registered
  with a path of their own when their RSE was not deterministic yet.

With any doubt the files of a dataset are asked for, in several requests side by side.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, NotFound
from rucio_lab.core.lake import MOST_DIDS, FileReplicas, Lake, Pfn
from rucio_lab.core.model import DidInfo
from rucio_lab.core.parallel import side_by_side
from rucio_lab.core.rucio_api import RSEDeterministicTranslation, chunks

MANY = 500
"""Datasets with fewer files are asked for."""

LEAST_SAMPLE, MOST_SAMPLE = 100, 800
"""Of so many files, one in a hundred in between, Rucio is asked for the replicas to compare with."""

_MOST_ODD = 100
_MOST_SCOPES = 20
_ALGORITHMS = ("hash", "identity")
_IMPLEMENTATIONS = "rucio.rse.protocols."
_RSE_NAME = re.compile(r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*")  # what an RSE expression takes for a name
_BEHIND_PROXIES = {"root", "http", "https"}

def replicas_of_datasets(
    lake: Lake, datasets: Mapping[DID, Sequence[DidInfo]], *, rse: str = "", site: str = ""
) -> Iterator[FileReplicas]:
    """Give the replicas of all files of some datasets, as `Lake.replicas` does.

    Parameters
    ----------
    lake
        Whom to ask.
    datasets
        Each with all its files, as `Lake.files_of` lists them.
    rse, site
        As for `Lake.replicas`.
    """
    surveyed = _survey_all(lake, [did for did, files in datasets.items() if len(files) >= MANY], datasets, rse, site)
    samples = {survey.dataset: _sample(datasets[survey.dataset], survey.others) for survey in surveyed}
    asked = dict.fromkeys(did for sample in samples.values() for did in sample)
    known = {row.did: row for row in replicas_of_files(lake, list(asked), rse=rse, site=site, archives=False)}
    yield from known.values()
    settings: dict[str, dict[str, Any]] = {}
    for survey in surveyed:
        rows = [known[did] for did in samples[survey.dataset] if did in known]
        pattern = None
        if len(rows) == len(samples[survey.dataset]):
            pattern = _find_pattern(lake, survey, rows, datasets[survey.dataset], site, settings)
        if pattern is None:
            continue
        for file in datasets[survey.dataset]:
            if file.did not in survey.others and file.did not in known:
                known[file.did] = row = pattern.row(file)
                yield row
    rest = dict.fromkeys(file.did for files in datasets.values() for file in files if file.did not in known)
    yield from replicas_of_files(lake, list(rest), rse=rse, site=site, archives=False)


def replicas_of_files(
    lake: Lake, files: Sequence[DID], *, rse: str = "", site: str = "", archives: bool = True
) -> Iterator[FileReplicas]:
    """Ask for the replicas of files, in several requests side by side.

    Parameters
    ----------
    lake
        Whom to ask.
    files
        Only files: of a dataset, Rucio lists all.
    rse, site, archives
        As for `Lake.replicas`.
    """

    def ask(some: list[DID], left: threading.Event) -> list[FileReplicas]:
        with closing(lake.replicas(some, rse=rse, site=site, archives=archives)) as rows:
            return list(_until(left, rows))

    calls = [partial(ask, some) for some in chunks(files, MOST_DIDS)]
    with closing(side_by_side(lake.instance, calls)) as answers:
        for rows in answers:
            yield from rows


def _until(left: threading.Event, rows: Iterator[FileReplicas]) -> Iterator[FileReplicas]:
    for row in rows:
        if left.is_set():
            return
        yield row


# ------------------------------------------------------------------------------------------------ which replicas


@dataclass(frozen=True)
class _Survey:
    """What Rucio says of the replicas of a dataset as a whole.

    Attributes
    ----------
    dataset
        Which.
    rses
        Those where all its files are AVAILABLE, that fit the RSE expression and are not blocked.
    others
        The files that have replicas on other RSEs, in whatever state.
    """

    dataset: DID
    rses: frozenset[str]
    others: frozenset[DID]


def _survey_all(
    lake: Lake, large: Sequence[DID], datasets: Mapping[DID, Sequence[DidInfo]], rse: str, site: str
) -> list[_Survey]:
    def survey(dataset: DID, left: threading.Event) -> _Survey | None:
        return _survey(lake, dataset, datasets[dataset], rse, site, left)

    with closing(side_by_side(lake.instance, [partial(survey, dataset) for dataset in large])) as answers:
        return [found for found in answers if found is not None]


def _survey(
    lake: Lake, dataset: DID, files: Sequence[DidInfo], rse: str, site: str, left: threading.Event
) -> _Survey | None:
    """Find where all of a dataset is, and which of its files have replicas elsewhere, too; None where that is no help.

    That an RSE has all of it is told by numbers: an archive that holds files of the dataset counts a second time.
    """
    count, size = len({file.did for file in files}), sum(file.bytes or 0 for file in files)
    complete = frozenset(
        name
        for name, holding in lake.holdings_of(dataset).items()
        if (holding.files, holding.available, holding.bytes) == (len(files), count, size)
    )
    if not complete or count != len(files) or not all(map(_RSE_NAME.fullmatch, complete)):
        return None
    names = "|".join(complete)
    try:
        named = lake.rses(names)
        readable = frozenset(name for name, yes in (lake.rses(f"({rse})&({names})") if rse else named).items() if yes)
    except BadRequest:
        return None
    if named.keys() != complete or not readable:  # an attribute of an RSE can be named like another RSE
        return None
    elsewhere = "\\".join([f"({rse})" if rse else "*", *sorted(complete)])
    others: set[DID] = set()
    try:
        with closing(lake.replicas([dataset], rse=elsewhere, site=site)) as rows:
            for row in _until(left, rows):
                others.add(row.did)
                if len(others) > count // 10:
                    return None
    except BadRequest:  # no RSE is left, or the user's expression makes no sense: whom it concerns will ask again
        return None
    return _Survey(dataset, readable, frozenset(others))


# ------------------------------------------------------------------------------------------------ which PFNs


def _sample(files: Sequence[DidInfo], others: frozenset[DID]) -> list[DID]:
    """Choose files to ask for: one at random from each part of the dataset, the ends of each scope, the oddest names."""
    dids = sorted(file.did for file in files if file.did not in others)
    parts = min(max(len(dids) // 100, LEAST_SAMPLE), MOST_SAMPLE)
    bounds = [len(dids) * part // parts for part in range(parts + 1)]
    chosen = [
        dids[random.randrange(begin, end)]  # noqa: S311 - nobody is to be kept from guessing it
        for begin, end in zip(bounds, bounds[1:], strict=False)
        if end > begin
    ]
    scopes: dict[str, list[DID]] = {}
    odd: dict[str, DID] = {}
    for did in dids:
        scopes.setdefault(did.scope, []).append(did)
        for character in set(did.name):
            if not (character.isascii() and character.isalnum()):
                odd.setdefault(character, did)
    ends = [did for its in scopes.values() for did in (its[0], its[-1])]
    if dids:
        ends += [min(dids, key=lambda did: len(did.name)), max(dids, key=lambda did: len(did.name))]
    return list(dict.fromkeys([*ends, *list(odd.values())[:_MOST_ODD], *chosen]))


@dataclass(frozen=True)
class _Template:
    """One PFN of every file of a dataset: all but the path is the same."""

    base: str
    algorithm: str
    rse: str
    rse_type: str
    domain: str
    priority: int


class _Pattern:
    """What the replicas of all files of a dataset have in common."""

    def __init__(self, templates: Sequence[_Template], states: dict[str, str]) -> None:
        self._templates = templates
        self._states = states
        self._paths = {each.algorithm: _translator(each.algorithm) for each in templates}

    def row(self, file: DidInfo) -> FileReplicas:
        """Make what Rucio would answer."""
        paths = {algorithm: path(*file.did) for algorithm, path in self._paths.items()}
        pfns = tuple(
            Pfn(each.base + paths[each.algorithm], each.rse, each.rse_type, each.domain, each.priority)
            for each in self._templates
        )
        return FileReplicas(file.did, file.bytes or 0, file.adler32, pfns, self._states)


def _find_pattern(
    lake: Lake,
    survey: _Survey,
    rows: Sequence[FileReplicas],
    files: Sequence[DidInfo],
    site: str,
    settings: dict[str, dict[str, Any]],
) -> _Pattern | None:
    """Find what the answers for some files have in common, and check that it makes each of them; None where not."""
    by_did = {file.did: file for file in files}
    if not rows or len({did.scope for did in by_did}) > _MOST_SCOPES:
        return None
    first = rows[0]
    if first.states != dict.fromkeys(survey.rses, "AVAILABLE"):
        return None
    for name in first.states.keys() - settings.keys():
        try:
            settings[name] = lake.rse(name)
        except NotFound:
            return None
    templates = [_template(pfn, first.did, settings[pfn.rse]) for pfn in first.pfns]
    found = [template for template in templates if template is not None]
    if len(found) < len(templates) or not _in_one_order(found):
        return None
    if site and any(each.domain == "wan" and each.base.partition(":")[0] in _BEHIND_PROXIES for each in found):
        return None  # a site can have a cache that Rucio puts before some files
    pattern = _Pattern(found, first.states)
    return pattern if all(pattern.row(by_did[row.did]) == row for row in rows) else None


def _in_one_order(templates: Iterable[_Template]) -> bool:
    """Whether the order of the PFNs cannot depend on the file.

    Rucio sorts by domain, priority and distance of the host, and what is equal then, as text: only where one PFN
    begins like the other, the rest of them decides.
    """
    bases = sorted(template.base for template in templates)
    return not any(after.startswith(before) for before, after in zip(bases, bases[1:], strict=False))


def _template(pfn: Pfn, did: DID, rse: Mapping[str, Any]) -> _Template | None:
    """Take a PFN apart, where it is what the RSE's settings say; None where it is not."""
    algorithm = rse.get("lfn2pfn_algorithm")
    if rse.get("deterministic") is not True or algorithm not in _ALGORITHMS:
        return None
    path = _translator(algorithm)(*did)
    base = pfn.url.removesuffix(path)
    if base == pfn.url or not any(_base(protocol) == base for protocol in rse["protocols"]):
        return None
    return _Template(base, algorithm, pfn.rse, pfn.rse_type, pfn.domain, pfn.priority)


def _base(protocol: Mapping[str, Any]) -> str:
    """Give what the PFNs of a protocol begin with; empty for one that is not Rucio's own.

    Source: ``lfns2pfns`` in rucio.rse.protocols, protocol.py and gfal.py.
    """
    if not str(protocol["impl"]).startswith(_IMPLEMENTATIONS):
        return ""
    prefix = f"/{protocol['prefix'].removeprefix('/')}".removesuffix("/") + "/"
    more = protocol.get("extended_attributes")
    service = more.get("web_service_path", "") if isinstance(more, dict) else ""
    port = f":{protocol['port']}" if protocol["port"] or ".gfal." not in protocol["impl"] else ""
    return f"{protocol['scheme']}://{protocol['hostname'].rpartition('://')[2]}{port}{service}{prefix}"


def _translator(algorithm: str) -> Callable[[str, str], str]:
    """Give the function that makes a path of scope and name."""
    # not through an instance, which wants a rucio.cfg and loads what that names
    function = RSEDeterministicTranslation._get_one_algorithm("lfn2pfn", algorithm)

    def path(scope: str, name: str) -> str:
        made: str = function(scope, name, "", {}, {})
        return made

    return path
