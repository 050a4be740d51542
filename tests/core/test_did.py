"""DIDs as users write them."""

from __future__ import annotations

import pickle

import pytest

from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest
from tests.support.checks import assert_clear


@pytest.mark.parametrize(
    ("text", "scope", "name"),
    [
        ("opendata13TeV:GamGam.Data", "opendata13TeV", "GamGam.Data"),
        ("  user.alice:plots \n", "user.alice", "plots"),
        ("cms:/store/data/Run2012B/0A1B.root", "cms", "/store/data/Run2012B/0A1B.root"),
        ("belle:a:b:c", "belle", "a:b:c"),
        ("scope:two words", "scope", "two words"),
        ('scope:it\'s "quoted"', "scope", 'it\'s "quoted"'),
        ("scope:Ünïcödé-粒子", "scope", "Ünïcödé-粒子"),
        ("scope:../../etc/passwd", "scope", "../../etc/passwd"),
        ("scope:{x} $y #z %w !v", "scope", "{x} $y #z %w !v"),
        ("scope:<b>", "scope", "<b>"),
    ],
)
def test_parse(text: str, scope: str, name: str) -> None:
    did = DID.parse(text)
    assert did == (scope, name)
    assert DID.parse(str(did)) == did


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no colon"),
        ("GamGam", "no colon"),
        (":GamGam", "scope is empty"),
        ("opendata13TeV:", "name is empty"),
        (":", "scope is empty"),
        ("open data:GamGam", "slash or a space"),
        ("a/b:name", "slash or a space"),
        ("scope:line\nbreak", "control characters"),
        ("scope:nul\x00", "control characters"),
        ("scope:bell\x1b[31m", "control characters"),
        ("scope:..", "no address"),
        ("scope:.", "no address"),
    ],
)
def test_text_that_is_not_a_did_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadRequest, match=why) as caught:
        DID.parse(text)
    assert_clear(caught.value)
    assert "scope:name" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "pattern"), [("s:*", True), ("s:a*b", True), ("s:a", False), ("s:a?", False), ("s:100%", False)]
)
def test_pattern(text: str, pattern: bool) -> None:
    assert DID.parse(text).is_pattern is pattern


def test_order_and_pickle() -> None:
    dids = [DID("b", "a"), DID("a", "b"), DID("a", "a")]
    assert sorted(dids) == [DID("a", "a"), DID("a", "b"), DID("b", "a")]
    assert pickle.loads(pickle.dumps(dids)) == dids
