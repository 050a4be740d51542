"""The command rucio-lab, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pyte
import pytest

from rucio_lab import __version__, attach
from rucio_lab.cli.doctor import Finding
from rucio_lab.core.jobs.registry import Jobs
from rucio_lab.core.model import Request
from rucio_lab.core.text import is_printable
from rucio_lab.demo.processes import free_port
from tests.lake.lake import FullLake
from tests.support.names import OSC

SCOPE = "opendata13TeV"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from rucio_lab.cli.main import main; sys.exit(main())", *words]
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

    @pytest.mark.parametrize("value", ["", "~/etc/rucio.cfg", "$HOME/etc/rucio.cfg"])
    def test_a_rucio_config_that_rucio_cannot_read(
        self, lake: FullLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        home = str(lake.rucio_cfg().parents[1])
        monkeypatch.delenv("RUCIO_LAB_CONFIG")
        monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
        monkeypatch.setenv("HOME", home)
        monkeypatch.setenv("RUCIO_HOME", home)
        monkeypatch.setenv("RUCIO_CONFIG", value)
        done = run("doctor")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "signed in as alice" in done.stdout

    def test_a_check_that_fails_hides_no_other(
        self, lake: FullLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kernel = tmp_path / "jupyter-data" / "kernels" / "odd" / "kernel.json"
        kernel.parent.mkdir(parents=True)
        kernel.write_text(json.dumps({"argv": [5], "display_name": "Odd", "language": "python"}))
        done = run("doctor")
        assert done.returncode == 1
        assert "This check failed: " in done.stdout
        assert "signed in as alice" in done.stdout

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


class TestTerminal:
    """What comes from Rucio is only shown by a terminal."""

    @staticmethod
    def assert_plain(shown: str) -> None:
        assert all(map(is_printable, shown.split("\n")))
        screen = pyte.Screen(2000, 60)
        pyte.Stream(screen).feed(shown.replace("\n", "\r\n"))
        assert [line.rstrip() for line in screen.display if line.strip()] == [
            line for line in shown.splitlines() if line.strip()
        ]
        assert screen.title == ""

    def test_addresses_and_reasons(self, lake: FullLake, unseen: str) -> None:
        done = run("resolve", unseen, "--scheme", "root", "--allow-missing")
        port = lake.storages["root"].port
        assert sorted(address.rpartition("/")[2] for address in done.stdout.splitlines()) == [
            "clip%1B]52;c;cm0gLXJmIC8=%07.root",
            "cut%C2%85!x%C2%85!touch pwned #.root",
            "mirror%E2%80%AEtoor.ataD",
        ]
        assert all(address.startswith(f"root://127.0.0.1:{port}//") for address in done.stdout.splitlines())
        assert r"hostile:evil\u2028!x\u2028!touch pwned #" in done.stderr
        self.assert_plain(done.stdout)
        self.assert_plain(done.stderr)

    def test_an_error_of_rucio(self, lake: FullLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "token").write_text(lake.token())
        (tmp_path / "token").chmod(0o600)
        url = f"https://127.0.0.1:{lake.faulty['rucio'].port}"
        faulty = {"url": url, "rucio_cfg": "", "auth": "token", "token_file": str(tmp_path / "token")}
        config = lake.config(test={**faulty, "ca": str(lake.authority.ca), "storage": {"ca": str(lake.authority.ca)}})
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(config))
        said = {"ExceptionClass": "InvalidObject", "ExceptionMessage": f"moc\u202elive{OSC}\u2028x"}
        lake.faulty["rucio"].answer_http(400, json.dumps(said), "application/json", ExceptionClass="InvalidObject")
        done = run("resolve", "s:n")
        shown = done.stdout + done.stderr
        assert done.returncode == 1
        assert r"moc\u202elive\x1b]52;c;cm0gLXJmIC8=\x07\x1b]0;owned\x07\x1b[2J\x1b[31m\u2028x" in shown
        self.assert_plain(shown)

    def test_the_log_of_a_job(self, lake: FullLake, unseen: str, tmp_path: Path) -> None:
        jobs = Jobs()
        job = jobs.start(Request((unseen,), "test", folder=str(tmp_path / "to")))
        end = time.monotonic() + 60
        while jobs.get(job.id).active:
            assert time.monotonic() < end
            time.sleep(0.05)
        with (jobs.folder / job.id / "log.txt").open("a") as log:
            log.write(f"a tool: {OSC}\n")
        log_, list_ = run("job", "log", job.id).stdout, run("jobs").stdout
        assert r"mirror\u202etoor.ataD" in log_
        assert log_.endswith("\\x1b[2J\\x1b[31m\n")
        self.assert_plain(log_)
        self.assert_plain(list_)

    def test_what_the_doctor_finds(self) -> None:
        self.assert_plain(str(Finding("bad", f"Rucio said {OSC}", f"Mend {OSC}")))
