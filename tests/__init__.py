"""The tests. They are a package so that all of them can import ``tests.lake``."""

from __future__ import annotations
