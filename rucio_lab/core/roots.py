"""``roots://`` for fsspec: XRootD that insists on TLS. fsspec-xrootd itself registers only ``root://``."""

from __future__ import annotations

from typing import Any

from fsspec_xrootd import XRootDFileSystem
from XRootD.client import FileSystem


class SecureXRootDFileSystem(XRootDFileSystem):
    """Reads ``roots://`` addresses, with the credentials that XRootD's client finds by itself."""

    protocol = "roots"

    def __init__(self, hostid: str, **storage_options: Any) -> None:
        super().__init__(hostid, **storage_options)
        self._myclient = FileSystem(f"roots://{hostid}")
