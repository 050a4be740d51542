"""Code that runs in the virtual environment of the Rucio server, where rucio_lab is not installed.

These files are run by path and import nothing from this package.
"""

from __future__ import annotations
