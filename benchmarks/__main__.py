"""``python -m benchmarks``: take all figures and print them as a table."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks import attach, hyy, imports, rest, sidebar
from benchmarks.table import Row, show
from tests.lake.lake import FullLake
from tests.lake.pki import Authority


def main() -> None:
    """Bring up the lakes, measure, print."""
    rows: list[Row] = imports.measure()
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder) / "pki")
        os.environ["SSL_CERT_FILE"] = str(authority.bundle)
        os.environ["JUPYTER_DATA_DIR"] = f"{folder}/data"
        rows += hyy.measure()
        with FullLake(authority) as lake:
            os.environ["RUCIO_LAB_CONFIG"] = str(lake.config())
            bulk = lake.add_bulk()
            rows += attach.measure(lake, bulk)
            rows += rest.measure(lake, bulk)
            rows += sidebar.measure(lake, bulk)
    show(rows)


if __name__ == "__main__":
    main()
