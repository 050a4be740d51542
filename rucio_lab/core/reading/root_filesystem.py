"""``root://`` and ``roots://`` for fsspec, as in fsspec-xrootd, but a redirect cannot choose options of the client.

fsspec-xrootd registers only ``root://``, opens addresses unchanged, and reads by callback, which a fork of the process
does not survive (see `rucio_lab.core.reading.xrootd_calls`).
"""

from __future__ import annotations

from typing import Any

import fsspec_xrootd.xrootd
from fsspec_xrootd import XRootDFileSystem
from XRootD.client import FileSystem

from rucio_lab.core.reading import xrootd, xrootd_calls

_AT_ONCE = 64  # requests: each takes a thread

# For the file systems of fsspec-xrootd that are in use already, too.
fsspec_xrootd.xrootd._async_wrap = xrootd_calls.awaitable  # type: ignore[assignment]


class RootFileSystem(XRootDFileSystem):
    """Reads ``root://`` addresses, with the credentials that XRootD's client finds by itself."""

    protocol = "root"

    def __init__(self, hostid: str, **storage_options: Any) -> None:
        super().__init__(hostid, **{"batch_size": _AT_ONCE, **storage_options})
        self._myclient = FileSystem(xrootd.with_usual_options(f"{self.protocol}://{hostid}//"))

    def invalidate_cache(self, path: str | None = None) -> None:
        """Drop what is cached for a path, or for all paths."""
        super().invalidate_cache(path if path is None else xrootd.with_usual_options(path))

    # Options are added here, when a path is opened. The addresses from `unstrip_protocol` leave this process.

    def _open(self, path: str, *args: Any, **kwargs: Any) -> Any:
        return super()._open(xrootd.with_usual_options(path), *args, **kwargs)

    async def _cat_file(self, path: str, *args: Any, **kwargs: Any) -> Any:
        return await super()._cat_file(xrootd.with_usual_options(path), *args, **kwargs)

    async def _get_file(self, rpath: str, *args: Any, **kwargs: Any) -> None:
        await super()._get_file(xrootd.with_usual_options(rpath), *args, **kwargs)

    async def _cat_vector_read(self, path: str, *args: Any, **kwargs: Any) -> tuple[str, list[bytes]]:
        _, parts = await super()._cat_vector_read(xrootd.with_usual_options(path), *args, **kwargs)
        return path, parts

    @classmethod
    async def _get_max_chunk_info(cls, file: Any) -> tuple[int, int]:
        """Use the defaults of XRootD servers, instead of asking over a connection without our options."""
        return cls.default_max_num_chunks, cls.default_max_chunk_size


class SecureRootFileSystem(RootFileSystem):
    """Reads ``roots://`` addresses: the same over TLS."""

    protocol = "roots"
