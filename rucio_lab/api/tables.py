"""Tables as text and as HTML. All text from Rucio is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rucio_lab.core.text import printable


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows in aligned columns."""
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(lines)


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str, notes: Sequence[str] = ()) -> str:
    """Lay out rows as an HTML table. This escapes caption, cells and notes."""

    def shown(text: str) -> str:
        return escape(printable(text))

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f'<{tag} style="text-align:left">{shown(cell)}</{tag}>' for cell in cells) + "</tr>"

    return "".join(
        [
            f"<div><p>{shown(caption)}</p>",
            f"<table><thead>{line(header, 'th')}</thead><tbody>",
            *(line(row, "td") for row in rows),
            "</tbody></table>",
            *(f"<p>{shown(note)}</p>" for note in notes),
            "</div>",
        ]
    )
