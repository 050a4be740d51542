"""A Rucio policy package, which runs inside the Rucio server: generic, but for what its two modules say."""

from __future__ import annotations
