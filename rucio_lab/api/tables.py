"""How values of the lake are shown: as text, and as HTML in which all that comes from Rucio is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from rucio_lab.core.text import printable


def count(number: int, noun: str) -> str:
    """Give a number with its noun, for example ``1,234 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: float) -> str:
    """Give a number of bytes in decimal units, for example ``3.4 GB``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} PB"


def several(words: Iterable[str], most: int = 2) -> str:
    """Join words, the first few by name: ``a``, ``a and b``, ``a, b and 3 more``."""
    known = list(words)
    if len(known) > most:
        known = [*known[:most], f"{len(known) - most:,} more"]
    return " and ".join(filter(None, [", ".join(known[:-1]), *known[-1:]]))


def without_query(url: str) -> str:
    """Drop what can be secret in a URL: its query, where signatures stand, and a user with a password."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    path, question, _ = rest.partition("?")
    host, slash, below = path.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{below}{'?...' if question else ''}"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows in columns that line up."""
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(lines)


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str, notes: Sequence[str] = ()) -> str:
    """Lay out rows as an HTML table. Caption, cells and notes are text, and are escaped here."""

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
