"""Warnings about what did no harm."""

from __future__ import annotations

import logging
import warnings

_log = logging.getLogger("rucio_lab")


def notice(words: str, stacklevel: int = 1) -> None:
    """Warn of something that was survived. Where warnings are errors, it is logged instead, to be no failure.

    Parameters
    ----------
    words
        What happened.
    stacklevel
        As in `warnings.warn`, counted from the caller.
    """
    try:
        warnings.warn(words, stacklevel=stacklevel + 1)
    except UserWarning:
        _log.warning(words)
