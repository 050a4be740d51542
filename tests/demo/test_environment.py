from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rucio_lab.core.errors import RucioLabError
from rucio_lab.demo.environment import ServerEnvironment
from rucio_lab.demo.progress import Progress
from tests.support.demo import start_demo
from tests.support.processes import alive, descendants, wait_until

SMALL = ("pip",)  # always installed, so this environment takes seconds and no network


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


def test_an_incomplete_one_is_replaced_once_while_a_second_demo_waits(tmp_path: Path, said: io.StringIO) -> None:
    environment = ServerEnvironment(tmp_path, SMALL)
    rubbish = environment.folder / "bin" / "rubbish"
    rubbish.parent.mkdir(parents=True)
    rubbish.touch()
    program = (
        "from pathlib import Path; from rucio_lab.demo.environment import ServerEnvironment;"
        "from rucio_lab.demo.progress import Progress;"
        f"ServerEnvironment(Path({str(tmp_path)!r}), {SMALL!r}).ensure(Progress())"
    )
    command = [sys.executable, "-c", program]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in ("first", "second")]
    texts = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    for message in ("Removing an incomplete", "First start: installing the Rucio server", "Waiting for another demo"):
        assert sorted(message in text for text in texts) == [False, True], message
    assert not rubbish.exists()
    assert subprocess.run([environment.python, "-c", "import pip"], check=False).returncode == 0
    environment.ensure(Progress(said))
    assert said.getvalue() == ""


def test_a_failure_of_pip_gives_one_error_and_leaves_nothing_behind(
    tmp_path: Path, said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    environment = ServerEnvironment(tmp_path, ("no-such-package-at-all==1",))
    with pytest.raises(RucioLabError) as caught:
        environment.ensure(Progress(said))
    assert caught.value.message == "The Rucio server could not be installed: pip failed."
    assert "index" in caught.value.remedy
    assert "No matching distribution found for no-such-package-at-all" in caught.value.remedy
    assert not environment.folder.exists()


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_the_installation_removes_it(tmp_path: Path, signum: signal.Signals, status: int) -> None:
    demo = start_demo(cwd=tmp_path, RUCIO_LAB_DEMO_HOME=str(tmp_path / "home"))
    wait_until(lambda: any((tmp_path / "home").glob("server-*/pyvenv.cfg")))
    family = descendants(demo.pid)
    demo.send_signal(signum)
    text, _ = demo.communicate(timeout=30)
    assert demo.returncode == status
    assert "Traceback" not in text
    assert not list((tmp_path / "home").glob("server-*/pyvenv.cfg"))
    assert family
    assert not alive(family, 0)
