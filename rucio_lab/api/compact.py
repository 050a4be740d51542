"""Resolved files in little memory: what many of them have in common is kept once.

The files of a dataset usually have the same replicas, except for the end of each address. A `Form` keeps the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import Any
from urllib.parse import unquote

from rucio_lab.core.did import DID
from rucio_lab.core.model import LeftOut, Replica, ResolvedFile

_END = "\0"  # what stands in a form for the end of an address; no address contains it
_SUMS = {"adler32": 8, "md5": 32}  # digits


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """What some files have in common.

    Attributes
    ----------
    source
        The attach that they are from.
    file
        A file of them, without its size, the checksums in `sums`, and the ends of its addresses.
    start
        Where the end of their first address begins; None if they have nothing in common.
    parts
        How many parts of the path are the name; 0 if the name is in `file`.
    quoted
        Whether the name is percent-encoded in the path.
    sums
        Which checksums are in the facts of each file.
    """

    source: Any
    file: ResolvedFile
    start: int | None = None
    parts: int = 0
    quoted: bool = False
    sums: tuple[str, ...] = ()

    def did(self, url: str) -> DID:
        """Give the DID of the file with this address."""
        did = self.file.did
        if not self.parts:
            return did
        name = "/".join(url.split("/")[-self.parts :])
        return DID(did.scope, unquote(name) if self.quoted else name)

    def whole(self, url: str, facts: bytes) -> ResolvedFile:
        """Give the file with this address and these facts."""
        file, size = self.file, size_in(facts)
        if self.start is None:
            return file
        end = url[self.start :]
        return ResolvedFile(
            self.did(url),
            file.datasets,
            size,
            self.sum("adler32", facts),
            tuple(_with_end(each, end) for each in file.replicas),
            tuple(LeftOut(_with_end(left.replica, end), left.why) for left in file.left_out),
            self.sum("md5", facts),
        )

    def sum(self, kind: str, facts: bytes) -> str | None:
        """Give a checksum of the file with these facts."""
        if kind not in self.sums:
            known: str | None = getattr(self.file, kind)
            return known
        begin = 8 + sum(_SUMS[each] // 2 for each in self.sums[: self.sums.index(kind)])
        return facts[begin : begin + _SUMS[kind] // 2].hex()


def size_in(facts: bytes) -> int:
    """Give the size of a file, in bytes."""
    return int.from_bytes(facts[:8], "big")


class Forms:
    """Takes files apart, and remembers their forms."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._known: dict[tuple[Any, ...], Form] = {}
        self._last: Form | None = None

    def split(self, file: ResolvedFile) -> tuple[Form, bytes]:
        """Give the form of a file, and its facts."""
        facts = file.bytes.to_bytes(8, "big")
        sums = []
        for kind, text in (("adler32", file.adler32), ("md5", file.md5)):
            if text and (digits := _digits(kind, text)):
                facts += digits
                sums.append(kind)
        if self._last is not None and _fits(file, self._last, sums):
            return self._last, facts
        every = [*file.replicas, *[left.replica for left in file.left_out]]
        url, name = file.url, file.did.name
        if _END in "".join([text for each in every for text in (each.url, each.pfn)]):
            return Form(self._source, file), facts
        path = url.split("/")
        parts = name.count("/") + 1
        plain = path[-1] == name if parts == 1 else path[-parts:] == name.split("/")
        quoted = not plain and unquote(path[-1]) == name
        parts = parts if plain else int(quoted)
        end = _common_end(path, parts, every)
        cut = [_cut(each, end) for each in every]
        key = (
            file.datasets,
            file.did.scope if parts else file.did,
            parts,
            quoted,
            len(file.replicas),
            *sums,
            None if "adler32" in sums else file.adler32,
            None if "md5" in sums else file.md5,
            *cut,
            *[left.why for left in file.left_out],
        )
        if (form := self._known.get(key)) is None:
            common = _without(file, cut, parts, sums)
            form = self._known[key] = Form(self._source, common, len(url) - len(end), parts, quoted, tuple(sums))
        self._last = form
        return form, facts


def _fits(file: ResolvedFile, form: Form, sums: list[str]) -> bool:
    """Whether a file has this form: a quick look, which may overlook it."""
    common, name = form.file, file.did.name
    if form.start is None or not form.parts or form.quoted or len(file.replicas) != len(common.replicas):
        return False
    end = file.url[form.start :]
    left_out = [LeftOut(_with_end(left.replica, end), left.why) for left in common.left_out]
    return (
        (end == name or end.endswith(f"/{name}"))
        and name.count("/") + 1 == form.parts
        and (file.did.scope, file.datasets, *sums) == (common.did.scope, common.datasets, *form.sums)
        and ("adler32" in sums or file.adler32 == common.adler32)
        and ("md5" in sums or file.md5 == common.md5)
        and [*file.left_out] == left_out
        and all(map(_same, file.replicas, common.replicas, repeat(end)))
    )


def _same(replica: Replica, common: Replica, end: str) -> bool:
    url, pfn = common.url, common.pfn
    return (
        replica.url == (url[:-1] + end if url.endswith(_END) else url)
        and replica.pfn == (pfn[:-1] + end if pfn.endswith(_END) else pfn)
        and (replica.rse, replica.domain, replica.priority) == (common.rse, common.domain, common.priority)
    )


def _without(
    file: ResolvedFile, cut: list[tuple[str, str, str, str, int]], parts: int, sums: list[str]
) -> ResolvedFile:
    """Give a file without what differs between the files of a form."""
    replicas = [Replica(*each) for each in cut]
    reasons = [left.why for left in file.left_out]
    return ResolvedFile(
        DID(file.did.scope, "") if parts else file.did,
        file.datasets,
        0,
        None if "adler32" in sums else file.adler32,
        tuple(replicas[: len(file.replicas)]),
        tuple(map(LeftOut, replicas[len(file.replicas) :], reasons)),
        None if "md5" in sums else file.md5,
    )


def _common_end(path: list[str], parts: int, replicas: list[Replica]) -> str:
    """Find an end that the addresses of a file have in common: a hash and the name, or the name, or nothing."""
    for several in (parts + 2, parts) if parts else ():
        end = "/".join(path[-several:])
        for each in replicas:
            if each.url and not each.url.endswith(end):
                break
        else:
            return end
    return ""


def _cut(replica: Replica, end: str) -> tuple[str, str, str, str, int]:
    url, pfn, size = replica.url, replica.pfn, len(end)
    if size and url.endswith(end):
        url = url[:-size] + _END
    if size and pfn.endswith(end):
        pfn = pfn[:-size] + _END
    return replica.rse, url, pfn, replica.domain, replica.priority


def _with_end(replica: Replica, end: str) -> Replica:
    url, pfn = (text[:-1] + end if text.endswith(_END) else text for text in (replica.url, replica.pfn))
    return Replica(replica.rse, url, pfn, replica.domain, replica.priority)


def _digits(kind: str, text: str) -> bytes:
    """Give a checksum as bytes; empty if it is not written in the usual way."""
    try:
        digits = bytes.fromhex(text)
    except ValueError:
        return b""
    return digits if len(digits) * 2 == _SUMS[kind] and digits.hex() == text else b""
