"""Files that only their owner can read."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Write a file (0600), whole or not at all; a folder that is missing is made (0700).

    Parameters
    ----------
    path
        The file. Whatever was there is replaced; who has it open goes on reading the old one.
    text
        What it is to hold.

    Raises
    ------
    OSError
        If the disk does not take it. The old file is as it was then.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # made with mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
