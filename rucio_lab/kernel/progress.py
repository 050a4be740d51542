"""The progress bar of a download: in a terminal, a notebook and JupyterLab, with ipywidgets and without."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rucio_lab.core.transfer import Progress

_DELAY = 0.5  # seconds before a bar appears: what is there already needs none


@contextmanager
def bar() -> Iterator[Callable[[Progress], None]]:
    """Show a bar while something is downloaded, where somebody can see it.

    Yields
    ------
    callable
        To be told the progress.
    """
    if not _is_seen():
        yield lambda _: None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm's advice to install ipywidgets: a bar of text is as good
        from tqdm.auto import tqdm
    shown: list[Any] = []

    def watch(progress: Progress) -> None:
        if not shown:
            shown.append(tqdm(total=progress.bytes, unit="B", unit_scale=True, delay=_DELAY, desc="Downloading"))
        failed = f", {progress.files_failed:,} failed" if progress.files_failed else ""
        shown[0].set_postfix_str(f"{progress.files_done:,}/{progress.files:,} files{failed}", refresh=False)
        shown[0].update(progress.bytes_done - shown[0].n)

    try:
        yield watch
    finally:
        for each in shown:
            each.close()


def _is_seen() -> bool:
    """Whether there is a terminal or a notebook; the log of a batch job needs no bar."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")
