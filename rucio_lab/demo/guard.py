"""Run a command that never outlives the process that started it: ``python guard.py GRACE COMMAND...``.

The parent holds the other end of this program's standard input. When that end closes, because the parent closed it or
died in any way, the command and its whole process group are stopped: TERM first, KILL after GRACE seconds. The pipe
works on Linux and macOS, with threads, and even if the parent is killed. The file needs only the standard library, so
any Python can run it.
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
    # OSError: the group has ended (Linux), or only a zombie remains (macOS)
    with contextlib.suppress(OSError):
        os.killpg(child.pid, signum)


def _end_with_parent(child: subprocess.Popen[bytes], grace: float) -> None:
    while os.read(0, 1024):
        pass
    _signal_group(child, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(grace)
    _signal_group(child, signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Run the command and return its exit status, or 128 + signal if a signal ended it.

    Parameters
    ----------
    arguments
        The grace period in seconds, then the command.
    """
    grace, command = float(arguments[0]), arguments[1:]
    for signum in _SIGNALS:
        # unlike SIG_IGN, a handler is not inherited by the command
        signal.signal(signum, lambda *_: None)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error.strerror}\n")
        return 127
    threading.Thread(target=_end_with_parent, args=(child, grace), daemon=True).start()
    status = child.wait()
    _signal_group(child, signal.SIGKILL)  # anything it left in its group
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    code = main(sys.argv[1:])
    # os._exit: a plain exit would wait for the lock of standard input, which the thread holds
    sys.stderr.flush()
    os._exit(code)
