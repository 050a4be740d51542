"""Run one step of make: say what it does, show that it is alive, and show its output only if it fails.

python3 scripts/step.py "Building the sidebar" npm run build:prod
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from typing import BinaryIO

_PLAIN_EVERY = 15.0  # seconds between two lines where the output is no terminal
_PLAIN_WIDTH = 100


def run(text: str, command: list[str]) -> int:
    """Run a command and return its exit status.

    Parameters
    ----------
    text
        What the step does.
    command
        A program and its arguments.
    """
    print(f"{text} ...", flush=True)
    begin = time.monotonic()
    with tempfile.TemporaryFile("a+b") as output:  # to append: the child has the same offset as we who read
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        except OSError as error:
            print(f"{command[0]} cannot be run: {error.strerror}.")
            return 1
        status = _wait(child, begin, output)
        if status:
            output.seek(0)
            print(output.read().decode(errors="replace"))
            print(f"Failed after {time.monotonic() - begin:.0f} s: {' '.join(command)}", flush=True)
    return status


def _wait(child: subprocess.Popen[bytes], begin: float, output: BinaryIO) -> int:
    """Wait for the child: in a terminal with one line that moves, elsewhere with a plain line now and then."""
    moves = sys.stdout.isatty()
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(1 if moves else _PLAIN_EVERY)
            sign = f"  {time.monotonic() - begin:4.0f} s  {_last_line(output)}"
            if moves:
                print(f"\r\x1b[K{sign[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
            else:
                print(sign[:_PLAIN_WIDTH].rstrip(), flush=True)
    finally:
        if moves:
            print("\r\x1b[K", end="", flush=True)


def _last_line(output: BinaryIO) -> str:
    output.seek(0)
    lines = output.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


if __name__ == "__main__":
    try:
        sys.exit(run(sys.argv[1], sys.argv[2:]))
    except KeyboardInterrupt:
        sys.exit(130)
