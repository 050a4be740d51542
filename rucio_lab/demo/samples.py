"""The datasets of the demo lake: a small version of "GamGam" of the ATLAS Open Data 2020 release."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One dataset of the lake.

    Attributes
    ----------
    name
        Name in the release, without ``.GamGam``.
    number
        Run number of data, channel number (DSID) of simulation.
    files
        Number of files.
    luminosity
        Luminosity of data in inverse femtobarn; 0 for simulation.
    cross_section
        Cross-section of simulation in picobarn, including the branching fraction; 0 for data.
    generated
        Simulated events per file, before any selection; 0 for data.
    """

    name: str
    number: int
    files: int
    luminosity: float = 0
    cross_section: float = 0
    generated: int = 0

    @property
    def is_data(self) -> bool:
        """Whether this is data, not simulation."""
        return self.luminosity > 0


SAMPLES = (
    Sample("data_A", 297730, 1, luminosity=0.5),
    Sample("data_B", 300800, 2, luminosity=1.9),
    Sample("data_C", 302053, 3, luminosity=2.9),
    Sample("data_D", 302737, 5, luminosity=4.7),
    Sample("mc_341081.ttH125_gamgam", 341081, 1, cross_section=0.00115, generated=30_000),
    Sample("mc_343981.ggH125_gamgam", 343981, 2, cross_section=0.102, generated=45_000),
    Sample("mc_345041.VBFH125_gamgam", 345041, 1, cross_section=0.0086, generated=40_000),
    Sample("mc_345318.WpH125J_Wincl_gamgam", 345318, 1, cross_section=0.0019, generated=25_000),
    Sample("mc_345319.ZH125J_Zincl_gamgam", 345319, 1, cross_section=0.0017, generated=25_000),
)
"""The datasets of the GamGam release."""


def file_names(sample: Sample) -> list[str]:
    """Return the names of a sample's files."""
    return [f"{sample.name}.GamGam._{number:04d}.root" for number in range(1, sample.files + 1)]
