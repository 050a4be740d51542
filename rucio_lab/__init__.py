"""The Rucio Data Lake inside the notebook.

In a notebook::

    %load_ext rucio_lab
    %rucio_attach opendata13TeV:GamGam as files

and the same without magics::

    from rucio_lab import attach
    files = attach("opendata13TeV:GamGam")

Importing this package does not load Rucio, Jupyter or uproot. Each public name is imported when it is first used.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rucio_lab._version import __version__ as __version__

if TYPE_CHECKING:  # the list of all public names, which is also read at run time
    from rucio_lab.api.attach import attach as attach
    from rucio_lab.api.attach import download as download
    from rucio_lab.api.dids import DidLike as DidLike
    from rucio_lab.api.explanation import Explanation as Explanation
    from rucio_lab.api.explanation import ExplanationRow as ExplanationRow
    from rucio_lab.api.files import FileEntry as FileEntry
    from rucio_lab.api.files import FileList as FileList
    from rucio_lab.api.login import login as login
    from rucio_lab.api.login import logout as logout
    from rucio_lab.api.login import make_proxy as make_proxy
    from rucio_lab.api.search import DidList as DidList
    from rucio_lab.api.search import ls as ls
    from rucio_lab.api.search import search as search
    from rucio_lab.core.did import DID as DID
    from rucio_lab.core.errors import BadRequest as BadRequest
    from rucio_lab.core.errors import ConfigurationError as ConfigurationError
    from rucio_lab.core.errors import Conflict as Conflict
    from rucio_lab.core.errors import FilesUnavailable as FilesUnavailable
    from rucio_lab.core.errors import LakeBroken as LakeBroken
    from rucio_lab.core.errors import LakeTooSlow as LakeTooSlow
    from rucio_lab.core.errors import LakeUnreachable as LakeUnreachable
    from rucio_lab.core.errors import NoSpace as NoSpace
    from rucio_lab.core.errors import NotFound as NotFound
    from rucio_lab.core.errors import Refused as Refused
    from rucio_lab.core.errors import RucioLabError as RucioLabError
    from rucio_lab.core.errors import SignInNeeded as SignInNeeded
    from rucio_lab.core.errors import StorageFailed as StorageFailed
    from rucio_lab.core.identity.token_store import SignIn as SignIn
    from rucio_lab.core.identity.x509 import Proxy as Proxy
    from rucio_lab.core.model import Access as Access
    from rucio_lab.core.model import DidInfo as DidInfo
    from rucio_lab.core.model import DIDType as DIDType
    from rucio_lab.core.model import LeftOut as LeftOut
    from rucio_lab.core.model import Replica as Replica
    from rucio_lab.core.storage.shown import StorageFacts as StorageFacts
    from rucio_lab.core.storage.shown import TokenFacts as TokenFacts
else:

    def __getattr__(name: str) -> Any:
        if name == "__all__":
            return sorted([*_homes(), "__version__"])
        if name not in _homes():
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(import_module(_homes()[name]), name))

    def __dir__() -> list[str]:
        return sorted({*globals(), *_homes(), "__all__"})

    @cache
    def _homes() -> dict[str, str]:
        """Give all public names, each with its module, from the list above."""
        tree = ast.parse(__spec__.loader.get_source(__name__))
        block = next(node for node in tree.body if isinstance(node, ast.If))
        return {line.names[0].name: line.module for line in block.body}


def load_ipython_extension(ip: Any) -> None:
    """Register the magics and their completion with IPython. ``%load_ext rucio_lab`` calls this.

    Parameters
    ----------
    ip
        The interactive shell. Loading the extension twice is harmless.
    """
    from rucio_lab import kernel

    kernel.load_ipython_extension(ip)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Name the module of the server extension. Only a Jupyter server imports it."""
    return [{"module": "rucio_lab.server"}]
