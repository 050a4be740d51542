"""The paths of downloaded files, for names of every kind."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.copies.places import component, place, places
from rucio_lab.core.did import DID
from rucio_lab.core.model import Replica, ResolvedFile
from rucio_lab.core.transfer.fetch import Fetcher

pytestmark = pytest.mark.usefixtures("configure")


_NASTY = [
    *(
        "..",
        ".",
        "/",
        "//",
        "",
        "../x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "nul\0x",
        "line\nend",
        "\x1b[31m",
        "~root",
        "-rf",
    ),
    *(
        ".hidden",
        "x" * 300,
        "x" * 300 + "y",
        "é" * 200,
        "\ud800",
        "%2F",
        "%252F",
        "a:b",
        "*",
        "[a]",
        "\u202egnp",
        "." * 300,
    ),
    *("con", "A", "a", " ", "a ", ".rucio-lab-verified", ".rucio-lab-downloads", ".a~5-adler32-00000001.part"),
]


def test_each_name_gives_one_unique_component() -> None:
    made = [component(name) for name in _NASTY if name]
    assert len(set(made)) == len(made)
    for each in made:
        assert "/" not in each
        assert "\0" not in each
        assert not each.startswith(".")
        assert 0 < len(os.fsencode(each)) <= 200
        assert each.isprintable()
    assert component("data_A.GamGam._0001.root") == "data_A.GamGam._0001.root"
    assert component("two words, Ünïcödé-粒子.root") == "two words, Ünïcödé-粒子.root"


def test_every_nasty_name_can_be_downloaded(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"bytes")
    adler = f"{zlib.adler32(b'bytes'):08x}"
    dids = [DID("s", name) for name in _NASTY if name]
    files = [ResolvedFile(did, (), 5, adler, (Replica("R", str(tmp_path / "source")),)) for did in dids]
    wanted = [(file, place(file.did, DID("s", "../.."), "i")) for file in files]
    outcomes = Fetcher(load_instances().get(), wanted, tmp_path / "d", parallel=4).run()
    assert {outcome.state for outcome in outcomes} == {"fetched"}
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} == {
        tmp_path,
        tmp_path / "d" / "i" / "s" / component("../.."),
    }


def test_names_that_a_disk_does_not_distinguish() -> None:
    dids = [DID("s", name) for name in ("A.root", "a.root", "b.root", "Straße", "STRASSE", "e\u0301", "\u00e9")]
    wanted = [(did, place(did, None)) for did in dids]
    kept = places(wanted, case_sensitive=False)
    assert len({where[-1].casefold() for where in kept.values()}) == len(dids)
    assert kept[dids[2]] == ("b.root",)
    assert places(wanted)[dids[0]] == ("A.root",)
