from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from rucio_lab.core.errors import RucioLabError
from rucio_lab.demo.processes import Children
from tests.support.processes import alive, descendants, wait_until

# a server that ignores TERM and has a child process
STUBBORN = "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); "
STUBBORN += "subprocess.run(['sleep', '1000']); time.sleep(1000)"


def test_the_error_for_a_child_that_dies_has_the_end_of_its_log(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("the oracle", [sys.executable, "-c", "print('no idea'); raise SystemExit(3)"])
        with pytest.raises(
            RucioLabError, match=r"The oracle ended with status 3 before it answered\.[^.]*:\n +no idea"
        ):
            child.wait_ready(lambda: False, seconds=20)


def test_a_missing_command_is_an_error(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("the oracle", [tmp_path / "nothing"])
        with pytest.raises(RucioLabError, match=r"cannot run .*nothing: No such file"):
            child.wait_end(seconds=20)


def test_a_child_that_does_not_answer_in_time_is_an_error(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("the oracle", ["sleep", "1000"])
        with pytest.raises(RucioLabError, match="The oracle did not answer within 1 s"):
            child.wait_ready(lambda: False, seconds=1)


def test_children_stop_in_reverse_order_even_if_one_ignores_the_signal(tmp_path: Path) -> None:
    say = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(open(sys.argv[1], 'a').write(sys.argv[2])))"
    say += "; print('up', flush=True); time.sleep(1000)"
    with Children(tmp_path) as children:
        polite = [children.start(n, [sys.executable, "-c", say, tmp_path / "order", n]) for n in ("first", "second")]
        stubborn = children.start("third", [sys.executable, "-c", STUBBORN], grace=0.5)
        for child in (*polite, stubborn):
            child.wait_ready(lambda child=child: "up" in child.output(), seconds=20)  # type: ignore[misc]
        wait_until(lambda: len(descendants(stubborn.pid)) == 2)
        everything = [process for child in (*polite, stubborn) for process in descendants(child.pid)]
    assert not alive(everything, 0)
    assert (tmp_path / "order").read_text() == "secondfirst"


def test_children_die_when_their_parent_is_killed(tmp_path: Path) -> None:
    program = f"""
        from pathlib import Path
        import sys, time
        from rucio_lab.demo.processes import Children
        with Children(Path({str(tmp_path)!r})) as children:
            child = children.start("server", [sys.executable, "-c", {STUBBORN!r}], grace=0.5)
            child.wait_ready(lambda: "up" in child.output(), seconds=20)
            print("ready", flush=True)
            time.sleep(1000)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    assert parent.stdout.readline() == "ready\n"
    wait_until(lambda: len(descendants(parent.pid)) == 3)  # the guard, the server and its child
    family = descendants(parent.pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert not alive(family, 5)


def test_ctrl_c_in_the_terminal_does_not_reach_the_children(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("server", ["sleep", "1000"])
        wait_until(lambda: len(descendants(child.pid)) == 1)
        sessions = {os.getsid(process.pid) for process in (psutil.Process(child.pid), *descendants(child.pid))}
    assert os.getsid(0) not in sessions
