"""Folders with planted links, and read-only folders."""

from __future__ import annotations

import getpass
import os
import tempfile
import zlib
from pathlib import Path

import pytest

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.copies.base_folder import mark
from rucio_lab.core.did import DID
from rucio_lab.core.model import Replica, ResolvedFile
from rucio_lab.core.transfer.fetch import Fetcher
from tests.lake.lake import FullLake
from tests.support.downloads import fetch, forked

pytestmark = pytest.mark.usefixtures("configure")


def test_files_in_a_read_only_folder_are_used(lake: FullLake, base: Path) -> None:
    (file,) = fetch("web").files
    instance, wanted = load_instances().get(), [(file, Path(file.url).relative_to(base).parts)]
    for path in (base, *base.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    base.parent.chmod(0o777)
    for folder in base.parent.parents:
        if folder.is_relative_to(Path(tempfile.gettempdir()) / f"pytest-of-{getpass.getuser()}"):
            folder.chmod(0o755)

    def as_another_user() -> None:
        if os.geteuid() == 0:  # other users cannot write there anyway
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        mark(base, instance.name)
        (outcome,) = Fetcher(instance, wanted, base, parallel=1).run()
        (base.parent / "came").write_text(outcome.state)

    os.waitpid(forked(as_another_user), 0)
    assert (base.parent / "came").read_text() == "there"


@pytest.mark.parametrize("planted", ["folder", "file", "part", "stamps", "hard link"])
def test_planted_links_lead_nowhere(tmp_path: Path, planted: str) -> None:
    victim, target = tmp_path / "victim", tmp_path / "d" / "ds"
    victim.mkdir()
    (victim / "thesis").write_text("my thesis")
    (tmp_path / "source").write_bytes(b"bytes")
    adler = f"{zlib.adler32(b'bytes'):08x}"
    file = ResolvedFile(DID("s", "f"), (), 5, adler, (Replica("R", str(tmp_path / "source")),))
    part = f".f~5-adler32-{adler}.part"
    if planted == "folder":
        target.parent.mkdir()
        target.symlink_to(victim)
    else:
        target.mkdir(parents=True)
        name = {"file": "f", "part": part, "stamps": ".rucio-lab-verified", "hard link": part}[planted]
        make = (target / name).hardlink_to if planted == "hard link" else (target / name).symlink_to
        make(victim / "thesis")
    (outcome,) = Fetcher(load_instances().get(), [(file, ("ds", "f"))], tmp_path / "d", parallel=1).run()
    assert [path.name for path in victim.iterdir()] == ["thesis"]
    assert (victim / "thesis").read_text() == "my thesis"
    assert (outcome.state == "fetched") is (planted in ("stamps", "hard link"))
    if planted == "folder":
        assert "is a symbolic link" in outcome.reason
