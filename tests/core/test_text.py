"""Hidden characters: escaped so that names look different, and the same ones in the sidebar."""

from __future__ import annotations

import unicodedata

import pyte
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, LakeBroken
from rucio_lab.core.text import hidden_in, is_printable, printable
from rucio_lab.core.upstream.faults import first_line
from tests.support.names import OSC, alike, names
from tests.support.typescript import TypeScript


def test_the_sidebar_has_the_same_definition() -> None:
    everything = "a".join(map(chr, range(0x110000)))
    with TypeScript() as sidebar:
        assert sidebar.call("text.printable", everything) == printable(everything)
        for text in ("a b", "a\u202eb", "a\U000e0001b", "\ud83d", "\U0001f600"):
            assert sidebar.call("text.isPrintable", text) is is_printable(text)


def test_invisible_characters_are_hidden_and_letters_are_not() -> None:
    categories = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs"}
    for character in map(chr, range(0x110000)):
        if character != " " and unicodedata.category(character) in categories:
            assert not is_printable(character), f"U+{ord(character):04X}"
    assert is_printable("Ünïcödé-粒子 'a' \"b\" <c> 😀 é\u0301 עברית")
    assert not any(map(is_printable, "\u115f\u3164\u2800\ufe0f\u034f\U000e0100"))


@alike
@given(st.text())
def test_printable_is_one_line_and_can_be_undone(text: str) -> None:
    shown = printable(text)
    assert is_printable(shown)
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown
    assert (shown == text) is is_printable(text) is (hidden_in(text) == "")
    if "\\" not in text:
        assert shown.encode("ascii", "backslashreplace").decode("unicode_escape") == text


@alike
@given(names)
def test_a_did_is_one_line_or_refused(name: str) -> None:
    text = f"s:{name}"
    if is_printable(text.strip()):
        assume(name.strip() not in ("", ".", "..") and "://" not in text)
        assert DID.parse(text) == ("s", name.rstrip())
    else:
        with pytest.raises(BadRequest, match="invisible or control characters") as refused:
            DID.parse(text)
        assert is_printable(str(refused.value))


@alike
@given(names)
def test_an_error_is_one_line(said: str) -> None:
    error = LakeBroken(f"Rucio failed: {said}.", said)
    assert is_printable(str(error))
    assert is_printable(first_line(ValueError(f"Failed.\nDetails: {said}")))


@alike
@given(names)
def test_a_terminal_does_not_act_on_it(name: str) -> None:
    screen = pyte.Screen(1000, 3)
    pyte.Stream(screen).feed(printable(f"<{name}{OSC}>"))
    assert screen.display[0].rstrip().endswith(r"\x1b[2J\x1b[31m>")
    assert screen.display[1].strip() == ""
    assert screen.title == ""
    assert {screen.buffer[0][column].fg for column in range(100)} == {"default"}
