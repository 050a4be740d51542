"""What may stand in a line of text: one definition, for cells, magics, terminals, logs and pages.

Names and sentences come from Rucio and from storages, which may put anything into them. What breaks a line, what a
terminal acts on, what turns the direction of writing and what cannot be seen is *hidden*. Where text is shown, it is
escaped, so that two names can be told apart; where it would be read again, as a DID or a word of a line, it is refused.
"""

from __future__ import annotations

import re

# Control and format characters, blanks but the space, what Unicode calls ignorable, and what means nothing outside of
# one program (surrogates, private use, noncharacters). Written out, since the tables of Python and of browsers have
# different ages; labextension/src/text.ts has the same.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5"
    "\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0xD0000, 0x10000))
    + "\U000dfffe-\U000e0fff\U000efffe-\U0010ffff]"
)


def is_printable(text: str) -> bool:
    """Whether all of a text can be seen, on one line."""
    return not _HIDDEN.search(text)


def printable(text: str) -> str:
    r"""Write what is hidden in a text as Python does in a string: ``\n``, ``\x1b``, ``\u202e``, ``\U000e0001``.

    Parameters
    ----------
    text
        Any text, also one that went through here before.

    Returns
    -------
    str
        One line of text that does nothing but to be seen.
    """
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def hidden_in(text: str) -> str:
    """Name what is hidden in a text, for an error: ``U+202E``, or a few of them with commas; empty if there is none."""
    found = dict.fromkeys(_HIDDEN.findall(text))
    return ", ".join(f"U+{ord(character):04X}" for character in list(found)[:3])
