"""``python -m benchmarks [NAME...]``: run all benchmarks, or those of some modules, and print a table of figures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import attach, hostile, hyy, imports, memory, rest, sidebar, streaming, transfer
from benchmarks.table import Row, show
from rucio_lab.demo.processes import free_port
from tests.lake.lake import FullLake
from tests.lake.pki import Authority

ALONE = {"hostile": hostile.measure, "imports": imports.measure, "memory": memory.measure, "hyy": hyy.measure}
ON_A_LAKE = {"transfer": transfer.measure, "streaming": streaming.measure}
ON_MANY_DIDS = {"attach": attach.measure, "rest": rest.measure, "sidebar": sidebar.measure}


def main() -> None:
    """Start the lakes, measure and print."""
    names = sys.argv[1:] or [*ALONE, *ON_A_LAKE, *ON_MANY_DIDS]
    if unknown := set(names) - {*ALONE, *ON_A_LAKE, *ON_MANY_DIDS}:
        sys.exit(f"Unknown benchmarks: {', '.join(sorted(unknown))}.")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder) / "pki")
        os.environ["SSL_CERT_FILE"] = str(authority.bundle)
        os.environ["JUPYTER_DATA_DIR"] = f"{folder}/data"
        for name in [name for name in names if name in ALONE]:
            rows += ALONE[name]()
        if not set(names) <= set(ALONE):
            with _memcached() as cache, FullLake(authority, cache=cache) as lake:
                rows += _on_a_lake(lake, names)
    show(rows)


@contextmanager
def _memcached() -> Iterator[str]:
    """Run a memcached if it is installed, because every production Rucio has one; yield its address."""
    program = shutil.which("memcached")
    if program is None:
        print("memcached is not installed, so listing replicas takes about ten times as long.", file=sys.stderr)
        yield ""
        return
    port = free_port()
    command = [program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", *(["-u", "nobody"] if not os.geteuid() else [])]
    with subprocess.Popen(command) as child:
        try:
            yield f"127.0.0.1:{port}"
        finally:
            child.terminate()


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
