"""Child processes that are named in errors and never left running.

Each child runs under :mod:`rucio_lab.demo.guard` in its own session, so Ctrl-C in the terminal reaches only the demo,
which then stops its children in order. If the demo itself is killed, the guards stop them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from rucio_lab.core.errors import RucioLabError
from rucio_lab.core.text import printable

_GUARD = Path(__file__).with_name("guard.py")
_TICK = 0.02  # seconds between two checks of a child


def free_port() -> int:
    """Return a TCP port of the loopback interface that is currently free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def closed_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without the variables that point a Rucio program to another Rucio.

    Parameters
    ----------
    extra
        Variables to add.
    """
    foreign = ("RUCIO_", "X509_USER", "BEARER_TOKEN")
    env = {k: v for k, v in os.environ.items() if not k.startswith(foreign) or k == "RUCIO_LAB_DEMO_HOME"}
    # the user's HTTP proxy must not be used for this machine
    bypass = ",".join(filter(None, [env.get("no_proxy") or env.get("NO_PROXY"), "127.0.0.1,localhost"]))
    return {**env, "NO_PROXY": bypass, "no_proxy": bypass, **extra}


class Child:
    """One guarded child process, started by :meth:`Children.start`.

    Parameters
    ----------
    name
        Its name in errors, for example ``the Rucio server``.
    command
        The program and its arguments.
    log
        File for its output.
    env
        Its whole environment; None for that of this process.
    cwd
        Its working directory.
    grace
        Seconds between TERM and KILL when it is stopped.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        grace: float = 5,
    ) -> None:
        self.name = name
        self.log = log
        self._grace = grace
        self._log_start = log.stat().st_size if log.exists() else 0
        guarded = [sys.executable, "-I", "-S", str(_GUARD), str(grace), *map(str, command)]
        with log.open("ab") as output:
            self._guard = subprocess.Popen(
                guarded, stdin=subprocess.PIPE, stdout=output, stderr=output, env=env, cwd=cwd, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Process id of the guard, whose only child is the command."""
        return self._guard.pid

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        return self._guard.poll()

    def output(self) -> str:
        """Return what the child has written so far."""
        with self.log.open("rb") as stream:
            stream.seek(self._log_start)
            return stream.read().decode(errors="replace")

    def wait_ready(self, check: Callable[[], bool], *, seconds: float) -> None:
        """Wait until the child answers.

        Parameters
        ----------
        check
            Returns whether the child answers.
        seconds
            Time limit.

        Raises
        ------
        RucioLabError
            If it ends first or does not answer in time; includes the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not check():
            status = self.poll()
            if status is not None:
                raise self._failure(f"ended with status {status} before it answered")
            if time.monotonic() > deadline:
                raise self._failure(f"did not answer within {seconds:.0f} s")
            time.sleep(_TICK)

    def wait_end(self, *, seconds: float, tick: Callable[[], None] | None = None) -> None:
        """Wait until the child ends, and check that it succeeded.

        Parameters
        ----------
        seconds
            Time limit.
        tick
            Called many times a second while waiting, to show progress.

        Raises
        ------
        RucioLabError
            If its exit status is not 0 or it does not end in time; includes the end of its log.
        """
        deadline = time.monotonic() + seconds
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                self.stop()
                raise self._failure(f"did not finish within {seconds:.0f} s")
            if tick:
                tick()
            time.sleep(_TICK)
        if status:
            raise self._failure(f"failed with status {status}")

    def stop(self) -> None:
        """Stop the child and its whole process group with TERM, then KILL after the grace period, and wait."""
        if self._guard.stdin and not self._guard.stdin.closed:
            self._guard.stdin.close()
        try:
            self._guard.wait(self._grace + 5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()

    def _failure(self, what: str) -> RucioLabError:
        lines = [line for line in self.output().splitlines() if line.strip()][-12:]
        end = "".join(f"\n    {printable(line)}" for line in lines) if lines else " (empty)"
        error = RucioLabError(f"{self.name[0].upper()}{self.name[1:]} {what}.")
        error.remedy = f"The end of its log:{end}"  # set here, because RucioLabError would escape the line breaks
        return error


class Children:
    """The child processes of one lake. As a context manager it stops them all, in reverse order.

    Parameters
    ----------
    logs
        Folder for their logs; it is created.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: list[Child] = []
        logs.mkdir(parents=True, exist_ok=True)

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        grace: float = 5,
    ) -> Child:
        """Start a child with the parameters of :class:`Child` and a log that has its name.

        If the command cannot be run, it is the wait for the child that raises an error.
        """
        log = self._logs / f"{name.removeprefix('the ').replace(' ', '-')}.log"
        child = Child(name, command, log=log, env=env, cwd=cwd, grace=grace)
        self._running.append(child)
        return child

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._running:
            self._running.pop().stop()
