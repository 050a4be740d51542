"""A SYNTHETIC field of stars, in the formats that others than particle physicists use: FITS, HDF5 and parquet.

No telescope ever saw this field. The same stars are an image with a catalogue behind it (``SKY``), a table in HDF5
(``STARS_HDF5``) and one in parquet (``STARS_PARQUET``). ``python -m rucio_lab.demo.survey DIR`` writes the files.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SCOPE = "survey"
"""Scope of these files."""

DATASET = "field_01"
"""The dataset that holds them."""

SKY, STARS_HDF5, STARS_PARQUET = f"{DATASET}.sky.fits", f"{DATASET}.stars.h5", f"{DATASET}.stars.parquet"
FILES = (SKY, STARS_HDF5, STARS_PARQUET)
"""Names of the files."""

STARS = 5000
"""Number of stars."""

SIDE = 1024
"""Width and height of the image, in pixels."""

Array = npt.NDArray[Any]

_NEEDED = ("astropy", "h5py", "pandas", "pyarrow")
_SIGMA = 1.6  # pixels: how wide the air makes a star
_STAMP = 7  # pixels on each side of a star that get light of it
_SKY = 100.0  # counts in each pixel


def can_be_written() -> bool:
    """Return whether the packages are here that write these formats (``pip install 'rucio-lab[tools]'``)."""
    return all(find_spec(name) for name in _NEEDED)


def stars() -> dict[str, Array]:
    """Draw the stars: position in pixels, magnitude and colour in mag, the same each time."""
    rng = np.random.default_rng(1)
    magnitude = 14 + 8 * rng.beta(3, 1, STARS)  # many faint ones, and few bright ones
    return {
        "x": rng.uniform(0, SIDE, STARS),
        "y": rng.uniform(0, SIDE, STARS),
        "magnitude": magnitude,
        "colour": 0.15 * (magnitude - 14) + rng.normal(0, 0.12, STARS),  # the faint ones are redder
    }


def image(table: dict[str, Array]) -> npt.NDArray[np.float32]:
    """Put the stars on a detector, in counts."""
    rng = np.random.default_rng(2)
    sky = np.full((SIDE, SIDE), _SKY)
    flux = 10 ** (-0.4 * (table["magnitude"] - 25))
    for x, y, light in zip(table["x"], table["y"], flux, strict=True):
        rows = slice(max(0, int(y) - _STAMP), int(y) + _STAMP + 1)
        columns = slice(max(0, int(x) - _STAMP), int(x) + _STAMP + 1)
        row, column = np.mgrid[rows, columns][:, : SIDE - rows.start, : SIDE - columns.start]
        blur = np.exp(-((row - y) ** 2 + (column - x) ** 2) / (2 * _SIGMA**2)) / (2 * np.pi * _SIGMA**2)
        sky[rows, columns] += light * blur
    return rng.poisson(sky).astype(np.float32)


def write(folder: Path) -> None:
    """Write the files.

    Parameters
    ----------
    folder
        Where to; it is made.
    """
    import h5py
    import pandas as pd
    from astropy.io import fits
    from astropy.table import Table

    folder.mkdir(parents=True, exist_ok=True)
    table = stars()
    header = fits.Header({"OBJECT": DATASET, "ORIGIN": "rucio_lab", "COMMENT": "SYNTHETIC: no telescope saw this"})
    catalogue = fits.table_to_hdu(Table(table))
    catalogue.name = "STARS"
    fits.HDUList([fits.PrimaryHDU(header=header), fits.ImageHDU(image(table), header, "SKY"), catalogue]).writeto(
        folder / SKY
    )
    with h5py.File(folder / STARS_HDF5, "w") as file:
        file.attrs["comment"] = "SYNTHETIC"
        for name, values in table.items():
            file.create_dataset(f"stars/{name}", data=values, chunks=True)
    pd.DataFrame(table).to_parquet(folder / STARS_PARQUET, index=False)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
