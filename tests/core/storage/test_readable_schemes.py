"""Schemes, and the tools that they need."""

from __future__ import annotations

from rucio_lab.core.storage import readable_schemes


def test_a_missing_tool_is_named() -> None:
    assert readable_schemes.not_downloadable("gsiftp") == "gsiftp:// needs the package gfal2, which is not installed"
    assert readable_schemes.not_downloadable("mock") == "nothing here knows mock://"
    assert not any(map(readable_schemes.not_downloadable, ("root", "roots", "xroot", "https", "davs", "http")))
