"""The replicas of very many files: worked out here where that can be shown to be right, else asked of Rucio.

To list replicas costs Rucio most of a millisecond a file. To count what an RSE has of a dataset costs it next to
nothing, and where a deterministic RSE has all of it, a PFN follows from the name of a file. What makes it sure:

- *Which replicas there are* is no guess: Rucio counts as many available replicas on an RSE as the dataset has files, of
  as many bytes, and lists what there is on other RSEs, in whatever state. Files that have such replicas are asked for.
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
import string
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.catalogue.parallel import side_by_side
from rucio_lab.core.catalogue.replies import FileReplicas, Pfn, Protocol, Rse
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, LakeBroken, LakeTooSlow, NotFound, Refused
from rucio_lab.core.model import DidInfo
from rucio_lab.core.upstream.rucio_api import RSEDeterministicTranslation, chunks

MANY = 500
"""Datasets with fewer files are asked for."""

LEAST_SAMPLE, MOST_SAMPLE = 100, 800
"""Of so many files, one in a hundred in between, Rucio is asked for the replicas to compare with."""

AT_ONCE = 250
"""So many files are asked for in one request: few enough to show how it goes on, and to stop soon."""

_MOST_ODD = 100
_USUAL = string.ascii_letters + string.digits
_MOST_SCOPES = 20
_ALGORITHMS = ("hash", "identity")
_IMPLEMENTATIONS = "rucio.rse.protocols."
_RSE_NAME = re.compile(r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*")  # what an RSE expression takes for a name


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
    shortcut = _Shortcut(lake, datasets, rse, site)
    known: set[DID] = set()
    for row in shortcut.rows():
        known.add(row.did)
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

    calls = [partial(ask, some) for some in chunks(files, AT_ONCE)]
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
    sample
        The files of which Rucio is asked for the replicas to compare with.
    """

    dataset: DID
    rses: frozenset[str]
    others: frozenset[DID]
    sample: tuple[DID, ...]


_NO_HELP = (BadRequest, NotFound, Refused, LakeBroken, LakeTooSlow)
"""Errors of questions that only the shortcut asks: the sure way may still be open."""


class _Shortcut:
    """Works out the replicas of those datasets where it is certain what they are."""

    def __init__(self, lake: Lake, datasets: Mapping[DID, Sequence[DidInfo]], rse: str, site: str) -> None:
        self._lake = lake
        self._datasets = datasets
        self._rse = rse
        self._site = site
        self._settings: dict[str, Rse] = {}

    def rows(self) -> Iterator[FileReplicas]:
        """Give the replicas of files of which they are certain, each file once."""
        surveys = self._surveys()
        sample = list(dict.fromkeys(did for survey in surveys for did in survey.sample))
        asked = replicas_of_files(self._lake, sample, rse=self._rse, site=self._site, archives=False)
        rows = {row.did: row for row in asked}
        yield from rows.values()
        done = set(rows)
        for survey in surveys:
            if pattern := self._pattern(survey, [rows[did] for did in survey.sample if did in rows]):
                for file in self._datasets[survey.dataset]:
                    if file.did not in survey.others and file.did not in done:
                        done.add(file.did)
                        yield pattern.row(file)

    def _surveys(self) -> list[_Survey]:
        def survey(dataset: DID, left: threading.Event) -> _Survey | None:
            with suppress(*_NO_HELP):
                return self._survey(dataset, left)
            return None

        large = [partial(survey, dataset) for dataset, files in self._datasets.items() if len(files) >= MANY]
        with closing(side_by_side(self._lake.instance, large)) as answers:
            return [found for found in answers if found is not None]

    def _survey(self, dataset: DID, left: threading.Event) -> _Survey | None:
        """Find where all of a dataset is, and which of its files are elsewhere, too; None if that is no help.

        That an RSE has all of it is told by numbers: an archive that holds files of the dataset counts a second time.
        """
        files = self._datasets[dataset]
        whole = (len(files), len(files), sum(file.bytes or 0 for file in files))
        holdings = self._lake.holdings_of(dataset).values()
        complete = {its.rse for its in holdings if (its.files, its.available, its.bytes) == whole}
        if not complete or not all(map(_RSE_NAME.fullmatch, complete)) or len({file.did for file in files}) < whole[0]:
            return None
        names = "|".join(sorted(complete))
        named = self._lake.rses(names)
        if named.keys() != complete:  # an attribute of another RSE has such a name
            return None
        fitting = self._lake.rses(f"({self._rse})&({names})") if self._rse else named
        others = self._elsewhere(dataset, complete, left)
        if others is None or len(others) > len(files) // 10:
            return None
        rses = frozenset(name for name, readable in fitting.items() if readable)
        return _Survey(dataset, rses, frozenset(others), tuple(_sample(files, others)))

    def _elsewhere(self, dataset: DID, complete: Set[str], left: threading.Event) -> set[DID] | None:
        """Find the files that have replicas on other RSEs; None if they are too many to be asked for one by one."""
        most, found = len(self._datasets[dataset]) // 10, set[DID]()
        all_of_them = self._lake.rses(self._rse)
        if all_of_them.keys() <= complete:
            return found
        expression = "\\".join([f"({self._rse})" if self._rse else "*", *sorted(complete)])
        with closing(self._lake.replicas([dataset], rse=expression, site=self._site)) as rows:
            for row in _until(left, rows):
                found.add(row.did)
                if len(found) > most:
                    return None
        return found

    def _pattern(self, survey: _Survey, rows: Sequence[FileReplicas]) -> _Pattern | None:
        """Find what the answers for some files have in common, and check that it makes each of them."""
        scopes = {file.did.scope for file in self._datasets[survey.dataset]}
        if not rows or len(rows) < len(survey.sample) or len(scopes) > _MOST_SCOPES:
            return None
        first = rows[0]
        if first.states != dict.fromkeys(survey.rses, "AVAILABLE"):
            return None
        with suppress(*_NO_HELP):
            templates = [_template(pfn, first.did, self._settings_of(pfn.rse)) for pfn in first.pfns]
            found = [template for template in templates if template is not None]
            if (
                len(found) < len(templates)
                or not _in_one_order(found)
                or (self._site and any(map(_may_be_cached, found)))
            ):
                return None
            pattern, sizes = _Pattern(found, first.states), {file.did: file for file in self._datasets[survey.dataset]}
            return pattern if all(pattern.row(sizes[row.did]) == row for row in rows) else None
        return None

    def _settings_of(self, rse: str) -> Rse:
        if rse not in self._settings:
            self._settings[rse] = self._lake.rse(rse)
        return self._settings[rse]


# ------------------------------------------------------------------------------------------------ which PFNs


def _sample(files: Sequence[DidInfo], others: Set[DID]) -> list[DID]:
    """Choose files to ask for: the ends of each scope, the oddest names, one at random of each part of the dataset."""
    dids = sorted(file.did for file in files if file.did not in others)
    parts = min(max(len(dids) // 100, LEAST_SAMPLE), MOST_SAMPLE)
    bounds = [len(dids) * part // parts for part in range(parts + 1)]
    chosen = [
        dids[random.randrange(begin, end)]  # noqa: S311 - nobody is to be kept from guessing it
        for begin, end in pairwise(bounds)
        if end > begin
    ]
    scopes: dict[str, list[DID]] = {}
    seen, odd = set(_USUAL), dict[str, DID]()
    for did in dids:
        scopes.setdefault(did.scope, []).append(did)
        if not seen.issuperset(did.name):
            odd.update(dict.fromkeys(set(did.name) - seen, did))
            seen.update(did.name)
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


def _may_be_cached(template: _Template) -> bool:
    """Whether Rucio can put a cache of a site before it, for some files and not for others."""
    return template.domain == "wan" and template.base.partition(":")[0] in {"root", "http", "https"}


def _in_one_order(templates: Iterable[_Template]) -> bool:
    """Whether the order of the PFNs cannot depend on the file.

    Rucio sorts by domain, priority and distance of the host, and what is equal then, as text: only where one PFN
    begins like the other, the rest of them decides.
    """
    bases = sorted(template.base for template in templates)
    return not any(after.startswith(before) for before, after in pairwise(bases))


def _template(pfn: Pfn, did: DID, rse: Rse) -> _Template | None:
    """Take a PFN apart, where it is what the RSE's settings say; None where it is not."""
    algorithm = rse.lfn2pfn_algorithm
    if rse.deterministic is not True or algorithm not in _ALGORITHMS:
        return None
    path = _translator(algorithm)(*did)
    base = pfn.url.removesuffix(path)
    if base == pfn.url or not any(_base(protocol) == base for protocol in rse.protocols):
        return None
    return _Template(base, algorithm, pfn.rse, pfn.rse_type, pfn.domain, pfn.priority)


def _base(protocol: Protocol) -> str:
    """Give what the PFNs of a protocol begin with; empty for one that is not Rucio's own.

    Source: ``lfns2pfns`` in rucio.rse.protocols, protocol.py and gfal.py.
    """
    if not protocol.impl.startswith(_IMPLEMENTATIONS) or protocol.prefix is None:
        return ""
    prefix = f"/{protocol.prefix.removeprefix('/')}".removesuffix("/") + "/"
    more = protocol.extended_attributes
    service = more.get("web_service_path", "") if isinstance(more, dict) else ""
    port = f":{protocol.port}" if protocol.port or ".gfal." not in protocol.impl else ""
    return f"{protocol.scheme}://{protocol.hostname.rpartition('://')[2]}{port}{service}{prefix}"


def _translator(algorithm: str) -> Callable[[str, str], str]:
    """Give the function that makes a path of scope and name."""
    # not through an instance, which wants a rucio.cfg and loads what that names
    function = RSEDeterministicTranslation._get_one_algorithm("lfn2pfn", algorithm)

    def path(scope: str, name: str) -> str:
        made: str = function(scope, name, "", {}, {})
        return made

    return path
