"""The test lake: the demo lake's parts with more in them, for everything that can go right or wrong at a real site.

Read in this order: ``lake`` (what is brought up), ``content`` (what is in it), then the parts: ``pki``, ``storages``,
``faults``, ``policy`` (a schema for hostile names) and ``packages`` (what of Debian is needed).
"""

from __future__ import annotations
