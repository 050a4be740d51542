"""Searching and listing on the test lake, by magics and by the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import rucio_lab
from rucio_lab import NotFound
from tests.lake.lake import FullLake

Run = Callable[[str], Any]
GAMGAM = "opendata13TeV:GamGam"


@pytest.fixture(autouse=True)
def _with_lake(lake: FullLake) -> None:
    """Every test here is on the lake; ``lake`` comes before ``home``, which takes the sign-in elsewhere."""


def test_searches(run: Run) -> None:
    result = run("%rucio_search opendata13TeV:*GamGam*")
    assert "opendata13TeV:GamGam.Data" in result.text
    assert [info.did for info in result.value] == sorted(info.did for info in result.value)
    assert not result.value.more
    result = run("%rucio_search opendata13TeV:* --type file --limit 3")
    assert len(result.value) == 3
    assert {info.type for info in result.value} == {"file"}
    assert "There are more" in result.text
    assert run("%rucio_search opendata13TeV:no.such.name*").value == []


def test_a_search_needs_one_scope_and_says_which_there_are(run: Run) -> None:
    for pattern in ("GamGam*", "*:GamGam*", "open*:GamGam*"):
        result = run(f"%rucio_search {pattern}")
        assert isinstance(result.error, rucio_lab.BadRequest)
        assert "opendata13TeV" in result.text
    assert "has no scope 'nowhere'" in run("%rucio_search nowhere:*").text


def test_a_long_result_is_shown_partly(run: Run, bulk: str) -> None:
    result = run("%rucio_search opendata13TeV:* --type file")
    assert len(result.value) == 1000
    assert len(repr(result.value).splitlines()) < 60
    assert result.value._repr_html_().count("<tr>") == 1 + 50
    assert "50 of 1,000 shown" in result.text
    assert "There are more" in result.text


def test_lists_contents(run: Run) -> None:
    result = run(f"%rucio_ls {GAMGAM}")
    assert [info.did.name for info in result.value] == ["GamGam.Data", "GamGam.MC"]
    assert "container" in result.text
    name = run("%rucio_ls opendata13TeV:closed").value[0].did
    assert [info.did for info in run(f"%rucio_ls {name}").value] == [name]
    assert isinstance(run("%rucio_ls opendata13TeV:nothing").error, NotFound)
    assert run("%rucio_ls hostile:all").value
    assert "<img" not in run("%rucio_ls hostile:all").value._repr_html_()
