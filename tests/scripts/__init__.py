"""Tests of what make runs."""

from __future__ import annotations
