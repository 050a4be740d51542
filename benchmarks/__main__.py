"""``python -m benchmarks [transfer]``: take all figures, or those of downloads only, and print them as a table."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from benchmarks import attach, hyy, imports, rest, sidebar, transfer
from benchmarks.table import Row, show
from tests.lake.lake import FullLake
from tests.lake.pki import Authority


def main() -> None:
    """Bring up the lakes, measure, print."""
    everything = sys.argv[1:] != ["transfer"]
    rows: list[Row] = imports.measure() if everything else []
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder) / "pki")
        os.environ["SSL_CERT_FILE"] = str(authority.bundle)
        os.environ["JUPYTER_DATA_DIR"] = f"{folder}/data"
        rows += hyy.measure() if everything else []
        with FullLake(authority) as lake:
            os.environ["RUCIO_LAB_CONFIG"] = str(lake.config())
            rows += transfer.measure(lake)
            if everything:
                bulk = lake.add_bulk()
                rows += attach.measure(lake, bulk)
                rows += rest.measure(lake, bulk)
                rows += sidebar.measure(lake, bulk)
    show(rows)


if __name__ == "__main__":
    main()
