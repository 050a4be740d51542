"""The file system ``rucio://`` for fsspec.

`LakeFileSystem` keeps its path here, because pickles and other files contain it.
"""

from __future__ import annotations

from rucio_lab.core.filesystem.lake_filesystem import LakeFileSystem

__all__ = ["LakeFileSystem"]
