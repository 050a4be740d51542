"""How programs that print a token are run, for Rucio and for storages."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

SECONDS = 30.0
"""Longest time that a token command may take."""


def output_of(command: Sequence[str]) -> str:
    """Run a token command without a shell or input; then kill whatever it has started.

    Parameters
    ----------
    command
        The program and its arguments.

    Returns
    -------
    str
        What it printed, stripped; empty if that is not text. Its error output is dropped: it may contain a secret.

    Raises
    ------
    subprocess.TimeoutExpired, subprocess.CalledProcessError, OSError
        If it takes longer than `SECONDS`, fails, or cannot be run.
    """
    with subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            output = process.communicate(timeout=SECONDS)[0]
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command[0])
    try:
        return output.decode().strip()
    except UnicodeDecodeError:
        return ""
