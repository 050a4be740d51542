"""Tests of the sidebar in a real browser."""

from __future__ import annotations
