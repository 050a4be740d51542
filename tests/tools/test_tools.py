"""Every tool of docs/tools.md reads what attach returns, with the code on the page, as its table says."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from rucio_lab import attach
from rucio_lab.demo import survey
from rucio_lab.demo.samples import file_names
from tests.lake import files as lake_files
from tests.lake.content import SCOPE
from tests.lake.lake import FullLake
from tests.support import tools_page

Namespace = dict[str, Any]

HOW: dict[str, dict[str, str]] = {
    "stream root": {"access": "stream", "scheme": "root"},
    "stream https": {"access": "stream", "scheme": "https"},
    "mount": {"access": "mount"},
    "lake": {"access": "lake"},
    "download": {"access": "download"},
}
"""Column of the table -> how to attach."""


class Truth:
    """The content of the files, read directly from disk."""

    def __init__(self, lake: FullLake) -> None:
        self.paths = {
            f"{SCOPE}:{sample.name}.GamGam": [lake.path("CERN-EOS", SCOPE, name) for name in file_names(sample)]
            for sample in lake_files.SAMPLES
            if sample.name in ("data_A", "data_B")
        }
        trees = {str(path): "mini" for paths in self.paths.values() for path in paths}
        self.events = uproot.concatenate(trees, ["photon_pt", "photon_eta", "runNumber", "met_et"])
        self.stars = survey.stars()
        self.sky = survey.image(self.stars)

    def entries(self, paths: list[Any]) -> int:
        return sum(uproot.open({path: "mini"}).num_entries for path in paths)


def check_uproot_open(got: Namespace, truth: Truth) -> None:
    assert got["entries"] == truth.entries(truth.paths[f"{SCOPE}:data_A.GamGam"][:1]) > 0


def check_uproot_iterate(got: Namespace, truth: Truth) -> None:
    assert got["entries"] == len(truth.events)


def check_uproot_concatenate(got: Namespace, truth: Truth) -> None:
    assert ak.array_equal(got["events"].photon_pt, truth.events.photon_pt)
    assert got["table"].met_et.to_list() == truth.events.met_et.to_list()


def check_pt(got: Namespace, truth: Truth) -> None:
    assert ak.array_equal(got["pt"], truth.events.photon_pt)


def check_first_pt(got: Namespace, truth: Truth) -> None:
    assert 0 < len(got["pt"]) < len(truth.events)
    assert got["pt"].to_list() == truth.events.photon_pt[: len(got["pt"])].to_list()


def check_distributed(got: Namespace, truth: Truth) -> None:
    assert got["hardest"] == ak.max(truth.events.met_et)
    assert sum(got["sizes"]) == len(truth.events)


def check_runner(got: Namespace, truth: Truth) -> None:
    assert got["counts"] == {did: truth.entries(paths) for did, paths in truth.paths.items()}


def check_table(got: Namespace, truth: Truth) -> None:
    for column in ("magnitude", "colour"):
        assert np.array_equal(np.asarray(got["table"][column]), truth.stars[column])


def check_h5py(got: Namespace, truth: Truth) -> None:
    assert np.array_equal(got["magnitude"], truth.stars["magnitude"][:1000])


def check_astropy(got: Namespace, truth: Truth) -> None:
    assert np.array_equal(got["cutout"], truth.sky[100:200, 300:400])
    assert np.array_equal(got["catalogue"]["x"], truth.stars["x"])


def check_open(got: Namespace, truth: Truth) -> None:
    assert got["magic"] == b"root"


def check_rdataframe(got: Namespace, truth: Truth) -> None:
    assert got["frame"].Count().GetValue() == len(truth.events)


CHECKS: dict[str, Callable[[Namespace, Truth], None]] = {
    "uproot.open": check_uproot_open,
    "uproot.iterate": check_uproot_iterate,
    "uproot.concatenate": check_uproot_concatenate,
    "uproot.dask": check_pt,
    "dask.distributed": check_distributed,
    "coffea NanoEvents": check_first_pt,
    "coffea Runner": check_runner,
    "awkward": check_table,
    "pandas": check_table,
    "pyarrow": check_table,
    "h5py": check_h5py,
    "astropy": check_astropy,
    "RDataFrame": check_rdataframe,
    "open": check_open,
}
"""Tool -> check of the variables that its code sets."""


@pytest.fixture(scope="module")
def truth(full_lake: FullLake) -> Truth:
    return Truth(full_lake)


@pytest.fixture(scope="module")
def attached() -> dict[str, Namespace]:
    """Access -> the attached variables of the page; attached once for each."""
    return {}


@pytest.fixture
def prepare(
    lake: FullLake, attached: dict[str, Namespace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Namespace]:
    """Return the attached variables of the page for an access."""
    mounts = {rse: lake.mount(rse) for rse in ("CERN-EOS", "NOTEBOOK-POSIX")}

    def prepare_for(access: str) -> Namespace:
        settings = {"mounts": mounts} if access == "mount" else {}
        config = lake.config(test=settings)
        with config.open("a") as toml:
            toml.write(f'[downloads]\nfolder = "{tmp_path}"\n')
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(config))
        if access not in attached:
            names: Namespace = {"attach": partial(attach, **HOW[access])}
            exec(tools_page.PREPARE, names)
            attached[access] = names
        return dict(attached[access])

    return prepare_for


def test_the_page_and_the_tests_have_the_same_tools_and_accesses() -> None:
    assert list(tools_page.LINKS) == list(dict.fromkeys(tool for tool, _ in tools_page.CELLS))
    assert set(tools_page.LINKS) == set(tools_page.CODE) == set(CHECKS)
    assert list(HOW) == tools_page.ACCESSES
    assert set(tools_page.CELLS.values()) == {"yes", "whole file", "not run", "no"}


def test_each_row_links_to_its_code() -> None:
    for tool, anchor in tools_page.LINKS.items():
        assert anchor == re.sub(r"[^\w -]", "", tool.lower()).replace(" ", "-")


WITHOUT_ROOT = [cell for cell in tools_page.CELLS if cell[0] == "RDataFrame" and not find_spec("ROOT")]
SLOW = {("dask.distributed", access) for access in ("stream https", "mount", "download")}
"""Each starts a cluster; ``stream root`` and ``lake`` show the two ways to send addresses to workers."""

READS = [
    pytest.param(*cell, marks=pytest.mark.soak if cell in SLOW else ())
    for cell, says in tools_page.CELLS.items()
    if says != "no" and cell not in WITHOUT_ROOT
]
FAILS = [cell for cell, says in tools_page.CELLS.items() if says == "no" and cell not in WITHOUT_ROOT]


@pytest.mark.parametrize(("tool", "access"), READS)
def test_reads(tool: str, access: str, prepare: Callable[[str], Namespace], truth: Truth) -> None:
    names = prepare(access)
    exec(tools_page.CODE[tool], names)
    CHECKS[tool](names, truth)


@pytest.mark.parametrize(("tool", "access"), FAILS)
def test_does_not_read(tool: str, access: str, prepare: Callable[[str], Namespace]) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - each tool has its own message
        exec(tools_page.CODE[tool], prepare(access))


@pytest.mark.parametrize(("tool", "access"), WITHOUT_ROOT)
def test_a_tool_that_is_not_installed_gets_the_urls_it_documents(
    tool: str, access: str, prepare: Callable[[str], Namespace]
) -> None:
    urls = prepare(access)["files"].urls
    assert {type(url) for url in urls} == {str}
    known = all(re.match(r"root://|https://|/", url) for url in urls)  # TFile::Open
    assert tools_page.CELLS[tool, access] == ("not run" if known else "no")


@pytest.mark.parametrize(("access", "scheme"), [("stream root", "root"), ("stream https", "https"), ("lake", "root")])
def test_a_cutout_of_an_image_reads_only_a_part_of_it(
    access: str, scheme: str, lake: FullLake, prepare: Callable[[str], Namespace]
) -> None:
    names = prepare(access)
    _, _, cut = tools_page.CODE["astropy"].partition("fs, path")
    exec("import fsspec; from astropy.io import fits", names)
    before = lake.storages[scheme].sent()
    exec(f"fs, path{cut}", names)
    moved = lake.storages[scheme].sent() - before
    assert 100 * 1024 * 4 <= moved < 0.3 * names["sky"].bytes
