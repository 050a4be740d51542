"""Run one command that never outlives whoever started it: ``python guard.py GRACE COMMAND...``.

The starter holds the other end of this program's standard input. When that end closes, because the starter closed it or
died in whatever way, the command and its whole process group are ended: TERM first, KILL after GRACE seconds. The pipe
works on Linux and macOS alike, with threads, and without the starter's help. Only the standard library is used, and
nothing of this package, so that any Python can run the file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _signal_group(child: subprocess.Popen[bytes], signum: signal.Signals) -> None:
    # OSError: the group is gone (Linux), or only its zombie is left (macOS)
    with contextlib.suppress(OSError):
        os.killpg(child.pid, signum)


def _end_with_starter(child: subprocess.Popen[bytes], grace: float) -> None:
    while os.read(0, 1024):
        pass
    _signal_group(child, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(grace)
    _signal_group(child, signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Run the command and return its exit status, 128 + signal where a signal ended it.

    Parameters
    ----------
    arguments
        The grace in seconds, then the command.
    """
    grace, command = float(arguments[0]), arguments[1:]
    for signum in _SIGNALS:
        # a handler, unlike SIG_IGN, is not inherited by the command
        signal.signal(signum, lambda *_: None)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error.strerror}\n")
        return 127
    threading.Thread(target=_end_with_starter, args=(child, grace), daemon=True).start()
    status = child.wait()
    _signal_group(child, signal.SIGKILL)  # what it may have left in its group
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    code = main(sys.argv[1:])
    # os._exit: a plain exit would wait for the lock of standard input, which the thread is reading
    sys.stderr.flush()
    os._exit(code)
