"""Say which rucio_lab the processes of the tests import."""

from __future__ import annotations

import rucio_lab

if __name__ == "__main__":
    print(rucio_lab.__file__)
