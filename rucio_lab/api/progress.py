"""Progress bars in terminals, notebooks and JupyterLab, with ipywidgets and without."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rucio_lab.core.resolve.expand import Tell
    from rucio_lab.core.transfer.outcome import Progress

_DELAY = 0.5  # seconds before a bar appears: fast work needs none


@contextmanager
def bar() -> Iterator[Callable[[Progress], None]]:
    """Show a bar during a download, if somebody can see it.

    Yields
    ------
    callable
        Takes the progress.
    """
    if not _is_seen():
        yield lambda _: None
        return
    tqdm = _tqdm()
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


@contextmanager
def bars() -> Iterator[Tell]:
    """Show a bar for each slow part of a resolution, if somebody can see it.

    Yields
    ------
    callable
        Takes the name of the part, how much is done, and the total.
    """
    if not _is_seen():
        yield lambda *_: None
        return
    shown: dict[str, Any] = {}

    def tell(what: str, done: int, total: int) -> None:
        if what not in shown:
            for earlier in shown.values():
                earlier.close()
            how = {"total": total or None, "unit": "files", "unit_scale": True, "delay": _DELAY, "leave": False}
            shown[what] = _tqdm()(desc=what, **how)
        shown[what].update(done - shown[what].n)

    try:
        yield tell
    finally:
        for each in shown.values():
            each.close()


def _tqdm() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm's advice to install ipywidgets: a bar of text is good enough
        from tqdm.auto import tqdm
    return tqdm


def _is_seen() -> bool:
    """Whether this is a terminal or a notebook; the log of a batch job needs no bar."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")
