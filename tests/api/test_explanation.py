"""The explanation of which replicas were taken."""

from __future__ import annotations

from rucio_lab.api.files import FileList
from rucio_lab.core.did import DID
from rucio_lab.core.model import LeftOut, Replica
from rucio_lab.core.reasons import Cause, Reason
from tests.support.resolved import answer, file


def test_explains_many_files_in_few_rows() -> None:
    tape = (LeftOut(Replica("CERN-TAPE", "root://tape.example//t"), Reason(Cause.ON_TAPE)),)
    many = (file(f"f{i:05}", "d", left_out=tape) for i in range(10_000))
    files = FileList(answer(*many, missing={DID("s", "gone"): "Rucio has no replica of it"}, total=10_001))
    rows = files.explain().rows
    assert [(row.files, row.rse, row.endpoint, row.state, row.why) for row in rows] == [
        (10_000, "CERN-EOS", "root://eos.example:1094", "taken", ""),
        (10_000, "TRIUMF", "https://triumf.example", "in reserve", ""),
        (10_000, "CERN-TAPE", "root://tape.example", "left out", "it is on tape (a rule can bring a copy to disk)"),
        (1, "", "", "missing", "Rucio has no replica of it"),
    ]
    assert "s:gone" in repr(files.explain())


def test_explains_at_most_forty_outcomes() -> None:
    def fate(i: int) -> tuple[LeftOut, ...]:
        return (LeftOut(Replica("A", f"/mnt/{i}"), Reason(Cause.MOUNT_WRONG_SIZE, (f"/mnt/{i}", str(i), "9"))),)

    explained = FileList(answer(*(file(f"f{i}", left_out=fate(i)) for i in range(100)))).explain()
    assert len(repr(explained).splitlines()) == 1 + 40 + 1
    assert repr(explained).endswith("... and 62 more rows.")
