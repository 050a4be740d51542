"""The demo lake: a real Rucio server and two storages on loopback, filled with synthetic ntuples.

Start with ``command`` (what the user types) and ``lake`` (starts everything). Then its parts: ``environment`` (the
private installation of the Rucio server), ``processes`` (child processes that never outlive the demo), ``server`` (the
Rucio server), ``file_server`` (a storage), ``content`` (the catalogue), ``ntuples`` and ``survey`` (the files),
``opendata`` (public files) and ``seed`` (registers everything in Rucio). The test lake is built from the same parts.
"""

from __future__ import annotations
