"""Python searches for garbage less often while long lists are made, and as before afterwards."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Iterator
from contextlib import suppress

import pytest

from rucio_lab import attach
from rucio_lab.core.errors import NotFound
from rucio_lab.core.garbage import rarely_searched
from tests.lake.lake import FullLake


@pytest.fixture(autouse=True)
def usual() -> Iterator[tuple[int, int, int]]:
    """A setting that nothing of ours makes."""
    before = gc.get_threshold()
    gc.set_threshold(777, 11, 12)
    yield gc.get_threshold()
    gc.set_threshold(*before)


def test_callers_can_overlap_and_fail(usual: tuple[int, int, int]) -> None:
    first, second = rarely_searched(), rarely_searched()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold()[0] >= 100_000
    second.__exit__(None, None, None)
    assert gc.get_threshold() == usual
    with suppress(KeyError), rarely_searched():
        raise KeyError
    assert gc.get_threshold() == usual


def test_a_forked_child_searches_as_usual(usual: tuple[int, int, int]) -> None:
    with rarely_searched(), multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(gc.get_threshold) == usual


def test_no_searches_stay_none() -> None:
    gc.set_threshold(0)
    with rarely_searched():
        assert gc.get_threshold()[0] == 0


def test_an_attach_leaves_the_setting_as_it_was(lake: FullLake, usual: tuple[int, int, int]) -> None:
    attach("opendata13TeV:data_A.GamGam")
    assert gc.get_threshold() == usual
    with pytest.raises(NotFound):
        attach("opendata13TeV:nothing")
    assert gc.get_threshold() == usual
