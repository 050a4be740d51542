"""The page docs/tools.md: its table, and the code for each tool."""

from __future__ import annotations

import re
from pathlib import Path

_TEXT = (Path(__file__).parents[2] / "docs" / "tools.md").read_text(encoding="utf-8")

PREPARE = re.findall(r"<!-- prepare -->\n```python\n(.*?)```", _TEXT, re.DOTALL)[0]
"""The code that attaches the variables used by all of the other code."""

CODE: dict[str, str] = dict(
    re.findall(r"^### (.+?)\n(?:(?!^#).)*?```python\n(.*?)```", _TEXT, re.DOTALL | re.MULTILINE)
)
"""Tool -> its code."""


def _rows() -> list[list[str]]:
    lines = [line for line in _TEXT.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


_HEAD, _, *_BODY = _rows()

ACCESSES = [re.sub(r"\W+", " ", head).strip() for head in _HEAD[1:]]
"""The columns: an access, with a scheme if it has several."""

LINKS: dict[str, str] = {}
"""Tool -> the anchor its row links to."""

CELLS: dict[tuple[str, str], str] = {}
"""(Tool, access) -> cell of the table."""

for _first, *_cells in _BODY:
    _tool, _anchor = re.fullmatch(r"\[(.+)\]\(#(.+)\)", _first).groups()  # type: ignore[union-attr]
    LINKS[_tool] = _anchor
    CELLS.update({(_tool, access): cell for access, cell in zip(ACCESSES, _cells, strict=True)})
