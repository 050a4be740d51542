"""The Rucio Data Lake inside the notebook.

In a notebook::

    %load_ext rucio_lab
    %rucio_attach opendata13TeV:GamGam as files

and the same without magics::

    from rucio_lab import attach
    files = attach("opendata13TeV:GamGam")

Importing this package loads nothing of Rucio, Jupyter or uproot: each public name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rucio_lab._version import __version__

if TYPE_CHECKING:
    from rucio_lab.api.attach import attach, download
    from rucio_lab.api.files import FileList
    from rucio_lab.api.login import login, logout
    from rucio_lab.api.search import ls, search
    from rucio_lab.core.did import DID
    from rucio_lab.core.errors import (
        BadRequest,
        ConfigurationError,
        Conflict,
        FilesUnavailable,
        LakeBroken,
        LakeTooSlow,
        LakeUnreachable,
        NoSpace,
        NotFound,
        Refused,
        RucioLabError,
        SignInNeeded,
        StorageFailed,
    )

__all__ = [
    "DID",
    "BadRequest",
    "ConfigurationError",
    "Conflict",
    "FileList",
    "FilesUnavailable",
    "LakeBroken",
    "LakeTooSlow",
    "LakeUnreachable",
    "NoSpace",
    "NotFound",
    "Refused",
    "RucioLabError",
    "SignInNeeded",
    "StorageFailed",
    "__version__",
    "attach",
    "download",
    "load_ipython_extension",
    "login",
    "logout",
    "ls",
    "search",
]

_HOMES = {
    "DID": "core.did",
    "FileList": "api.files",
    "attach": "api.attach",
    "download": "api.attach",
    "login": "api.login",
    "logout": "api.login",
    "ls": "api.search",
    "search": "api.search",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOMES.get(name, 'core.errors')}")
    return globals().setdefault(name, getattr(module, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(ip: Any) -> None:
    """Register the magics and their completion with IPython; what ``%load_ext rucio_lab`` calls.

    Parameters
    ----------
    ip
        The interactive shell. To be loaded into one shell twice is harmless.
    """
    from rucio_lab import kernel

    kernel.load_ipython_extension(ip)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Name the module of the server extension; it is imported by a Jupyter server only."""
    return [{"module": "rucio_lab.server"}]
