"""The tests. They are a package so that all of them can import ``tests.lake``.

They test the rucio_lab that is installed, not the folder beside them. So this folder's parent goes to the end of the
path: ``python -m`` puts it at the start.
"""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]
sys.path[:] = [*(entry for entry in sys.path if Path(entry).resolve() != _ROOT), str(_ROOT)]
