"""Which characters are safe to show: one definition for cells, magics, terminals, logs and pages.

Names and messages come from Rucio and from storages, and can contain anything. Characters are *hidden* if they break a
line, control a terminal, change the direction of writing, or cannot be seen. Where text is shown, they are escaped, so
that different names look different. Where text is input, such as a DID or part of a command, they are refused.
"""

from __future__ import annotations

import re

# Control and format characters, all white space but the space, what Unicode calls ignorable, and what has no meaning
# outside one program (surrogates, private use, noncharacters). Written out, because Python and browsers have different
# versions of Unicode; labextension/src/text.ts has the same list.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5"
    "\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0xD0000, 0x10000))
    + "\U000dfffe-\U000e0fff\U000efffe-\U0010ffff]"
)


def is_printable(text: str) -> bool:
    """Whether a text is one line with no hidden characters."""
    return not _HIDDEN.search(text)


def printable(text: str) -> str:
    r"""Escape the hidden characters of a text as Python does: ``\n``, ``\x1b``, ``\u202e``, ``\U000e0001``.

    Parameters
    ----------
    text
        Any text, even one that is already escaped.

    Returns
    -------
    str
        One line of visible text.
    """
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def hidden_in(text: str) -> str:
    """Name the first few hidden characters of a text, for an error; empty if there are none.

    For example: ``U+200B after 'GamGam', U+000A at the beginning``.
    """
    found = {match[0]: match.start() for match in reversed(list(_HIDDEN.finditer(text)))}
    return ", ".join(f"U+{ord(one):04X} {_where(text[:at])}" for one, at in list(reversed(found.items()))[:3])


def _where(before: str) -> str:
    visible = re.search(r"\w+$|.$", _HIDDEN.sub("", before), re.DOTALL)
    return f"after {visible[0]!r}" if visible else "at the beginning"


def sendable(text: str) -> bool:
    """Whether a text can be the value of an HTTP header. If not, requests quotes it in its error, even a secret."""
    return text.isprintable() and text == text.lstrip() and all(ord(character) < 256 for character in text)
