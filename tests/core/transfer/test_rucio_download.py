"""Downloads with Rucio's own tools, in a child process, which do not trust what Rucio says about storages either."""

from __future__ import annotations

import os
import signal
import tempfile
import time
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.model import Replica, Request, ResolvedFile
from rucio_lab.core.resolve.resolution import resolve
from rucio_lab.core.transfer.fetch import Fetcher
from rucio_lab.core.transfer.outcome import Outcome, Progress
from tests.lake.lake import FullLake, quoted
from tests.support.downloads import SCOPE, forked

NAME = "closed._0001.root"


@dataclass
class Evil:
    """An RSE whose gsiftp protocol is set by a test."""

    lake: FullLake
    rse: str

    def set_protocol(self, impl: str, hostname: str) -> None:
        path = quoted("rses", self.rse, "protocols", "gsiftp")
        its: dict[str, Any] = {"hostname": hostname, "port": 1, "prefix": "/x", "impl": impl}
        its["domains"] = {domain: {"read": 1, "write": 0, "delete": 0} for domain in ("lan", "wan")}
        self.lake.rest("POST", path, json=its)


@pytest.fixture
def evil(lake: FullLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Evil:
    """An evil RSE, and programs first on the path that record when they run."""
    for program in ("ssh", "scp", "rsync", "rclone", "xrdfs"):
        path = tmp_path / "bin" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\necho {program} "$@" >> {tmp_path}/ran\necho ok\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    rse = f"EVIL-{zlib.crc32(request.node.name.encode()):08X}"
    lake.rest("POST", quoted("rses", rse), json={"deterministic": True})
    return Evil(lake, rse)


def fetch_from(lake: FullLake, rse: str, folder: Path, host: str = "127.0.0.1") -> Outcome:
    """Download a file of an RSE over gsiftp."""
    path = lake.path("CERN-EOS", SCOPE, NAME)
    content = path.read_bytes()
    pfn = f"gsiftp://{host}:{lake.storages['root'].port}//{path.relative_to(lake.store)}"
    file = ResolvedFile(DID(SCOPE, NAME), (), len(content), f"{zlib.adler32(content):08x}", (Replica(rse, pfn, pfn),))
    (outcome,) = Fetcher(load_instances().get(), [(file, ("f",))], folder, parallel=1).run()
    assert outcome.state != "fetched" or (folder / "f").read_bytes() == content
    return outcome


@pytest.mark.parametrize("impl", ["rucio.rse.protocols.ssh.Default", "rucio.rse.protocols.rclone.Default", "this.that"])
def test_no_class_that_rucio_names_is_imported(evil: Evil, gfal2: None, tmp_path: Path, impl: str) -> None:
    evil.set_protocol(impl, "-oProxyCommand=id")
    outcome = fetch_from(evil.lake, evil.rse, tmp_path / "d")
    assert not (tmp_path / "ran").exists()
    assert outcome.state == "fetched", outcome


def test_the_class_for_storages_without_renaming_is_used(evil: Evil, gfal2: None, tmp_path: Path) -> None:
    evil.set_protocol("rucio.rse.protocols.gfal.NoRename", "127.0.0.1")
    assert fetch_from(evil.lake, evil.rse, tmp_path / "d", "localhost").state == "fetched"


def test_a_host_that_is_an_option_is_left_out(evil: Evil, gfal2: None) -> None:
    evil.set_protocol("rucio.rse.protocols.gfal.Default", "-oProxyCommand=id")
    name = f"{evil.rse}.root"
    file = {"scope": SCOPE, "name": name, "bytes": 1, "adler32": "00000001"}
    evil.lake.rest("POST", "/replicas", json={"rse": evil.rse, "files": [file]})
    request = Request((f"{SCOPE}:{name}",), "", access="download", allow_missing=True)
    with pytest.raises(Exception, match="its address cannot be understood"):
        resolve(request)


def test_the_configuration_of_rucios_own_tools_cannot_be_injected_into(tmp_path: Path) -> None:
    from rucio_lab.core.config.settings import Instance
    from rucio_lab.core.transfer.rucio_download import _configure

    _configure(Instance(name="a", url="https://a/%(x)s", auth_url="https://a\n[policy]\npackage = evil"), str(tmp_path))
    assert "\n[policy]" not in (tmp_path / "rucio.cfg").read_text()


def test_other_schemes_are_downloaded_by_rucios_own_tools(lake: FullLake, gfal2: None, tmp_path: Path) -> None:
    path = lake.path("CERN-EOS", SCOPE, "closed._0001.root")
    content = path.read_bytes()
    pfn = f"gsiftp://127.0.0.1:{lake.storages['root'].port}//{path.relative_to(lake.store)}"
    replica = Replica("CERN-EOS", pfn, pfn)
    did = DID(SCOPE, "closed._0001.root")
    file = ResolvedFile(did, (), len(content), f"{zlib.adler32(content):08x}", (replica,))
    (outcome,) = Fetcher(load_instances().get(), [(file, ("f",))], tmp_path / "d", parallel=1).run()
    assert outcome.state == "fetched", outcome
    assert (tmp_path / "d" / "f").read_bytes() == content
    other = replace(file, replicas=(replace(replica, pfn="gsiftp://127.0.0.1:1/f"),))
    (outcome,) = Fetcher(load_instances().get(), [(other, ("g",))], tmp_path / "d", parallel=1).run()
    assert outcome.state == "failed"
    assert "was not read over gsiftp:// by rucio-clients" in outcome.reason
    assert "Traceback" not in outcome.reason


@pytest.mark.parametrize("how", ["interrupted", "killed"])
def test_rucios_own_tools_end_with_the_download(
    lake: FullLake, gfal2: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = lake.path("CERN-EOS", SCOPE, "closed._0001.root")
    pfn = f"gsiftp://127.0.0.1:{lake.faulty['root'].port}//{path.relative_to(lake.store)}"
    lake.faulty["root"].silent()
    replica = Replica("CERN-EOS", pfn, pfn)
    file = ResolvedFile(DID(SCOPE, "closed._0001.root"), (), path.stat().st_size, "00000001", (replica,))
    seen: list[float] = []

    def running() -> list[str]:
        folders = [it.info["cmdline"][-1] for it in psutil.process_iter(["cmdline"]) if it.info["cmdline"]]
        return [folder for folder in folders if folder.startswith(f"{tmp_path}/rucio-lab-")]

    def run() -> None:
        Fetcher(load_instances().get(), [(file, ("f",))], tmp_path / "d", parallel=1).run(end_it)

    def end_it(progress: Progress) -> None:
        seen.extend([time.monotonic()] if running() else [])
        if seen and time.monotonic() > seen[0] + 1:  # it has started by then
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt

    if how == "killed":
        os.waitpid(forked(run), 0)
    else:
        with pytest.raises(KeyboardInterrupt):
            run()
    end = time.monotonic() + 5
    while running() or list(tmp_path.glob("rucio-lab-*")):
        assert time.monotonic() < end
        time.sleep(0.05)
