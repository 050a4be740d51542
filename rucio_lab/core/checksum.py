"""The checksum of a file, compared with the one that Rucio has registered."""

from __future__ import annotations

import hashlib
import zlib

from rucio_lab.core.model import ResolvedFile


class Checksum:
    """The running checksum of a file, of the kind that Rucio has registered: adler32, else md5, else none."""

    def __init__(self, file: ResolvedFile) -> None:
        self._adler = 1
        self._md5 = hashlib.md5(usedforsecurity=False)
        if file.adler32:
            self.kind, self._expected = "adler32", file.adler32.lower().rjust(8, "0")
        elif file.md5:
            self.kind, self._expected = "md5", file.md5.lower()
        else:
            self.kind, self._expected = "", ""

    def update(self, some: bytes) -> None:
        """Take in more bytes."""
        if self.kind == "adler32":
            self._adler = zlib.adler32(some, self._adler)
        elif self.kind == "md5":
            self._md5.update(some)

    @property
    def expected(self) -> str:
        """What Rucio has registered, for example ``adler32:0a1b2c3d``; ``size`` where it has no checksum."""
        return f"{self.kind}:{self._expected}" if self.kind else "size"

    @property
    def found(self) -> str:
        """What the bytes give, in the same form."""
        if not self.kind:
            return "size"
        return f"{self.kind}:{self._adler:08x}" if self.kind == "adler32" else f"md5:{self._md5.hexdigest()}"
