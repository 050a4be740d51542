"""The command rucio-lab, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rucio_lab import __version__, attach
from rucio_lab.demo.processes import free_port
from tests.lake.lake import FullLake

SCOPE = "opendata13TeV"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from rucio_lab.cli import main; sys.exit(main())", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def test_version_and_help() -> None:
    assert run("--version").stdout.strip() == __version__
    assert all(verb in run("--help").stdout for verb in ("demo", "doctor", "resolve"))


class TestResolve:
    def test_it_prints_what_attach_gives(self, lake: FullLake) -> None:
        done = run("resolve", f"{SCOPE}:GamGam.MC", "--scheme", "root", "--limit", "3")
        assert done.returncode == 0
        assert done.stdout.splitlines() == attach(f"{SCOPE}:GamGam.MC", scheme="root", limit=3).urls
        assert "3 of " in done.stderr
        assert "taken" in done.stderr

    def test_it_prints_addresses_that_are_resolved_later(self, lake: FullLake) -> None:
        done = run("resolve", f"{SCOPE}:large", "--access", "lake")
        assert done.stdout.splitlines() == [f"rucio://test/{SCOPE}/large.GamGam._0001.root"]
        assert "CERN-EOS" in done.stderr  # where it would be read from now

    def test_an_error_is_one_sentence_and_a_status(self, lake: FullLake) -> None:
        done = run("resolve", f"{SCOPE}:nothing")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("rucio-lab resolve: ")
        assert f"no DID {SCOPE}:nothing" in done.stderr
        assert "Traceback" not in done.stderr


class TestDoctor:
    @pytest.fixture(autouse=True)
    def own_ipython(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    def test_all_is_well(self, lake: FullLake) -> None:
        done = run("doctor")
        assert done.returncode == 0, done.stdout
        assert "signed in as alice" in done.stdout
        assert f"JupyterLab's sidebar {__version__}" in done.stdout
        assert "not enabled" not in done.stdout
        assert "All is well." in done.stdout
        assert "alice-pass" not in done.stdout + done.stderr

    def test_a_rucio_that_is_down(self, lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
        address = f"http://127.0.0.1:{free_port()}"
        nobody = {"url": address, "auth_url": address, "rucio_cfg": str(lake.rucio_cfg(password=""))}
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config(test=nobody)))
        done = run("doctor")
        assert done.returncode == 1
        assert "cannot be reached" in done.stdout

    def test_a_wrong_password(self, lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
        wrong = {"rucio_cfg": str(lake.rucio_cfg(password="wrong"))}
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config(test=wrong)))
        done = run("doctor")
        assert done.returncode == 1
        assert "refused the sign-in" in done.stdout

    def test_no_configuration(self, lake: FullLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RUCIO_LAB_CONFIG")
        monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
        done = run("doctor")
        assert done.returncode == 1
        assert "No Rucio instance is configured" in done.stdout
        assert "rucio-lab demo" in done.stdout

    def test_a_kernel_whose_python_is_gone(self, lake: FullLake, tmp_path: Path) -> None:
        folder = tmp_path / "jupyter-data" / "kernels" / "gone"
        folder.mkdir(parents=True)
        spec = {"argv": ["/nowhere/python3", "-m", "x"], "display_name": "Gone", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(spec))
        done = run("doctor")
        assert "gone (/nowhere/python3) does not run" in done.stdout
        assert "Traceback" not in done.stderr
        assert "signed in as alice" in done.stdout
