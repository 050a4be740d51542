"""docs/reading-promises.md: each promise names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROWS = [row for row in (HERE.parent / "docs/reading-promises.md").read_text().splitlines() if row.startswith("| ")]
PROMISES = [row for row in ROWS if not row.startswith(("| fault", "| ---"))]


def test_there_are_promises() -> None:
    assert len(PROMISES) > 30


@pytest.mark.parametrize("row", PROMISES)
def test_a_promise_has_a_test(row: str) -> None:
    named = re.search(r"`([\w/]+\.py)::(\w+)` \|$", row)
    assert named, row
    assert f"def {named[2]}(" in (HERE / named[1]).read_text()
