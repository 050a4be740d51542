"""Tests of the core, which need no Jupyter."""

from __future__ import annotations
