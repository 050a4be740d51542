"""The variable that attach makes: a list of strings for readers, which can ask Rucio again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, SupportsIndex, overload

from rucio_lab.api.compact import Form, Forms, size_in
from rucio_lab.api.explanation import Explanation, replicas_now
from rucio_lab.api.progress import bar, bars
from rucio_lab.api.tables import html_table
from rucio_lab.core.address import without_query
from rucio_lab.core.did import DID
from rucio_lab.core.errors import FilesUnavailable
from rucio_lab.core.garbage import rarely_searched
from rucio_lab.core.model import LeftOut, Replica, Request, Resolution, ResolvedFile
from rucio_lab.core.text import printable
from rucio_lab.core.words import count, several, size

MOST_ROWS = 20
"""The HTML table of a list shows at most this many files."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What all files of one attach have in common."""

    request: Request
    missing: dict[DID, str]
    total: int
    cut: bool
    open: tuple[str, ...]
    shared: int
    notes: tuple[str, ...]

    @classmethod
    def of(cls, resolution: Resolution) -> Source:
        """Take everything from a resolution except its files."""
        datasets = {dataset for file in resolution.files for dataset in file.datasets}
        return cls(
            request=resolution.request,
            missing=dict(resolution.missing),
            total=resolution.total,
            cut=len(resolution.files) + len(resolution.missing) < resolution.total,
            open=tuple("dataset" if did in datasets else "container" for did in resolution.open),
            shared=resolution.shared,
            notes=resolution.notes,
        )


class FileEntry(str):
    """What a reader opens for one file: a URL or a path, with what Rucio knows about the file.

    It pickles to a plain `str`.
    """

    __slots__ = ("_facts", "_form")

    _form: Form
    _facts: bytes

    def __new__(cls, url: str, form: Form, facts: bytes) -> Self:
        """Make the entry of a file from its parts, see `rucio_lab.api.compact`."""
        entry = super().__new__(cls, url)
        entry._form = form
        entry._facts = facts
        return entry

    @property
    def _file(self) -> ResolvedFile:
        return self._form.whole(str(self), self._facts)

    @property
    def _source(self) -> Source:
        source: Source = self._form.source
        return source

    @property
    def did(self) -> DID:
        """The file's DID."""
        return self._form.did(str(self))

    @property
    def dataset(self) -> DID | None:
        """The dataset it was found in (the first, if there are several); None if the file itself was requested."""
        datasets = self._form.file.datasets
        return datasets[0] if datasets else None

    @property
    def rse(self) -> str:
        """Name of the RSE it is read from; empty for a local copy, and if that is decided when it is opened."""
        return self._form.file.replica.rse

    @property
    def scheme(self) -> str:
        """How it is read: ``root``, ``roots``, ``https``, ``http``, ``rucio``, or ``file`` for a path."""
        return Replica("", str(self)).scheme

    @property
    def bytes(self) -> int:
        """Size in bytes, as registered in Rucio."""
        return size_in(self._facts)

    @property
    def adler32(self) -> str | None:
        """Checksum, as registered in Rucio."""
        return self._form.sum("adler32", self._facts)

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """All replicas that can be read from here, starting with the one in use (or the downloaded copy)."""
        return self._file.replicas

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Replicas that cannot be read from here or do not respond, each with the reason."""
        return self._file.left_out

    def __repr__(self) -> str:
        return printable(repr(without_query(str(self))))

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self


class FileList(list[str]):
    """The files of some DIDs, ready to be read: a list of strings, ordered by scope and name.

    Everything that takes a list of URLs or paths takes this list. Each entry has ``.did``, ``.dataset``, ``.rse``,
    ``.scheme``, ``.bytes``, ``.adler32`` and ``.replicas``. Slices, sums, multiples and copies are such lists, too;
    ``.urls`` gives plain strings. You can pickle it and read it on a worker; it contains no password or token.

    Made by `rucio_lab.attach` and ``%rucio_attach``. ``FileList(strings)`` makes one of other strings, as `list` does.
    """

    _whole: tuple[Source, ...] = ()  # the attaches that this list contains completely

    def __init__(self, files: Resolution | Iterable[str] = ()) -> None:
        if isinstance(files, Resolution):
            source = Source.of(files)
            forms = Forms(source)
            with rarely_searched():
                super().__init__(FileEntry(file.url, *forms.split(file)) for file in files.files)
            self._whole = (source,)
        else:
            super().__init__(files)
            self._whole = files._whole if isinstance(files, FileList) else ()

    # ---------------------------------------------------------------------------------------- for readers

    @property
    def urls(self) -> list[str]:
        """The entries as plain strings."""
        return [str(item) for item in self]

    @property
    def bytes(self) -> int:
        """Size of all files, in bytes."""
        return sum(entry.bytes for entry in self._entries())

    @property
    def missing(self) -> dict[DID, str]:
        """Files that were left out because they cannot be read from here, each with the reason."""
        return {did: reason for source in self._sources() for did, reason in source.missing.items()}

    def by_dataset(self) -> dict[str, FileList]:
        """Split by dataset.

        Returns
        -------
        dict
            DID of the dataset, as text, to its files. A file in several datasets is listed in each of them. A file
            that was requested by itself is listed under its own DID.
        """
        groups: dict[str, FileList] = {}
        for entry in self._entries():
            for did in entry._form.file.datasets or (entry.did,):
                groups.setdefault(str(did), FileList()).append(entry)
        return groups

    def uproot(self, tree: str) -> dict[str, str]:
        """Name a tree in each file, in the form for ``uproot.iterate``, ``concatenate`` and ``dask``.

        Parameters
        ----------
        tree
            Name of the TTree or RNTuple.
        """
        return dict.fromkeys(self.urls, str(tree))

    def fileset(self, tree: str) -> dict[str, dict[str, Any]]:
        """Give the files by dataset, in the form for coffea's processors.

        Parameters
        ----------
        tree
            Name of the TTree or RNTuple.

        Returns
        -------
        dict
            ``{dataset: {"files": {url: tree}, "metadata": {"did": dataset, "instance": name}}}``. With the metadata
            you can look the files up again when a URL has gone stale.
        """
        filesets = {}
        for did, files in self.by_dataset().items():
            instance = files._sources()[0].request.instance
            filesets[did] = {"files": files.uproot(tree), "metadata": {"did": did, "instance": instance}}
        return filesets

    # ---------------------------------------------------------------------------------------- asking Rucio

    def download(self, to: str | os.PathLike[str] | None = None, *, allow_missing: bool = False) -> FileList:
        """Download these files from their known replicas.

        Parameters
        ----------
        to
            As for `rucio_lab.download`.
        allow_missing
            Leave out files that cannot be downloaded, instead of raising `FilesUnavailable` at the end.

        Returns
        -------
        FileList
            The paths, in the order of this list. Strings that you added stay as they are.

        Raises
        ------
        RucioLabError
            As `rucio_lab.download`.
        """
        from rucio_lab.api.progress import bar
        from rucio_lab.core.transfer.download import download_resolution

        folder = folder_of(to)
        came: dict[tuple[Source, DID], FileEntry] = {}
        sources: dict[Source, Source] = {}
        for source in self._sources():
            files = tuple(dict.fromkeys(entry._file for entry in self._entries() if entry._source is source))
            request = replace(source.request, access="download", folder=folder, allow_missing=allow_missing)
            with bar() as watch:
                local = FileList(
                    download_resolution(Resolution(request, files, {}, source.total, (), source.shared), watch)
                )
            sources[source] = local._whole[0]
            came.update({(source, entry.did): entry for entry in local})
        items: list[str] = []
        for item in list.__iter__(self):
            entry = came.get((item._source, item.did)) if isinstance(item, FileEntry) else item
            items += [entry] if entry is not None else []
        return self._with(items, tuple(sources[source] for source in self._whole))

    def explain(self) -> Explanation:
        """Say which replicas were taken, which are in reserve, and which were left out, and why.

        For ``rucio://`` addresses this asks Rucio now, about the first 1,000 at most.
        """
        files = [(entry._source.request.instance, entry._file) for entry in self._entries()]
        return Explanation(files, self.missing, replicas_now(files))

    def refresh(self) -> Self:
        """Ask Rucio again, and update this list in place.

        A complete list gains new files and loses those that no longer exist. A part of one, such as a slice, keeps
        its files. Strings that you added stay.

        Returns
        -------
        FileList
            This list.

        Raises
        ------
        FilesUnavailable
            If files of a part no longer exist, and it was not attached with ``allow_missing``.
        RucioLabError
            As attach. After any error the list is unchanged.
        """
        from rucio_lab.core.reading import probe

        probe.forget()  # a server may have been repaired since

        answers = {source: FileList(answer_to(source.request)) for source in self._sources()}
        fresh = {(source, entry.did): entry for source, files in answers.items() for entry in files}
        items: list[str] = [entry for (source, _), entry in fresh.items() if source in self._whole]
        gone: dict[str, str] = {}
        for item in list.__iter__(self):
            if not isinstance(item, FileEntry):
                items.append(item)
            elif item._source in self._whole:
                continue
            elif entry := fresh.get((item._source, item.did)):
                items.append(entry)
            else:
                missing = answers[item._source]._whole[0].missing
                gone[str(item.did)] = missing.setdefault(item.did, "it is no longer in the attached DIDs")
        if gone and not (items and all(source.request.allow_missing for source in answers)):
            raise _gone(gone)
        self[:] = items
        self._whole = tuple(answers[source]._whole[0] for source in self._whole)
        return self

    def _entries(self) -> list[FileEntry]:
        """Give the entries that attach made, without strings that users added."""
        return [item for item in list.__iter__(self) if isinstance(item, FileEntry)]

    def _sources(self) -> list[Source]:
        return list(dict.fromkeys([*self._whole, *(entry._source for entry in self._entries())]))

    # ---------------------------------------------------------------------------------------- the list

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[FileEntry]: ...

    @overload
    def __getitem__(self, index: SupportsIndex) -> FileEntry: ...
    @overload
    def __getitem__(self, index: slice) -> FileList: ...
    def __getitem__(self, index: SupportsIndex | slice) -> str | FileList:
        item = super().__getitem__(index)
        return self._with(item) if isinstance(item, list) else item

    def __add__(self, other: Any) -> FileList:  # type: ignore[override]
        if not isinstance(other, list):
            return NotImplemented
        return self._with(super().__add__(other), self._whole_with(other))

    def __radd__(self, other: Any) -> FileList:
        return self._with([*other, *self], self._whole) if isinstance(other, list) else NotImplemented

    def __iadd__(self, other: Iterable[str]) -> Self:  # type: ignore[override,misc]
        self._whole = self._whole_with(other)
        self.extend(other)
        return self

    def __mul__(self, times: SupportsIndex) -> FileList:
        items = super().__mul__(times)
        return self._with(items, self._whole if items else ())

    __rmul__ = __mul__

    def __imul__(self, times: SupportsIndex) -> Self:
        self[:] = self * times
        return self

    def _whole_with(self, other: object) -> tuple[Source, ...]:
        return tuple(dict.fromkeys((*self._whole, *(other._whole if isinstance(other, FileList) else ()))))

    def copy(self) -> FileList:
        """Copy the list."""
        return self._with(self, self._whole)

    def _with(self, items: Iterable[str], whole: tuple[Source, ...] = ()) -> FileList:
        files = FileList(items)
        files._whole = whole
        return files

    def __reduce__(self) -> tuple[Any, ...]:
        # What belongs to an entry comes separately, because by itself it pickles to a plain string.
        parts = [(item._form, item._facts) if isinstance(item, FileEntry) else None for item in list.__iter__(self)]
        return _put_together, (self._whole, list(self), parts)

    # ---------------------------------------------------------------------------------------- display

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about these files, in sentences."""
        sources = self._sources()
        notes = [note for source in sources for note in source.notes]
        if shared := sum(source.shared for source in sources):
            are, each = ("are", "each of them") if shared > 1 else ("is", "it")
            notes.append(f"{count(shared, 'file')} {are} in more than one of the datasets; {each} is here once.")
        if missing := self.missing:
            why = Counter(missing.values()).most_common(1)[0][0]
            names = several((str(did) for did in missing), 3)
            they = "it" if len(missing) == 1 else "they"
            notes.append(f"Left out because {they} cannot be read from here: {names}. Why: {why}.")
        return tuple(map(printable, notes))

    def __repr__(self) -> str:
        entries, sources = self._entries(), self._sources()
        total = sum(source.total for source in sources)
        cut = any(source.cut for source in sources) and len(entries) < total
        parts = [f"{len(entries):,} of {count(total, 'file')}" if cut else count(len(entries), "file")]
        if entries and all(entry._source.request.access == "download" for entry in entries):
            parts += [size(self.bytes), f"downloaded to {_common_folder(entries)}"]
        elif entries:
            elsewhere = [entry for entry in entries if Replica(entry.rse, str(entry)).kind != "copy"]
            copies = len(entries) - len(elsewhere)
            parts.append(size(self.bytes))
            if copies:
                parts.append("downloaded before" if not elsewhere else f"{copies:,} downloaded before")
            rses = [rse for rse, _ in Counter(entry.rse for entry in elsewhere if entry.rse).most_common()]
            schemes = [scheme for scheme, _ in Counter(entry.scheme for entry in elsewhere).most_common()]
            how = several([scheme for scheme in schemes if scheme != "file"], 3)
            words = [f"over {how}" if how else "", "mounted" if "file" in schemes else ""]
            where = f"from {several(rses)}" if rses else "from a replica chosen when they are opened,"
            if elsewhere:
                parts.append(f"{where} {' and '.join(filter(None, words))}")
        if len(self) > len(entries):
            parts.append(f"{len(self) - len(entries):,} of your own")
        opened = [kind for source in self._whole for kind in source.open]
        if opened:
            parts.append(f"{opened[0] if len(opened) == 1 else f'{len(opened)} DIDs'} still open")
        if shared := sum(source.shared for source in self._whole):
            parts.append(f"{shared:,} in several datasets")
        if missing := len(self.missing):
            parts.append(f"{missing:,} missing")
        return printable(", ".join(parts))

    def _repr_html_(self) -> str:
        rows = []
        for item in list.__iter__(self[:MOST_ROWS]):
            if isinstance(item, FileEntry):
                dataset = str(item.dataset) if item.dataset else ""
                rows.append((str(item.did), dataset, size(item.bytes), item.rse, item.scheme))
            else:
                rows.append((without_query(str(item)), "", "", "", ""))
        more = [f"... and {count(len(self) - MOST_ROWS, 'more file')}."] if len(self) > MOST_ROWS else []
        return html_table(("file", "dataset", "size", "RSE", "read over"), rows, repr(self), [*more, *self.notes])


def answer_to(request: Request) -> Resolution:
    """Resolve a request, and download the files if it asks for that, with progress bars."""
    from rucio_lab.core.resolve.resolution import resolve
    from rucio_lab.core.transfer.download import download

    if request.access != "download":
        with bars() as tell:
            return resolve(request, tell)
    with bar() as watch:
        return download(request, watch)


def folder_of(to: str | os.PathLike[str] | None) -> str:
    """Check the folder to download into; empty means the configured folder."""
    from rucio_lab.core.copies.base_folder import checked_base

    return os.fspath(checked_base(os.fspath(to))) if to is not None else ""


def _common_folder(entries: list[FileEntry]) -> str:
    return os.path.commonpath([Path(entry).parent for entry in entries])


def _gone(reasons: dict[str, str]) -> FilesUnavailable:
    names = several((f"{did} ({reason})" for did, reason in reasons.items()), 3)
    return FilesUnavailable(
        f"{count(len(reasons), 'file')} {'is' if len(reasons) == 1 else 'are'} no longer available: {names}.",
        "Attach the DIDs again, and take the part from the new list.",
        reasons=reasons,
    )


def _put_together(whole: tuple[Source, ...], items: list[str], parts: list[tuple[Form, bytes] | None]) -> FileList:
    """Make a list of what was pickled."""
    files = FileList(FileEntry(item, *its) if its else item for item, its in zip(items, parts, strict=True))
    files._whole = whole
    return files


def _restore(whole: tuple[Source, ...], items: list[str | tuple[ResolvedFile, Source]]) -> FileList:
    """Make a list of what version 0.1.0 pickled before November 2026."""
    forms: dict[Source, Forms] = {}
    files = FileList()
    for item in items:
        if isinstance(item, tuple):
            file, source = item
            files.append(FileEntry(file.url, *forms.setdefault(source, Forms(source)).split(file)))
        else:
            files.append(item)
    files._whole = whole
    return files
