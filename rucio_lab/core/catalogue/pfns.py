"""The replicas of very many files: computed here where the result is certain, else looked up in Rucio.

Listing replicas costs Rucio most of a millisecond per file. Counting what an RSE has of a dataset costs almost nothing,
and if a deterministic RSE has all of it, the PFN of a file follows from its name. These checks make it certain:

- *Which replicas exist* is not guessed. Rucio must count as many available replicas on the RSE as the dataset has
  files, with the same total size. It also lists the replicas on all other RSEs, in any state, and the files that have
  such replicas are looked up.
- *What belongs to the RSE* (its protocols, domain, priorities, order, whether it is blocked or matches the RSE
  expression) is the same for all its files. It is taken from Rucio's answer for a sample of files, whose PFNs must be
  exactly what the settings of the RSE and its algorithm make of their names. Proxies, caches and signatures fail this.
- *What can differ between files* is only the path. Only Rucio's own algorithms are trusted, and they are checked on
  files from all parts of the dataset and from each scope, and on the oddest names. This can miss single files that
  were registered with a path of their own before their RSE became deterministic.

If anything differs, every file of the dataset is looked up, in several requests in parallel.
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
"""In datasets with fewer files, every file is looked up."""

LEAST_SAMPLE, MOST_SAMPLE = 100, 800
"""Limits of the sample, for which Rucio is asked; between them it is one file in a hundred."""

AT_ONCE = 250
"""Files in one request: few enough to show progress, and to stop soon."""

_MOST_ODD = 100
_USUAL = string.ascii_letters + string.digits
_MOST_SCOPES = 20
_ALGORITHMS = ("hash", "identity")
_IMPLEMENTATIONS = "rucio.rse.protocols."
_RSE_NAME = re.compile(r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*")  # what RSE expressions accept as a name


def replicas_of_datasets(
    lake: Lake, datasets: Mapping[DID, Sequence[DidInfo]], *, rse: str = "", site: str = ""
) -> Iterator[FileReplicas]:
    """Give the replicas of all files of some datasets, as `Lake.replicas` would.

    Parameters
    ----------
    lake
        The catalogue to ask.
    datasets
        The datasets, each with all its files as `Lake.files_of` lists them.
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
    """Ask for the replicas of files, in several requests in parallel.

    Parameters
    ----------
    lake
        The catalogue to ask.
    files
        Files only: for a dataset, Rucio would list all its files.
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
    """What Rucio says about the replicas of a whole dataset.

    Attributes
    ----------
    dataset
        The dataset.
    rses
        The RSEs on which all its files are AVAILABLE, that match the RSE expression and are not blocked.
    others
        The files that have replicas on other RSEs, in any state.
    sample
        The files for which Rucio is asked, to compare its answer with what is computed.
    """

    dataset: DID
    rses: frozenset[str]
    others: frozenset[DID]
    sample: tuple[DID, ...]


_NO_HELP = (BadRequest, NotFound, Refused, LakeBroken, LakeTooSlow)
"""Errors of requests that only the shortcut makes: looking up every file may still work."""


class _Shortcut:
    """Computes the replicas of the datasets for which the result is certain."""

    def __init__(self, lake: Lake, datasets: Mapping[DID, Sequence[DidInfo]], rse: str, site: str) -> None:
        self._lake = lake
        self._datasets = datasets
        self._rse = rse
        self._site = site
        self._settings: dict[str, Rse] = {}

    def rows(self) -> Iterator[FileReplicas]:
        """Give the replicas of the files for which they are certain, each file once."""
        surveys = self._surveys()
        sample = list(dict.fromkeys(did for survey in surveys for did in survey.sample))
        asked = replicas_of_files(self._lake, sample, rse=self._rse, site=self._site, archives=False)
        rows = {row.did: row for row in asked}
        yield from rows.values()
        done = set(rows)
        for survey in surveys:
            if pattern := self._pattern(survey, [rows[did] for did in survey.sample if did in rows]):
                for file in self._datasets[survey.dataset]:
                    # without adler32 there may be an md5, which only list_replicas says
                    if file.adler32 and file.did not in survey.others and file.did not in done:
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
        """Find the RSEs that have all of a dataset, and the files with replicas elsewhere; None if that does not help.

        The numbers show whether an RSE has all of it: an archive with files of the dataset would count a second time.
        """
        files = self._datasets[dataset]
        whole = (len(files), len(files), sum(file.bytes or 0 for file in files))
        holdings = self._lake.holdings_of(dataset).values()
        complete = {its.rse for its in holdings if (its.files, its.available, its.bytes) == whole}
        if not complete or not all(map(_RSE_NAME.fullmatch, complete)) or len({file.did for file in files}) < whole[0]:
            return None
        names = "|".join(sorted(complete))
        named = self._lake.rses(names)
        if named.keys() != complete:  # an attribute of another RSE has the name of one of them
            return None
        fitting = self._lake.rses(f"({self._rse})&({names})") if self._rse else named
        others = self._elsewhere(dataset, complete, left)
        if others is None or len(others) > len(files) // 10:
            return None
        rses = frozenset(name for name, readable in fitting.items() if readable)
        return _Survey(dataset, rses, frozenset(others), tuple(_sample(files, others)))

    def _elsewhere(self, dataset: DID, complete: Set[str], left: threading.Event) -> set[DID] | None:
        """Find the files that have replicas on other RSEs; None if they are too many to look up."""
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
        """Find what the answers for the sample have in common, and check that it reproduces each of them."""
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
    """Choose the sample: the ends of each scope, the oddest names, and a random file from each part of the dataset."""
    dids = sorted(file.did for file in files if file.did not in others)
    parts = min(max(len(dids) // 100, LEAST_SAMPLE), MOST_SAMPLE)
    bounds = [len(dids) * part // parts for part in range(parts + 1)]
    chosen = [
        dids[random.randrange(begin, end)]  # noqa: S311 - it need not be unpredictable
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
    """One of the PFNs of every file of a dataset, which differ only in the path."""

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
        """Compute what Rucio would answer."""
        paths = {algorithm: path(*file.did) for algorithm, path in self._paths.items()}
        pfns = tuple(
            Pfn(each.base + paths[each.algorithm], each.rse, each.rse_type, each.domain, each.priority)
            for each in self._templates
        )
        return FileReplicas(file.did, file.bytes or 0, file.adler32, pfns, self._states)


def _may_be_cached(template: _Template) -> bool:
    """Whether Rucio could put a site's cache before it, for some files but not for others."""
    return template.domain == "wan" and template.base.partition(":")[0] in {"root", "http", "https"}


def _in_one_order(templates: Iterable[_Template]) -> bool:
    """Whether the order of the PFNs cannot depend on the file.

    Rucio sorts by domain, priority and distance of the host, and then by the text of the PFN. The paths decide only
    where the base of one PFN starts with the base of another.
    """
    bases = sorted(template.base for template in templates)
    return not any(after.startswith(before) for before, after in pairwise(bases))


def _template(pfn: Pfn, did: DID, rse: Rse) -> _Template | None:
    """Take a PFN apart; None if it is not what the settings of the RSE make of the name."""
    algorithm = rse.lfn2pfn_algorithm
    if rse.deterministic is not True or algorithm not in _ALGORITHMS:
        return None
    path = _translator(algorithm)(*did)
    base = pfn.url.removesuffix(path)
    if base == pfn.url or not any(_base(protocol) == base for protocol in rse.protocols):
        return None
    return _Template(base, algorithm, pfn.rse, pfn.rse_type, pfn.domain, pfn.priority)


def _base(protocol: Protocol) -> str:
    """Give the start of all PFNs of a protocol; empty for an implementation that is not Rucio's own.

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
    """Give the function that makes a path from scope and name."""
    # not through an instance, which needs a rucio.cfg and loads what it names
    function = RSEDeterministicTranslation._get_one_algorithm("lfn2pfn", algorithm)

    def path(scope: str, name: str) -> str:
        made: str = function(scope, name, "", {}, {})
        return made

    return path
