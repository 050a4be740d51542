"""The memory and the pickled size of a variable with 100,000 files."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.table import Row

FILES = 100_000

# Builds the entries without Rucio in a new process. A direct URL has two replicas, as after an attach.
_CODE = """
import json, pickle, sys, tracemalloc
from rucio_lab.core.did import DID
from rucio_lab.core.address import lake_url
from rucio_lab.core.model import Replica, Request, Resolution, ResolvedFile
from rucio_lab.api.files import FileList

dataset = DID("opendata13TeV", "data_2026.GamGam")

def replicas(did, number):
    if sys.argv[1] == "lake":
        return (Replica("", lake_url("test", did)),)
    path = f"{number % 251:02x}/{number % 241:02x}/{did.name}"
    return tuple(
        Replica(rse, url, url, "wan", 1)
        for rse in ("CERN-EOS", "TRIUMF-DISK")
        for url in [f"root://{rse.lower()}.example:1094//eos/{did.scope}/{path}"]
    )

tracemalloc.start()
files = []
for number in range(int(sys.argv[2])):
    did = DID("opendata13TeV", f"data_2026.GamGam._{number:06d}.root")
    files.append(ResolvedFile(did, (dataset,), 50_000_000 + number, f"{number:08x}", replicas(did, number)))
made = FileList(Resolution(Request((str(dataset),), "test"), tuple(files), total=len(files)))
del files
memory, peak = tracemalloc.get_traced_memory()
plain = made.urls
strings = tracemalloc.get_traced_memory()[0] - memory
tracemalloc.stop()
print(json.dumps([memory, peak, strings, len(pickle.dumps(made)), len(pickle.dumps(plain))]))
"""


def measure() -> list[Row]:
    """Build a list of each kind."""
    rows = []
    for access, what in (("stream", "direct URLs, two replicas each"), ("lake", "rucio:// addresses")):
        command = [sys.executable, "-c", _CODE, access, str(FILES)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        memory, peak, strings, pickled, plain = json.loads(done.stdout)
        ours = f"{memory / 1e6:.1f} MB, {peak / 1e6:.0f} MB while it is made"
        theirs = f"{strings / 1e6:.1f} MB list of the same strings"
        rows.append(Row(f"{FILES:,} entries, {what}", ours, theirs, memory / strings))
        row = (f"{pickled / 1e6:.1f} MB", f"{plain / 1e6:.1f} MB list of strings", pickled / plain)
        rows.append(Row("the same, pickled", *row))
    return rows
