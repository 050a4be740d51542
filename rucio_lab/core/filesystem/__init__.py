"""``rucio://`` for fsspec, and the file systems for plain XRootD addresses.

`LakeFileSystem` keeps this path: files that others wrote name it.
"""

from __future__ import annotations

from rucio_lab.core.filesystem.lake_filesystem import LakeFileSystem

__all__ = ["LakeFileSystem"]
