"""The page docs/tools.md, as its readers take it: the table, and the code of each tool."""

from __future__ import annotations

import re
from pathlib import Path

_TEXT = (Path(__file__).parents[2] / "docs" / "tools.md").read_text(encoding="utf-8")

PREPARE = re.findall(r"<!-- prepare -->\n```python\n(.*?)```", _TEXT, re.DOTALL)[0]
"""What makes the variables that all of the code uses."""

CODE: dict[str, str] = dict(
    re.findall(r"^### (.+?)\n(?:(?!^#).)*?```python\n(.*?)```", _TEXT, re.DOTALL | re.MULTILINE)
)
"""Tool -> the code to write."""


def _rows() -> list[list[str]]:
    lines = [line for line in _TEXT.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


_HEAD, _, *_BODY = _rows()

ACCESSES = [re.sub(r"\W+", " ", head).strip() for head in _HEAD[1:]]
"""The columns: an access, and a scheme where it has several."""

LINKS: dict[str, str] = {}
"""Tool -> the anchor to which its row leads."""

CELLS: dict[tuple[str, str], str] = {}
"""(Tool, access) -> what the table says."""

for _first, *_cells in _BODY:
    _tool, _anchor = re.fullmatch(r"\[(.+)\]\(#(.+)\)", _first).groups()  # type: ignore[union-attr]
    LINKS[_tool] = _anchor
    CELLS.update({(_tool, access): cell for access, cell in zip(ACCESSES, _cells, strict=True)})
