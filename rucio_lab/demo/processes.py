"""Child processes that are waited for, named in errors, and never left behind.

Each child runs under :mod:`rucio_lab.demo.guard` in a session of its own: the terminal's Ctrl-C reaches only the demo,
which then ends its children in order; and when the demo itself is killed, the guards end them.
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
_TICK = 0.02  # seconds between two looks at a child


def free_port() -> int:
    """Return a TCP port of the loopback interface which nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def closed_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without what would point a Rucio program at another Rucio.

    Parameters
    ----------
    extra
        Variables to add.
    """
    foreign = ("RUCIO_", "X509_USER", "BEARER_TOKEN")
    env = {k: v for k, v in os.environ.items() if not k.startswith(foreign) or k == "RUCIO_LAB_DEMO_HOME"}
    # a proxy that the user needs for the world must not be asked for this machine
    bypass = ",".join(filter(None, [env.get("no_proxy") or env.get("NO_PROXY"), "127.0.0.1,localhost"]))
    return {**env, "NO_PROXY": bypass, "no_proxy": bypass, **extra}


class Child:
    """One guarded child process; made by :meth:`Children.start`.

    Parameters
    ----------
    name
        What users read in errors, for example ``the Rucio server``.
    command
        The program and its arguments.
    log
        File that takes the output of the child.
    env
        Its whole environment; this process's own where None.
    cwd
        Its working directory.
    grace
        Seconds between TERM and KILL when it is ended.
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
        """Return what the child has written until now."""
        with self.log.open("rb") as stream:
            stream.seek(self._log_start)
            return stream.read().decode(errors="replace")

    def wait_ready(self, check: Callable[[], bool], *, seconds: float) -> None:
        """Wait until the child really answers.

        Parameters
        ----------
        check
            Asks the child; True when it answers.
        seconds
            How long it may take.

        Raises
        ------
        RucioLabError
            If it ends first, or does not answer in time; with the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not check():
            status = self.poll()
            if status is not None:
                raise self._failure(f"ended with status {status} before it answered")
            if time.monotonic() > deadline:
                raise self._failure(f"did not answer within {seconds:.0f} seconds")
            time.sleep(_TICK)

    def wait_end(self, *, seconds: float, tick: Callable[[], None] | None = None) -> None:
        """Wait until the child ends well.

        Parameters
        ----------
        seconds
            How long it may take.
        tick
            Called several times a second meanwhile, to show progress.

        Raises
        ------
        RucioLabError
            If it ends with another status than 0, or not in time; with the end of its log.
        """
        deadline = time.monotonic() + seconds
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                self.stop()
                raise self._failure(f"did not finish within {seconds:.0f} seconds")
            if tick:
                tick()
            time.sleep(_TICK)
        if status:
            raise self._failure(f"failed with status {status}")

    def stop(self) -> None:
        """End the child and all of its group: TERM, and KILL after the grace. Returns when it is gone."""
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
        error.remedy = f"The end of its log:{end}"  # these lines are ours
        return error


class Children:
    """The children of one lake. As a context manager it ends them all, the last one first.

    Parameters
    ----------
    logs
        Folder for their logs; it is made.
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
        """Start a child; the parameters are those of :class:`Child`, its log is named after it.

        Raises
        ------
        RucioLabError
            Not here, but when the child is waited for, if the command cannot be run.
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
