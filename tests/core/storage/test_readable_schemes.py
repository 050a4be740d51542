"""Which schemes can be read, and the tools they need."""

from __future__ import annotations

import sys

import pytest

from rucio_lab.core.storage import readable_schemes


def test_a_missing_tool_is_named() -> None:
    assert readable_schemes.not_downloadable("gsiftp") == "gsiftp:// needs the package gfal2, which is not installed"
    assert readable_schemes.not_downloadable("mock") == "nothing here can download over mock://"
    assert not any(map(readable_schemes.not_downloadable, ("root", "roots", "xroot", "https", "davs", "http")))


def test_all_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    unreadable = readable_schemes.unreadable.__wrapped__  # not cached
    monkeypatch.setitem(sys.modules, "XRootD", None)
    assert unreadable("root") == "root:// needs the package xrootd, which is not installed"
    monkeypatch.setitem(sys.modules, "fsspec_xrootd", None)
    assert unreadable("root") == "root:// needs the packages xrootd and fsspec_xrootd, which are not installed"
