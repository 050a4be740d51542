"""The files of the test lake: ntuples with fewer events, and the stars. ``python -m tests.lake.files DIR``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from rucio_lab.demo import ntuples, samples, survey
from rucio_lab.demo.samples import Sample

SAMPLES = tuple(
    dataclasses.replace(sample, luminosity=sample.luminosity / 40, generated=sample.generated // 20)
    for sample in samples.SAMPLES
)
"""The datasets of GamGam: some 200 to 300 kB a file."""

SMALL = Sample("small", 290000, 1, luminosity=0.001)
"""A file of some 20 events, which stands for all whose content is of no matter."""

LARGE = Sample("large", 310000, 1, luminosity=0.5)
"""A file large enough (5 MB) that one sees whether a reader takes a part of it or all."""


def write(folder: Path) -> None:
    """Write all files.

    Parameters
    ----------
    folder
        Where to; it is made.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(parents=True)
    for sample in (*SAMPLES, SMALL, LARGE):
        for number, name in enumerate(samples.file_names(sample)):
            ntuples.write_file(partial / name, ntuples.make_events(sample, number))
    survey.write(partial)
    partial.rename(folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
