"""The cost of ``%load_ext rucio_lab`` in a fresh IPython."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median

from benchmarks.table import Row

_CODE = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before, begin = set(sys.modules), time.perf_counter()
shell.run_line_magic("load_ext", "rucio_lab")
seconds = time.perf_counter() - begin
print(json.dumps([seconds, sorted(set(sys.modules) - before)]))
"""


def measure() -> list[Row]:
    """Load the extension in new processes."""
    runs = []
    for _ in range(7):
        done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    milliseconds = median(seconds for seconds, _ in runs) * 1000
    modules = len(runs[0][1])
    return [Row("%load_ext rucio_lab", f"{milliseconds:.1f} ms, {modules} modules", "aim: 10 ms")]
