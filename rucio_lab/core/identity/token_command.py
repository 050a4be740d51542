"""Programs that print a token: how they are run, for Rucio's tokens and for those of storages."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

SECONDS = 30.0
"""Longest time that a token command may take."""


def output_of(command: Sequence[str]) -> str:
    """Run a token command without a shell or input, in a group of its own that ends with it, children and all.

    Parameters
    ----------
    command
        The program and its arguments.

    Returns
    -------
    str
        What it printed, without blanks at either end; empty if that is no text. What it says of errors is not kept: it
        can hold a secret.

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
