"""The demo lake: a real Rucio server and a storage on loopback, filled with synthetic ntuples.

Read in this order: ``command`` (what the user types), ``lake`` (what is brought up), then its parts: ``environment``
(the private installation of the Rucio server), ``processes`` (children that never outlive the demo), ``server`` and
``storage``, ``content`` (what is in the lake), ``ntuples`` and ``survey`` (its files), ``opendata`` (public ones) and
``seed`` (how all of it gets into Rucio). The test lake is made of the same parts.
"""

from __future__ import annotations
