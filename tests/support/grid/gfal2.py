"""A replacement for gfal2, which is not on PyPI: reads ``gsiftp://`` from the XRootD server at the same address."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace
from typing import Any

verbose_level = SimpleNamespace(verbose=1, warning=0)


class GError(Exception):
    """The error class of gfal2."""

    code = 0


class _Context:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: None  # set_opt_..., get_opt_...

    def transfer_parameters(self) -> SimpleNamespace:
        return SimpleNamespace()

    def filecopy(self, params: SimpleNamespace, source: str, target: str) -> int:
        if "//localhost" in source and not vars(params).get("strict_copy"):
            raise GError("this storage requires strict_copy")
        there = source.replace("gsiftp://", "root://", 1)
        patience = {**os.environ, "XRD_CONNECTIONRETRY": "0", "XRD_CONNECTIONWINDOW": "1"}
        done = subprocess.run(["xrdcp", "-s", there, target.removeprefix("file://")], env=patience, check=False)
        if done.returncode:
            raise GError("the copy failed")
        return 0


def set_verbose(_: int) -> None:
    """Do nothing."""


def creat_context() -> _Context:
    """Return a context."""
    return _Context()
