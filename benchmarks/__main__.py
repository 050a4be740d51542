"""``python -m benchmarks [NAME...]``: take all figures, or those of some modules only, and print them as a table."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from benchmarks import attach, hyy, imports, memory, rest, sidebar, streaming, transfer
from benchmarks.table import Row, show
from tests.lake.lake import FullLake
from tests.lake.pki import Authority

ALONE = {"imports": imports.measure, "memory": memory.measure, "hyy": hyy.measure}
ON_A_LAKE = {"transfer": transfer.measure, "streaming": streaming.measure}
ON_MANY_DIDS = {"attach": attach.measure, "rest": rest.measure, "sidebar": sidebar.measure}


def main() -> None:
    """Bring up the lakes, measure, print."""
    names = sys.argv[1:] or [*ALONE, *ON_A_LAKE, *ON_MANY_DIDS]
    if unknown := set(names) - {*ALONE, *ON_A_LAKE, *ON_MANY_DIDS}:
        sys.exit(f"There are no figures named {', '.join(sorted(unknown))}.")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder) / "pki")
        os.environ["SSL_CERT_FILE"] = str(authority.bundle)
        os.environ["JUPYTER_DATA_DIR"] = f"{folder}/data"
        for name in [name for name in names if name in ALONE]:
            rows += ALONE[name]()
        if not set(names) <= set(ALONE):
            with FullLake(authority) as lake:
                rows += _on_a_lake(lake, names)
    show(rows)


def _on_a_lake(lake: FullLake, names: list[str]) -> list[Row]:
    rows: list[Row] = []
    for name in [name for name in names if name in ON_A_LAKE]:
        os.environ["RUCIO_LAB_CONFIG"] = str(lake.config())
        rows += ON_A_LAKE[name](lake)
    os.environ["RUCIO_LAB_CONFIG"] = str(lake.config())
    if many := [name for name in names if name in ON_MANY_DIDS]:
        bulk = lake.add_bulk()
        for name in many:
            rows += ON_MANY_DIDS[name](lake, bulk)
    return rows


if __name__ == "__main__":
    main()
