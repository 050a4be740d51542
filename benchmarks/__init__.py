"""Benchmarks that compare with raw calls in the same run: ``python -m benchmarks`` prints a table."""

from __future__ import annotations
