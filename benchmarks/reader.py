"""Read the start of a file, print "ready", wait for a line, and read the end of the file: ``python reader.py URL``."""

from __future__ import annotations

import sys
import time

import fsspec

with fsspec.open(sys.argv[1], block_size=100_000) as file:
    file.read(100_000)
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.perf_counter()
    file.seek(-1_000_000, 2)
    try:
        print("whole" if len(file.read()) == 1_000_000 else "cut", flush=True)
    except Exception as error:  # noqa: BLE001 - anything a user of the reader would see
        print(f"{type(error).__name__} after {time.perf_counter() - begin:.1f} s", flush=True)
