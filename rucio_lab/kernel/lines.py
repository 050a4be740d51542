"""The words of a magic's line: quotes as in a shell, variables as in IPython, comments and commas as in Python.

Only words without quotes are read in that way. In quotes, a name may contain anything; the sidebar and Tab write names
with special characters in quotes, so a name from Rucio never becomes a variable or a comment.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from rucio_lab.api.dids import did_text
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest
from rucio_lab.core.model import DidInfo

_CHUNK = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""", re.DOTALL)
_EXPRESSION = re.compile(r"\{(?![^\W\d]\w*\})")
_VARIABLE = re.compile(r"\{([^\W\d]\w*)\}|\$([^\W\d]\w*)")


class Quoted(str):
    """A word that was in quotes, or contains a backslash: it means just what it says."""

    __slots__ = ()


def words_of(line: str, variables: Mapping[str, Any]) -> list[str]:
    """Split a line into words, and fill in variables.

    Parameters
    ----------
    line
        The line.
    variables
        The variables of the user, for ``{name}`` and ``$name``. A list of DIDs becomes several words.

    Raises
    ------
    ValueError
        If a quote is not closed.
    BadRequest
        If a word is nothing but a variable, and that does not exist or is no DID, or begins with an expression in
        braces.
    """
    words: list[str] = []
    text = _without_end(_without_comment(line))
    shlex.split(text)  # raises the ValueError
    for chunk in _CHUNK.findall(text):
        if _EXPRESSION.match(chunk):
            raise BadRequest(
                f"{chunk} cannot be filled in: only the name of a variable may be between the braces.",
                "Assign it to a variable first.",
            )
        if re.search(r"""['"\\]""", chunk):
            words += map(Quoted, shlex.split(chunk))
        else:
            words += _filled(chunk, variables)
    return words


def _without_comment(line: str) -> str:
    """Remove a comment. It begins with a ``#`` after a blank, outside of quotes."""
    starts = (match.start() for match in _CHUNK.finditer(line) if match[0].startswith("#"))
    return line[: next(starts, len(line))]


def _without_end(line: str) -> str:
    """Remove a semicolon at the end. In notebooks, it means that a result is not shown."""
    return re.sub(r"(?<!\\)\s*;[\s;]*$", "", line)


def _filled(word: str, variables: Mapping[str, Any]) -> Iterator[str]:
    """Fill in the variables of a word."""
    whole = _VARIABLE.fullmatch(word.strip(","))
    if not whole:
        yield _VARIABLE.sub(lambda found: _text(found, variables), word)
        return
    name = whole[1] or whole[2]
    if name not in variables:
        raise BadRequest(f"There is no variable {name} for {word}.", "Define it, or write the DID itself.")
    value = variables[name]
    several = value if isinstance(value, list | tuple) and not isinstance(value, DID) else [value]
    yield from (Quoted(did_text(each) if isinstance(each, DidInfo | DID) else str(each)) for each in several)


def _text(found: re.Match[str], variables: Mapping[str, Any]) -> str:
    """Give the value of a variable that is part of a word; if it is no text or number, give the word as it is."""
    value = variables.get(found[1] or found[2])
    return str(value) if isinstance(value, str | int) else found[0]


def dids_of(words: list[str]) -> list[str]:
    """Separate DIDs at commas, but not those in quotes. A comma between texts without a colon is part of a name."""
    dids: list[str] = []
    for word in words:
        if isinstance(word, Quoted):
            dids.append(word)
            continue
        parts = list(filter(None, word.split(",")))
        dids += parts if all(":" in part for part in parts[1:]) else [word.strip(",")]
    return dids
