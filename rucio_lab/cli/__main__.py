"""``python -m rucio_lab.cli``."""

from __future__ import annotations

import sys

from rucio_lab.cli.main import main

sys.exit(main())
