"""``root://`` and ``roots://`` for fsspec, as fsspec-xrootd has them, but closed to what a redirect chooses.

fsspec-xrootd registers only ``root://``, and opens addresses as they are.
"""

from __future__ import annotations

from typing import Any

from fsspec_xrootd import XRootDFileSystem
from XRootD.client import FileSystem

from rucio_lab.core import xrootd


class RootFileSystem(XRootDFileSystem):
    """Reads ``root://`` addresses, with the credentials that XRootD's client finds by itself."""

    protocol = "root"

    def __init__(self, hostid: str, **storage_options: Any) -> None:
        super().__init__(hostid, **storage_options)
        self._myclient = FileSystem(xrootd.with_usual_options(f"{self.protocol}://{hostid}//"))

    def unstrip_protocol(self, name: str) -> str:
        """Write the address that is opened."""
        return xrootd.with_usual_options(super().unstrip_protocol(name))

    def _open(self, path: str, *args: Any, **kwargs: Any) -> Any:
        # with its options already, since a file goes on to other servers by its path
        return super()._open(xrootd.with_usual_options(path), *args, **kwargs)

    @classmethod
    async def _get_max_chunk_info(cls, file: Any) -> tuple[int, int]:
        """Take the defaults of XRootD servers, instead of asking on a connection that names no options."""
        return cls.default_max_num_chunks, cls.default_max_chunk_size


class SecureRootFileSystem(RootFileSystem):
    """The same over TLS only: ``roots://``."""

    protocol = "roots"
