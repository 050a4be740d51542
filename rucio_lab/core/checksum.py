"""The checksum of a file, compared with the one that is registered in Rucio."""

from __future__ import annotations

import hashlib
import zlib


class Checksum:
    """The running checksum of a file, of the kind that is registered in Rucio: adler32, else md5, else none.

    Parameters
    ----------
    adler32, md5
        Checksums that are registered in Rucio, as hexadecimal text; None if there is none.
    """

    def __init__(self, adler32: str | None, md5: str | None = None) -> None:
        self._adler = 1
        self._md5 = hashlib.md5(usedforsecurity=False)
        if adler32:
            self.kind, self._expected = "adler32", adler32.strip().lower().rjust(8, "0")
        elif md5:
            self.kind, self._expected = "md5", md5.strip().lower()
        else:
            self.kind, self._expected = "", ""

    def update(self, some: bytes) -> None:
        """Add more bytes of the file."""
        if self.kind == "adler32":
            self._adler = zlib.adler32(some, self._adler)
        elif self.kind == "md5":
            self._md5.update(some)

    @property
    def expected(self) -> str:
        """The checksum registered in Rucio, for example ``adler32:0a1b2c3d``; ``size`` if there is none."""
        return f"{self.kind}:{self._expected}" if self.kind else "size"

    @property
    def found(self) -> str:
        """The checksum of the bytes so far, in the same form."""
        if not self.kind:
            return "size"
        return f"{self.kind}:{self._adler:08x}" if self.kind == "adler32" else f"md5:{self._md5.hexdigest()}"

    @property
    def fault(self) -> str:
        """What is wrong with the bytes so far, as text that continues a storage's address; empty if they are right."""
        if self.found == self.expected:
            return ""
        return f"has wrong bytes: their checksum is {self.found}, but Rucio has {self.expected}"
