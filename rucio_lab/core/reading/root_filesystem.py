"""``root://`` and ``roots://`` for fsspec, as fsspec-xrootd has them, but closed to what a redirect chooses.

fsspec-xrootd registers only ``root://``, and opens addresses as they are.
"""

from __future__ import annotations

from typing import Any

from fsspec_xrootd import XRootDFileSystem
from XRootD.client import FileSystem

from rucio_lab.core.reading import xrootd


class RootFileSystem(XRootDFileSystem):
    """Reads ``root://`` addresses, with the credentials that XRootD's client finds by itself."""

    protocol = "root"

    def __init__(self, hostid: str, **storage_options: Any) -> None:
        super().__init__(hostid, **storage_options)
        self._myclient = FileSystem(xrootd.with_usual_options(f"{self.protocol}://{hostid}//"))

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget what is known of a path, or of all."""
        super().invalidate_cache(path if path is None else xrootd.with_usual_options(path))

    # What is opened gets its options here, and not in `unstrip_protocol`, whose addresses go on to others.

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
        """Take the defaults of XRootD servers, instead of asking on a connection that names no options."""
        return cls.default_max_num_chunks, cls.default_max_chunk_size


class SecureRootFileSystem(RootFileSystem):
    """The same over TLS only: ``roots://``."""

    protocol = "roots"
