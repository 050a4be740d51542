"""The files of the test lake: ntuples with fewer events, and the stars. Run as ``python -m tests.lake.files DIR``."""

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
"""The datasets of GamGam, with 200 to 300 kB per file."""

SMALL = Sample("small", 290000, 1, luminosity=0.001)
"""A file of about 20 events, used wherever the content does not matter."""

LARGE = Sample("large", 310000, 1, luminosity=0.5)
"""A file large enough (5 MB) to show whether a reader reads all of it or only a part."""


def write(folder: Path) -> None:
    """Write all files.

    Parameters
    ----------
    folder
        The output folder; it is created.
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
