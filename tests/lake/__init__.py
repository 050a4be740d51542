"""The test lake: built like the demo lake, with everything that can go right or wrong at a real site.

Start with ``lake`` (starts everything) and ``content`` (the catalogue), then the parts: ``files`` and ``many`` (files),
``pki`` (certificates and proxies), ``storages``, ``issuer`` (storage tokens), ``provider`` (an identity provider),
``faults`` (a proxy that fails on request), ``postgresql``, ``policy`` (allows hostile names) and ``packages`` (the
Debian packages it needs). ``queries`` has the requests that its own tests make.

Two servers do not need the lake: ``hostile`` (a Rucio that answers anything) and ``liar`` (a lying XRootD server).
"""

from __future__ import annotations
