"""What runs inside the Rucio server's own environment, where rucio_lab is not installed.

These files are run by their path and import nothing of this package.
"""

from __future__ import annotations
