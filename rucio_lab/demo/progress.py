"""Progress messages of the demo: one line that is updated in a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

_PLAIN_EVERY = 15.0  # seconds between two plain lines of the same step


class Progress:
    """Reports progress.

    Parameters
    ----------
    stream
        Where to write; standard error by default, so that standard output has only results.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._moves = self._stream.isatty()
        self._last_text = ""
        self._last_time = 0.0

    def say(self, text: str) -> None:
        """Write a line that stays."""
        self._clear()
        self._write(f"{text}\n")

    def update(self, text: str) -> None:
        """Show the current step; can be called at any rate."""
        now = time.monotonic()
        if self._moves:
            if text != self._last_text:
                width = shutil.get_terminal_size().columns
                self._write(f"\r\x1b[K{text[: width - 1]}")
        elif now - self._last_time < _PLAIN_EVERY:
            return
        else:
            self._write(f"{text}\n")
        self._last_text, self._last_time = text, now

    def done(self) -> None:
        """Clear the updated line."""
        self._clear()

    def _clear(self) -> None:
        if self._moves and self._last_text:
            self._write("\r\x1b[K")
        self._last_text = ""

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
