"""The nine public H->yy files of the ATLAS Open Data 2020 release, at their public addresses.

https://opendata.cern.ch/record/15006 (CC0). The files are only registered in Rucio, not copied.
"""

from __future__ import annotations

from rucio_lab.demo.content import WEBDAV, XROOTD, Account, Catalogue, Container, Dataset, File, Protocol, Rse

SCOPE = "opendata"
"""Scope of the public files."""

RSE = "CERN-OPENDATA"
"""The RSE that has them."""

_FOLDER = "/eos/opendata/atlas/OutreachDatasets/2020-08-19/GamGam/"
_ROOT_HOST = "eospublic.cern.ch"
_HTTPS_HOST = "opendata.cern.ch"

# name without .GamGam.root, bytes, adler32
_FILES = (
    ("data_A", 81250713, "29634ba7"),
    ("data_B", 289902606, "afaa0bed"),
    ("data_C", 424774751, "46c10b74"),
    ("data_D", 686798449, "3c5ca072"),
    ("mc_341081.ttH125_gamgam", 217819076, "f76530f0"),
    ("mc_343981.ggH125_gamgam", 218418347, "5b858188"),
    ("mc_345041.VBFH125_gamgam", 108616148, "8cff2e38"),
    ("mc_345318.WpH125J_Wincl_gamgam", 29757932, "5ac6bca3"),
    ("mc_345319.ZH125J_Zincl_gamgam", 58701804, "6b506f04"),
)


def _dataset(name: str, kind: str, folder: str) -> Dataset:
    files = []
    for sample, size, adler32 in _FILES:
        if sample.startswith(kind):
            pfn = f"https://{_HTTPS_HOST}:443{_FOLDER}{folder}/{sample}.GamGam.root"
            files.append(File(f"{sample}.GamGam.root", (RSE,), bytes=size, adler32=adler32, pfns={RSE: pfn}))
    return Dataset(SCOPE, name, tuple(files))


def open_data_catalogue() -> Catalogue:
    """Return the public release as the content of a lake."""
    # an empty prefix, because Rucio puts two slashes after a longer one in root PFNs
    root = Protocol("root", _ROOT_HOST, 1094, "/", XROOTD, read=1)
    https = Protocol("https", _HTTPS_HOST, 443, "/", WEBDAV, read=2)
    return Catalogue(
        accounts=(Account("root", scopes=(SCOPE,)),),
        # not deterministic: the paths are those of the release, not computed by Rucio
        rses=(Rse(RSE, (root, https), {"site": "CERN", "country": "CH"}, {"deterministic": False}),),
        datasets=(_dataset("GamGam.2020.Data", "data", "Data"), _dataset("GamGam.2020.MC", "mc", "MC")),
        containers=(Container(SCOPE, "GamGam.2020", ("GamGam.2020.Data", "GamGam.2020.MC")),),
    )
