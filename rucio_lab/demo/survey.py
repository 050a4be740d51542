"""A SYNTHETIC star field in the formats used outside particle physics: FITS, HDF5 and Parquet.

No telescope ever saw this field. The same stars are in an image with a catalogue (``SKY``), in an HDF5 table
(``STARS_HDF5``) and in a Parquet table (``STARS_PARQUET``). ``python -m rucio_lab.demo.survey DIR`` writes the files.
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
"""The dataset with these files."""

SKY, STARS_HDF5, STARS_PARQUET = f"{DATASET}.sky.fits", f"{DATASET}.stars.h5", f"{DATASET}.stars.parquet"
FILES = (SKY, STARS_HDF5, STARS_PARQUET)
"""Names of the files."""

STARS = 5000
"""Number of stars."""

SIDE = 1024
"""Width and height of the image, in pixels."""

Array = npt.NDArray[Any]

_NEEDED = ("astropy", "h5py", "pandas", "pyarrow")
_SIGMA = 1.6  # pixels: the seeing
_STAMP = 7  # pixels around a star that receive its light
_SKY = 100.0  # counts in each pixel


def can_be_written() -> bool:
    """Return whether the packages for these formats are installed (``pip install 'rucio-lab[tools]'``)."""
    return all(find_spec(name) for name in _NEEDED)


def stars() -> dict[str, Array]:
    """Draw the stars: position in pixels, magnitude and colour in mag. They are the same each time."""
    rng = np.random.default_rng(1)
    magnitude = 14 + 8 * rng.beta(3, 1, STARS)  # many faint ones, few bright ones
    return {
        "x": rng.uniform(0, SIDE, STARS),
        "y": rng.uniform(0, SIDE, STARS),
        "magnitude": magnitude,
        "colour": 0.15 * (magnitude - 14) + rng.normal(0, 0.12, STARS),  # the faint ones are redder
    }


def image(table: dict[str, Array]) -> npt.NDArray[np.float32]:
    """Return the image of the stars, in counts."""
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
        The output folder; it is created.
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
