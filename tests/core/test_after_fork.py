"""A forked child has its own connections to Rucio: on its parent's it would read its parent's answers."""

from __future__ import annotations

import multiprocessing
import pickle

from rucio_lab.core.errors import FilesUnavailable
from rucio_lab.core.model import Request
from rucio_lab.core.resolve.resolution import resolve
from tests.lake.lake import FullLake

SCOPE = "opendata13TeV"
DATASETS = ("data_A.GamGam", "data_B.GamGam", "data_C.GamGam", "data_D.GamGam")


def names(dataset: str) -> list[str]:
    return [file.did.name for file in resolve(Request((f"{SCOPE}:{dataset}",), "")).files]


def test_children_of_a_fork_get_their_own_answers(lake: FullLake) -> None:
    expected = {dataset: names(dataset) for dataset in DATASETS}
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(names, DATASETS * 5)
    assert found == [expected[dataset] for dataset in DATASETS * 5]


def test_an_error_comes_back_from_a_worker() -> None:
    error = FilesUnavailable("What.", "Do.", reasons={"a:b": "why"})
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.reasons) == ("What. Do.", {"a:b": "why"})
