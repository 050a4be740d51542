from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from rucio_lab.demo.environment import demo_home
from tests.support.demo import COMMAND, outputs, start_demo, write_notebook
from tests.support.processes import alive, descendants, wait_until

WHERE = "import os; from pathlib import Path; Path('lake').write_text(os.environ['RUCIO_LAB_CONFIG'])"


@pytest.mark.soak
def test_two_demos_run_at_once_and_leave_nothing_behind_when_stopped_or_killed(tmp_path: Path) -> None:
    demos = []
    for name in ("polite", "killed"):
        folder = tmp_path / name
        folder.mkdir()
        notebook = write_notebook(folder / "n.ipynb", WHERE, "import time; time.sleep(1000)")
        demos.append(start_demo("--execute", notebook, cwd=tmp_path))
    polite, killed = demos
    files = [tmp_path / name / "lake" for name in ("polite", "killed")]
    wait_until(lambda: all(path.exists() and path.read_text() for path in files), seconds=120)
    lakes = [Path(path.read_text()).parent for path in files]
    hosts = [re.findall("rucio_host = (.*)", (lake / "client" / "rucio.cfg").read_text())[0] for lake in lakes]
    assert hosts[0] != hosts[1]
    assert [requests.get(f"{host}/ping", timeout=10).status_code for host in hosts] == [200, 200]
    families = [descendants(demo.pid) for demo in demos]
    assert all(len(family) > 6 for family in families)  # server, its worker, storages, notebook, kernel and guards

    polite.send_signal(signal.SIGTERM)
    assert "Traceback" not in polite.communicate(timeout=60)[0]
    assert polite.returncode == 143
    assert not alive(families[0], 0)
    assert not lakes[0].exists()
    assert requests.get(f"{hosts[1]}/ping", timeout=10).status_code == 200

    killed.kill()
    killed.communicate()
    assert not alive(families[1], 15)
    assert lakes[1].exists()
    good = write_notebook(tmp_path / "good.ipynb", "print(6 * 7)")  # the next demo cleans up after the killed one
    assert start_demo("--execute", good, cwd=tmp_path).wait(120) == 0
    assert not lakes[1].exists()


def test_execute_uses_this_python_and_the_folder_of_the_notebook_and_reports_an_error(tmp_path: Path) -> None:
    kernel = tmp_path / "data" / "kernels" / "python3"  # the user has another Python as the kernel of that name
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps({"argv": ["/bin/false"], "display_name": "x", "language": "python"}))
    (tmp_path / "sub").mkdir()
    where = "import os, sys; print(sys.prefix, os.getcwd())"
    notebook = write_notebook(tmp_path / "sub" / "bad.ipynb", where, "1 / 0", "print('never')")
    before = notebook.read_text()
    env = {"JUPYTER_DATA_DIR": str(tmp_path / "data"), "JUPYTER_PREFER_ENV_PATH": "0"}
    demo = start_demo("--execute", notebook, cwd=tmp_path, **env)
    text, _ = demo.communicate(timeout=120)
    assert demo.returncode == 1
    assert "ZeroDivisionError: division by zero" in text
    assert "bad.ipynb failed." in text
    assert "\x1b" not in text
    assert outputs(tmp_path / "sub" / "bad.executed.ipynb") == f"{sys.prefix} {tmp_path / 'sub'}\n"
    assert notebook.read_text() == before


def test_a_missing_notebook_gives_a_short_message(tmp_path: Path) -> None:
    demo = start_demo("--execute", "nothing.ipynb", cwd=tmp_path)
    text, _ = demo.communicate(timeout=60)
    assert (demo.returncode, text) == (
        1,
        "rucio-lab demo: The notebook nothing.ipynb does not exist. Give the path of an .ipynb file.\n",
    )


def test_an_unusable_home_folder_gives_a_short_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    demo = start_demo(cwd=tmp_path, RUCIO_LAB_DEMO_HOME=str(tmp_path / "file" / "home"))
    text, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert len(text.splitlines()) == 1
    assert str(tmp_path / "file" / "home") in text


def check_report(text: str, results: Path) -> None:
    """Check the report after the packaged notebook has run."""
    found = json.loads((results / "hyy.json").read_text())
    assert f"Events read  {found['events']:,}" in text
    assert abs(found["peak_gev"] - 125) < 0.5
    assert f"m(yy) peak   {found['peak_gev']:.1f} GeV" in text
    moved = re.search(r"Bytes moved  ([\d.]+) MB of ([\d.]+) MB", text)
    assert moved
    assert 0.1 < float(moved[1]) / float(moved[2]) < 0.3
    assert "17 read in place, 0 downloaded" in text
    assert (results / "hyy.png").read_bytes().startswith(b"\x89PNG")
    assert outputs(results / "hyy.ipynb")


@pytest.mark.soak
def test_without_a_terminal_the_demo_ends_after_the_report(tmp_path: Path) -> None:
    demo = start_demo(cwd=tmp_path)
    text, _ = demo.communicate(timeout=200)
    assert demo.returncode == 0, text
    check_report(text, tmp_path / "rucio-lab-demo")


def test_in_a_terminal_the_report_is_followed_by_jupyterlab_until_ctrl_c(tmp_path: Path) -> None:
    results = tmp_path / "rucio-lab-demo"
    results.mkdir()
    write_notebook(results / "hyy.ipynb", "'written by the user'")
    ours, theirs = pty.openpty()
    env = {**os.environ, "RUCIO_LAB_DEMO_HOME": str(demo_home())}
    command = [*COMMAND, "--no-browser"]
    demo = subprocess.Popen(  # a session with this terminal, so that Ctrl-C sends a real signal
        [sys.executable, "-c", _WITH_TERMINAL, *command], cwd=tmp_path, env=env, stdin=theirs, stdout=theirs,
        stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    screen = bytearray()

    def read_until(what: bytes) -> None:
        while what not in screen:
            screen.extend(os.read(ours, 4096))

    read_until(b"Ctrl-C stops JupyterLab")
    check_report(screen.decode(), results)
    (kept,) = results.glob("hyy-*.ipynb")
    assert "written by the user" in kept.read_text()
    address = re.search(rb"http://127\.0\.0\.1:(\d+)/lab/tree/hyy\.ipynb\?token=(\S+)", screen)
    assert address
    base, token = f"http://127.0.0.1:{int(address[1])}", address[2].decode()
    listing = requests.get(f"{base}/api/contents", params={"token": token}, timeout=30).json()
    assert {"hyy.ipynb", "hyy.png"} <= {row["name"] for row in listing["content"]}
    assert requests.get(f"{base}/api/contents", timeout=30).status_code == 403
    kernel = requests.post(f"{base}/api/kernels", headers={"Authorization": f"token {token}"}, timeout=30)
    assert kernel.status_code == 201
    family = descendants(demo.pid)
    assert any("ipykernel" in " ".join(process.cmdline()) for process in family)

    os.write(ours, b"\x03")
    wait_until(lambda: demo.poll() is not None)
    os.close(ours)
    assert demo.returncode == 0
    assert not alive(family, 0)


# TIOCSCTTY sets the controlling terminal of the session
_WITH_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
