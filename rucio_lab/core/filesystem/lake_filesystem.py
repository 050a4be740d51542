"""``rucio://INSTANCE/SCOPE/NAME`` for fsspec: files are named by their DID, and read from any replica that works.

Each of the three parts is percent-encoded (RFC 3986, all but letters, digits and ``-._~``), so a slash within a name is
``%2F``. A plain slash after the scope is also accepted as part of the name. Containers, datasets, scopes and instances
are directories, but the address of a file does not say through which dataset it was reached.

``rucio://SCOPE:NAME``, as some other tools write it, is the same DID of the default instance, without any encoding.
Everything that is returned has the full form.

A file system object has no state, so it can be pickled, forked and shared. The state of files that are being read is
in `rucio_lab.core.filesystem.lake_file`, separately in each process.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from rucio_lab.core.address import PREFIX, Address, is_short
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, RucioLabError
from rucio_lab.core.filesystem import lake_file
from rucio_lab.core.filesystem.lake_file import LakeFile
from rucio_lab.core.filesystem.listing import (
    entries_at,
    entries_matching,
    entry_at,
    files_below,
    instance_of,
    or_not_found,
)
from rucio_lab.core.notice import notice
from rucio_lab.core.text import printable

_AT_ONCE = 8  # files that are read in parallel
_MAGIC = re.compile(r"[*?\[]")


class ReadOnly(BadRequest, PermissionError):  # noqa: N818
    """Writing to a ``rucio://`` address is not possible."""


class IsCollection(BadRequest, IsADirectoryError):  # noqa: N818
    """A container, dataset, scope or instance cannot be opened as a file."""


class BadArguments(BadRequest, ValueError):  # noqa: N818
    """The arguments of a call do not fit together."""


class LakeFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """The lakes of all configured instances, for reading.

    The package registers it, so that ``fsspec.open``, ``uproot.open``, ``pandas.read_parquet`` and others accept
    ``rucio://`` addresses. Each process resolves and signs in by itself, with the configuration that it finds.
    """

    __module__ = "rucio_lab.core.filesystem"  # pickles and JSON store this path, which stays the same

    protocol = "rucio"
    root_marker = ""

    # ------------------------------------------------------------------------------------ paths

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        path = os.fspath(path).removeprefix(PREFIX).rstrip("/")
        return _full(path) if is_short(path) else path

    def unstrip_protocol(self, name: str) -> str:
        """Write a path as a URL."""
        return f"{PREFIX}{self._strip_protocol(name)}"

    @classmethod
    def _parent(cls, path: str) -> str:
        parts = cls._strip_protocol(path).split("/", 2)
        return "/".join(parts[:-1])

    # ------------------------------------------------------------------------------------ listings

    def info(self, path: str, **_kwargs: Any) -> dict[str, Any]:
        """Describe what is at a path.

        Returns
        -------
        dict
            ``name``, ``size`` in bytes and ``type`` (``file`` or ``directory``); for DIDs also ``did``, ``did_type``
            and, if Rucio knows them, ``adler32``, ``length`` (number of files) and ``open``.

        Raises
        ------
        NotFound
            If there is nothing. The error is also a `FileNotFoundError`.
        """
        return entry_at(_address(path))

    def ls(self, path: str, detail: bool = True, **_kwargs: Any) -> list[Any]:
        """List an instance, scope, container or dataset, one level down; a file lists itself."""
        found = entries_at(_address(path))
        return found if detail else [entry["name"] for entry in found]

    def exists(self, path: str, **_kwargs: Any) -> bool:
        """Whether a DID, scope or instance exists. Raises if the instance cannot be asked."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def walk(
        self, path: str, maxdepth: int | None = None, topdown: bool = True, on_error: Any = "omit", **kwargs: Any
    ) -> Iterator[tuple[str, Any, Any]]:
        """Walk the directories below a path, each as a tuple of path, directories and files."""
        if maxdepth is not None and maxdepth < 1:
            raise BadArguments("maxdepth must be at least 1.", "Leave it out for no limit.")
        detail = kwargs.pop("detail", False)
        path = self._strip_protocol(path)
        kinds: dict[str, dict[str, Any]] = {"directory": {}, "file": {}}
        for entry in self.ls(path):
            if entry["name"] == path:
                continue  # a file lists itself
            part = entry["name"].rpartition("/")[2]
            kinds[entry["type"]][part if part not in kinds[entry["type"]] else entry["name"]] = entry
        folders, files = kinds["directory"], kinds["file"]
        if topdown:
            yield (path, folders, files) if detail else (path, list(folders), list(files))
        if maxdepth is None or maxdepth > 1:
            deeper = maxdepth - 1 if maxdepth is not None else None
            for folder in folders.values():
                yield from self.walk(folder["name"], deeper, topdown, on_error, detail=detail)
        if not topdown:
            yield (path, folders, files) if detail else (path, list(folders), list(files))

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **_kwargs: Any
    ) -> Any:
        """List all files below a path, each once. A container or dataset needs only one request to Rucio."""
        address = _address(path)
        info = self.info(path)
        found: dict[str, dict[str, Any]] = {}
        if info["type"] == "file":
            found[info["name"]] = info
        elif address.name and maxdepth is None and not withdirs:
            found = {entry["name"]: entry for entry in files_below(address)}
        else:
            for _, folders, files in self.walk(path, maxdepth, detail=True):
                found |= {entry["name"]: entry for entry in (*files.values(), *(folders.values() if withdirs else ()))}
        names = sorted(found)
        return {name: found[name] for name in names} if detail else names

    def du(
        self, path: str, total: bool = True, maxdepth: int | None = None, withdirs: bool = False, **_kwargs: Any
    ) -> Any:
        """Sum up the sizes of all files below a path, in bytes, as registered in Rucio."""
        sizes = {name: entry["size"] for name, entry in self.find(path, maxdepth, withdirs, detail=True).items()}
        return sum(sizes.values()) if total else sizes

    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """Find DIDs by a pattern with ``*``, ``?`` and ``[...]``.

        ``INSTANCE/SCOPE/data_A*`` matches DIDs of a scope, ``INSTANCE/SCOPE/DATASET/*.root`` the contents of a dataset
        or container. Patterns are compared with encoded names.
        """
        detail = kwargs.pop("detail", False)
        path = self._strip_protocol(path)
        if not _MAGIC.search(path):
            found = [self.info(path)] if self.exists(path) else []
        else:
            last = path.rpartition("/")[2]
            found = [entry for parent in self._parents(path) for entry in entries_matching(Address.parse(parent), last)]
        named = {entry["name"]: entry for entry in found}
        return named if detail else sorted(named)

    def _parents(self, pattern: str) -> list[str]:
        """Give the directories that can contain matches of a pattern."""
        parent = pattern.rpartition("/")[0]
        return self.glob(parent) if _MAGIC.search(parent) else [parent]

    # ------------------------------------------------------------------------------------ reading

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_kwargs: Any) -> bytes:
        """Read a file, verifying its checksum, or a part of it. Negative numbers count from its end."""
        file = self._lake_file(path)
        if start is None and end is None:
            blocks: list[bytes] = []
            file.copy(blocks.append, blocks.clear)
            return b"".join(blocks)
        return file.read([_span(start, end, file.size)])[0]

    def cat_ranges(
        self,
        paths: Sequence[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "raise",
        **_kwargs: Any,
    ) -> list[Any]:
        """Read parts of files. All parts of one file are read together.

        Unlike fsspec's own method it raises errors by default, as a reader that does not expect them in the result
        would take them for data.
        """
        if max_gap is not None:
            raise BadArguments("max_gap is not supported.", "Leave it out.")
        starts, ends = (_for_each(bound, len(paths)) for bound in (starts, ends))
        if not len(paths) == len(starts) == len(ends):
            raise BadArguments(
                "The numbers of paths, starts and ends differ.", "Give a start and an end for each path."
            )
        by_path: dict[str, list[int]] = {}
        for number, path in enumerate(paths):
            by_path.setdefault(path, []).append(number)

        def read(path: str) -> list[Any]:
            try:
                file = self._lake_file(path)
                return file.read([_span(starts[number], ends[number], file.size) for number in by_path[path]])
            except (OSError, RucioLabError) as error:
                if on_error == "raise":
                    raise
                return [error] * len(by_path[path])

        parts: list[Any] = [None] * len(paths)
        for path, its in zip(by_path, _side_by_side(read, list(by_path)), strict=True):
            for number, part in zip(by_path[path], its, strict=True):
                parts[number] = part
        return parts

    def _open(self, path: str, mode: str = "rb", block_size: Any = None, **kwargs: Any) -> LakeBufferedFile:
        if mode != "rb":
            _refuse()
        kwargs |= {"size": self._lake_file(path).size}
        kwargs.pop("autocommit", None)
        return LakeBufferedFile(self, path, mode, block_size or "default", **kwargs)

    def _lake_file(self, path: str) -> LakeFile:
        """Find the file at a path.

        Raises
        ------
        FileNotFoundError, IsADirectoryError
            In the form of `NoSuchDid` and `IsCollection`.
        """
        address = _address(path)
        instance = instance_of(address)
        if instance is None or not address.name:
            raise IsCollection(
                f"{PREFIX}{path} is not the address of a file.", "Write it as rucio://INSTANCE/SCOPE/NAME."
            )
        file = lake_file.known_file(instance, address.did)
        if file is None:
            info = or_not_found(lambda: Lake(instance).info(address.did))
            if info.type != "file":
                raise IsCollection(f"{address.did} is a {info.type}, not a file.", "List its files with fs.find.")
            file = lake_file.file_without_replicas(instance, info)
        return file

    # ------------------------------------------------------------------------------------ copying

    def get_file(self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **_: Any) -> None:
        """Copy a file, or create a folder for a directory.

        The checksum is verified before the file appears; a warning says if Rucio has none.
        """
        _warn_of_unchecked(self._get_one(rpath, lpath, callback, outfile))

    def _get_one(self, rpath: str, lpath: Any, callback: Any, outfile: Any = None) -> list[DID]:
        """Copy a file, and give its DID if Rucio has no checksum of it."""
        try:
            file = self._lake_file(rpath)
        except IsADirectoryError:
            if outfile is None:
                Path(lpath).mkdir(parents=True, exist_ok=True)
            return []
        callback.set_size(file.size)
        if outfile is not None:
            _copy(file, outfile, callback)
        else:
            _copy_to(file, Path(os.fspath(lpath)), callback)
        return [] if file.adler32 or file.md5 else [file.did]

    def get(
        self,
        rpath: Any,
        lpath: Any,
        recursive: bool = False,
        callback: Any = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **_kwargs: Any,
    ) -> None:
        """Copy files; with ``recursive``, all files of a container or dataset into one folder.

        Local names are the encoded ones, so that no name can lead out of the folder.
        """
        if isinstance(rpath, list | tuple) and isinstance(lpath, list | tuple):
            pairs = list(zip(map(self._strip_protocol, rpath), map(os.fspath, lpath), strict=True))
        else:
            pairs = self._targets(rpath, os.fspath(lpath), recursive, maxdepth)
        callback.set_size(len(pairs))
        unchecked: list[DID] = []
        for remote, local in callback.wrap(pairs):
            with callback.branched(remote, local) as child:
                unchecked += self._get_one(remote, local, child)
        _warn_of_unchecked(unchecked)

    def _targets(self, rpath: Any, lpath: str, recursive: bool, maxdepth: int | None) -> list[tuple[str, str]]:
        """Give the local path of each file."""
        given = [rpath] if isinstance(rpath, str | os.PathLike) else list(rpath)
        paths = [path for one in given for path in self._expanded(os.fspath(one))]
        into_folder = len(paths) > 1 or lpath.endswith(os.sep) or Path(lpath).is_dir()
        pairs = []
        for path in map(self._strip_protocol, paths):
            if not self.isdir(path):
                target = Path(lpath, path.rpartition("/")[2]) if into_folder else lpath
                pairs.append((path, str(target)))
            elif recursive:
                pairs += [(each, str(Path(lpath, each.rpartition("/")[2]))) for each in self.find(path, maxdepth)]
            else:
                raise IsCollection(f"{PREFIX}{path} is not a file.", "Copy its files with recursive=True.")
        return pairs

    def _expanded(self, path: str) -> list[str]:
        return list(self.glob(path)) if _MAGIC.search(path) else [path]

    # ------------------------------------------------------------------------------------ writing

    def _read_only(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse to write: a lake is read-only here."""
        _refuse()

    mkdir = makedirs = rmdir = rm = rm_file = _rm = cp_file = mv = put_file = pipe_file = touch = _read_only


def _refuse() -> NoReturn:
    raise ReadOnly("rucio:// addresses can only be read.", "Write to a local file and upload it with Rucio.")


class LakeBufferedFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file of the lake that is open for reading. Its replica stays open until it is closed."""

    def __init__(self, fs: LakeFileSystem, path: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(fs, path, *args, **kwargs)
        self._held: Callable[[], None] | None = fs._lake_file(path).hold()

    def _fetch_range(self, start: int, end: int) -> bytes:
        return bytes(self.fs.cat_file(self.path, start, end))

    def close(self) -> None:
        """Close the file, and its replica if nobody else reads it."""
        if not self.closed:
            held, self._held = self._held, None
            if held is not None:
                held()
        super().close()


def _for_each(bound: Any, count: int) -> Any:
    """Repeat a single bound for each path."""
    return [bound] * count if bound is None or isinstance(bound, int) else bound


def _span(start: Any, end: Any, size: int) -> tuple[int, int]:
    """Convert the bounds that fsspec allows to bytes of the file. The numbers can be numpy's."""
    bounds = (None if bound is None else int(bound) for bound in (start, end))
    first, last, _ = slice(*bounds).indices(size)
    return first, max(first, last)


def _side_by_side(work: Callable[[str], list[Any]], paths: list[str]) -> list[list[Any]]:
    if len(paths) < 2:
        return [work(path) for path in paths]
    pool = ThreadPoolExecutor(min(_AT_ONCE, len(paths)), thread_name_prefix="rucio-lab")
    try:
        return list(pool.map(work, paths))
    finally:  # without waiting: after an interrupt, threads may still wait for a busy storage
        pool.shutdown(wait=False, cancel_futures=True)


def _copy_to(file: LakeFile, target: Path, callback: Any) -> None:
    """Copy a file to a path, where it appears when it is complete and verified."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".rucio-lab-")
    try:
        with os.fdopen(handle, "wb") as stream:
            _copy(file, stream, callback)
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


def _copy(file: LakeFile, target: Any, callback: Any) -> None:
    """Copy a whole file to a stream, and verify its checksum."""
    begin = target.tell() if target.seekable() else None

    def write(block: bytes) -> None:
        target.write(block)
        callback.relative_update(len(block))

    def restart() -> None:
        if begin is None:
            raise lake_file.NoReplicaLeft(
                f"{file.did} was read with a wrong checksum, and what was written cannot be taken back.",
                "Copy it to a file: then another replica is tried.",
            )
        target.seek(begin)
        target.truncate()
        callback.absolute_update(0)

    file.copy(write, restart)


def _warn_of_unchecked(dids: list[DID]) -> None:
    """Say which copies could not be verified."""
    if dids:
        names = f"{', '.join(map(str, dids[:3]))}{f' and {len(dids) - 3:,} more' if len(dids) > 3 else ''}"
        notice(printable(f"Rucio has no checksum of {names}: only the size was checked."), stacklevel=3)


def _address(path: str) -> Address:
    return Address.parse(LakeFileSystem._strip_protocol(path))


def _full(path: str) -> str:
    """Write ``scope:name``, a DID of the default instance, as a path; a pattern stays one."""
    did = DID.parse(path)
    name = quote(did.name, safe="*/" if did.is_pattern else "")
    return f"{Address(load_instances().get().name, did.scope).path}/{name}"
