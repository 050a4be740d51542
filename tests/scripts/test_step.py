"""A step of make says what it does, shows that it is alive, and shows its output only if it fails."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

STEP = [sys.executable, str(Path(__file__).parents[2] / "scripts" / "step.py")]


def step(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*STEP, *words], capture_output=True, text=True, check=False)


def test_a_step_that_works_says_one_line() -> None:
    done = step("Building", "sh", "-c", "echo much; echo more >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Building ...\n", "")


def test_a_step_that_fails_shows_all_that_it_said() -> None:
    done = step("Building", "sh", "-c", "echo much; echo more >&2; exit 3")
    assert done.returncode == 3
    assert done.stdout.startswith("Building ...\nmuch\nmore\n\nFailed after 0 s: sh -c ")


def test_a_program_that_is_missing_is_named() -> None:
    done = step("Building", "no-such-program")
    assert (done.returncode, done.stdout) == (
        1,
        "Building ...\nno-such-program cannot be run: No such file or directory.\n",
    )


def test_a_terminal_shows_what_a_step_is_at(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    ours, theirs = pty.openpty()
    command = [*STEP, "Building", "sh", "-c", f"echo Downloading; cat '{tmp_path / 'go'}'; echo End"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        shown = _read_until(ours, lambda text: "s  Downloading" in text)
        (tmp_path / "go").write_text("")
        assert child.wait(60) == 0
    assert shown.startswith("Building ...\r\n")
    rest = _read_until(ours, lambda text: text.endswith("\r\x1b[K"))  # the moving line is taken away
    assert "End" not in rest
    os.close(ours)


def _read_until(terminal: int, enough: Callable[[str], bool]) -> str:
    text = ""
    while not enough(text):
        text += os.read(terminal, 1024).decode()
    return text
