"""``rucio://`` addresses from the notebook: attached, explained, read while a storage dies, and taken to a worker."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import uproot

from rucio_lab import attach
from rucio_lab.api.files import FileList
from rucio_lab.core.address import lake_url
from rucio_lab.core.catalogue import read_ahead
from rucio_lab.core.filesystem import lake_file
from tests.lake.lake import FullLake
from tests.support.checks import within

Run = Callable[[str], Any]
GAMGAM = "opendata13TeV:GamGam"
FAULTY = "opendata13TeV:large.faulty"


@pytest.fixture(autouse=True)
def _with_lake(lake: FullLake) -> None:
    """Every test here is on the lake."""
    lake_file._files.clear()
    read_ahead.forget()


def test_attach_gives_addresses_that_name_the_data(run: Run, shell: Any) -> None:
    result = run(f"%rucio_attach {GAMGAM} as files --access lake")
    files = shell.user_ns["files"]
    assert result.error is None
    assert all(entry == lake_url("test", entry.did) for entry in files)
    assert {entry.scheme for entry in files} == {"rucio"}
    assert "from a replica chosen when they are opened, over rucio" in result.text
    assert files == attach(GAMGAM, access="lake")
    assert len(files.by_dataset()) > 5
    for same in (
        files[1:3],
        copy.copy(files),
        pickle.loads(pickle.dumps(files)),
        attach(GAMGAM, access="lake").refresh(),
    ):
        assert isinstance(same, FileList)
        assert same[0].scheme == "rucio"
    shell.user_ns["uproot"] = uproot
    result = run('len(uproot.concatenate(files[:3].uproot("mini"), ["photon_pt"]))')
    assert result.value > 0


def test_explain_says_where_they_would_be_read_from() -> None:
    explanation = attach("opendata13TeV:certificate.and.open", FAULTY, access="lake").explain()
    rows = {(row.rse, row.state) for row in explanation.rows}
    assert {("FAULTY-ROOT", "taken"), ("FAULTY-HTTPS", "in reserve"), ("WEB-DISK", "in reserve")} <= rows
    explanation = attach("opendata13TeV:tape.and.disk", access="lake").explain()
    assert ("CERN-TAPE", "left out") in {(row.rse, row.state) for row in explanation.rows}
    assert "it is on tape" in repr(explanation)


def test_explain_after_a_failure_puts_the_dead_storage_last(lake: FullLake) -> None:
    lake.faulty["root"].refuse()
    files = attach(FAULTY, access="lake")
    with pytest.warns(UserWarning, match="Reading continues from"), uproot.open(files[0]) as file:
        assert file["mini"].num_entries > 0
    taken = {row.rse for row in files.explain().rows if row.state == "taken"}
    assert "FAULTY-ROOT" not in taken


def test_a_loop_survives_a_storage_that_dies(lake: FullLake) -> None:
    (file,) = attach(FAULTY, access="lake")
    with uproot.open({file: "mini"}) as tree:
        expected = tree.arrays(["photon_pt"]).tolist()
    lake_file._files.clear()
    got: list[Any] = []

    def loop() -> None:
        for chunk in uproot.iterate({file: "mini"}, ["photon_pt"], step_size=5000):
            got.extend(chunk.tolist())
            lake.faulty["root"].refuse()

    with pytest.warns(UserWarning, match=r"FAULTY-ROOT .* Reading continues from") as caught, within(10):
        loop()
    assert got == expected
    assert len([each for each in caught if "Reading continues" in str(each.message)]) == 1


def test_a_worker_reads_what_was_pickled(lake: FullLake) -> None:
    (file,) = attach("opendata13TeV:large", access="lake")
    with uproot.open({file: "mini"}) as tree:
        entries = tree.num_entries
        source = pickle.dumps([file, tree.file.source])
    assert lake.token().encode() not in source
    code = (
        "import pickle, sys, uproot; file, source = pickle.load(sys.stdin.buffer); assert type(file) is str;"
        "assert source.chunk(0, 4).raw_data.tobytes() == b'root'; print(uproot.open({file: 'mini'}).num_entries)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=source, capture_output=True, check=True, timeout=60)
    assert int(done.stdout) == entries
