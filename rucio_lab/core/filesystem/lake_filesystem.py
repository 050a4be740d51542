"""``rucio://INSTANCE/SCOPE/NAME`` for fsspec: an address that names the data, read from whichever replica is alive.

Each of the three parts is percent-encoded (RFC 3986, all but letters, digits and ``-._~``), so a slash within a name is
``%2F``; a plain slash after the scope is taken as part of the name, too. Containers, datasets, scopes and instances are
directories, but a file's address does not say through which dataset it was reached.

``rucio://SCOPE:NAME``, as some other tools write it, names the same DID of the default instance, without any encoding.
Everything that is returned has the full form.

A file system object holds nothing but this syntax: it can be pickled, forked and shared. What is known of files that
are being read stands in `lakefile`, for each process anew.
"""

from __future__ import annotations

import fnmatch
import os
import re
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, unquote

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from rucio_lab.core.address import PREFIX, Address, is_short
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.instances import Instance, load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, ConfigurationError, NotFound, RucioLabError
from rucio_lab.core.filesystem import lake_file
from rucio_lab.core.filesystem.lake_file import LakeFile, NoSuchDid
from rucio_lab.core.model import DidInfo

_BLOCK = 16 << 20  # bytes, of a file that is copied whole
_AT_ONCE = 8  # files that are read side by side
_MAGIC = re.compile(r"[*?\[]")


class ReadOnly(BadRequest, PermissionError):  # noqa: N818
    """Somebody wanted to write to a ``rucio://`` address."""


class IsCollection(BadRequest, IsADirectoryError):  # noqa: N818
    """A container, dataset, scope or instance was to be opened as a file."""


class NoAddress(BadRequest, ValueError):  # noqa: N818
    """What was given is no ``rucio://`` address of what was wanted."""


class LakeFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """The lakes of all configured instances, for reading.

    Registered by the install, so that ``fsspec.open``, ``uproot.open``, ``pandas.read_parquet`` and others take
    ``rucio://`` addresses. Each process resolves and signs in by itself, with the configuration that it finds.
    """

    __module__ = "rucio_lab.core.filesystem"  # its public path, which pickles and references to files store
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

    # ------------------------------------------------------------------------------------ what there is

    def info(self, path: str, **_kwargs: Any) -> dict[str, Any]:
        """Describe what a path names.

        Returns
        -------
        dict
            ``name``, ``size`` in bytes and ``type`` (``file`` or ``directory``); for DIDs also ``did``, ``did_type``
            and, where Rucio knows them, ``adler32``, ``md5``, ``length`` (files) and ``open``.

        Raises
        ------
        NotFound
            If there is no such thing; it is a `FileNotFoundError`, too.
        """
        address = _address(path)
        instance = _instance(address)
        if instance is None or not address.scope:
            return _directory(address._replace(scope="", name=""))
        if not address.name:
            if address.scope not in Lake(instance).scopes():
                raise NoSuchDid(f"{instance.name} has no scope {address.scope!r}.", "List them with fs.ls.")
            return _directory(address)
        file = lake_file.in_memory(instance, address.did)
        if file is not None:
            return _file(address, file.size, file.adler32)
        return _entry(address, _missing_is_not_found(lambda: Lake(instance).info(address.did)))

    def ls(self, path: str, detail: bool = True, **_kwargs: Any) -> list[Any]:
        """List what is in an instance, scope, container or dataset, one level down; a file lists itself."""
        address = _address(path)
        info = self.info(path) if address.name else _directory(address)
        found = [info] if info["type"] == "file" else self._children(address)
        return found if detail else [entry["name"] for entry in found]

    def _children(self, address: Address) -> list[dict[str, Any]]:
        """List what is in a directory."""
        instance = _instance(address)
        if instance is None:
            found = [_directory(Address(name)) for name in load_instances().names]
        elif not address.scope:
            found = [_directory(Address(address.instance, scope)) for scope in Lake(instance).scopes()]
        else:
            lake, did = Lake(instance), DID(address.scope, address.name or "*")
            rows = lake.contents(did) if address.name else lake.search(did, type="all")
            found = _missing_is_not_found(lambda: [_entry(address, row) for row in rows])
        return sorted(found, key=lambda entry: str(entry["name"]))

    def exists(self, path: str, **_kwargs: Any) -> bool:
        """Whether there is such a DID, scope or instance. An instance that cannot be asked is an error."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def walk(
        self, path: str, maxdepth: int | None = None, topdown: bool = True, on_error: Any = "omit", **kwargs: Any
    ) -> Iterator[tuple[str, Any, Any]]:
        """Go through what is below a path: a tuple of path, directories and files for each directory."""
        if maxdepth is not None and maxdepth < 1:
            raise NoAddress("maxdepth must be at least 1.", "Leave it out for no limit.")
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
        """List all files below a path, each once; those of a container or dataset in a single question to Rucio."""
        address = _address(path)
        info = self.info(path)
        found: dict[str, dict[str, Any]] = {}
        if info["type"] == "file":
            found[info["name"]] = info
        elif address.name and maxdepth is None and not withdirs:
            instance = load_instances().get(address.instance)
            found = {
                entry["name"]: entry for entry in (_entry(address, row) for row in Lake(instance).files(address.did))
            }
        else:
            for _, folders, files in self.walk(path, maxdepth, detail=True):
                found |= {entry["name"]: entry for entry in (*files.values(), *(folders.values() if withdirs else ()))}
        names = sorted(found)
        return {name: found[name] for name in names} if detail else names

    def du(
        self, path: str, total: bool = True, maxdepth: int | None = None, withdirs: bool = False, **_kwargs: Any
    ) -> Any:
        """Sum up the sizes of all files below a path, in bytes, as Rucio has registered them."""
        sizes = {name: entry["size"] for name, entry in self.find(path, maxdepth, withdirs, detail=True).items()}
        return sum(sizes.values()) if total else sizes

    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """Find DIDs by a pattern with ``*``, ``?`` and ``[...]``.

        ``INSTANCE/SCOPE/data_A*`` fits the DIDs of a scope, ``INSTANCE/SCOPE/DATASET/*.root`` what a dataset or
        container holds. Patterns are applied to encoded names.
        """
        detail = kwargs.pop("detail", False)
        path = self._strip_protocol(path)
        if not _MAGIC.search(path):
            found = [self.info(path)] if self.exists(path) else []
        else:
            found = [entry for parent in self._parents(path) for entry in self._matches(parent, path)]
        named = {entry["name"]: entry for entry in found}
        return named if detail else sorted(named)

    def _parents(self, pattern: str) -> list[str]:
        """Give the directories in which a pattern is to be looked for."""
        parent = pattern.rpartition("/")[0]
        return self.glob(parent) if _MAGIC.search(parent) else [parent]

    def _matches(self, parent: str, pattern: str) -> Iterator[dict[str, Any]]:
        last = pattern.rpartition("/")[2]
        address = _address(parent)
        instance = _instance(address)
        if instance is not None and address.scope and not address.name:  # Rucio knows no wildcard but *
            wanted = DID(address.scope, unquote(re.sub(r"[*?]+|\[[^]]*\]", "*", last)))
            rows = Lake(instance).search(wanted, type="all")
            entries: Iterable[dict[str, Any]] = (_entry(address, row) for row in rows)
        else:
            entries = self.ls(parent)
        for entry in _missing_is_not_found(lambda: list(entries)):
            if fnmatch.fnmatchcase(entry["name"].rpartition("/")[2], last):
                yield entry

    # ------------------------------------------------------------------------------------ reading

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_kwargs: Any) -> bytes:
        """Read a file, or a part of it; negative numbers count from its end."""
        file = self._lake_file(path)
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
        """Read parts of files, those of one file in one call to its storage.

        Unlike fsspec's own, it raises errors by default: a reader that does not expect them would take them for data.
        """
        if max_gap is not None:
            raise NoAddress("max_gap is not supported.", "Leave it out.")
        starts, ends = (_for_each(bound, len(paths)) for bound in (starts, ends))
        if not len(paths) == len(starts) == len(ends):
            raise NoAddress("There must be as many starts and ends as paths.", "Give one of each for each part.")
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
        """Find the file that a path names.

        Raises
        ------
        FileNotFoundError, IsADirectoryError
            As `NoSuchDid` and `IsCollection`.
        """
        address = _address(path)
        instance = _instance(address)
        if instance is None or not address.name:
            raise IsCollection(f"{PREFIX}{path} names no file.", "Write it as rucio://INSTANCE/SCOPE/NAME.")
        file = lake_file.known_file(instance, address.did)
        if file is None:
            info = _missing_is_not_found(lambda: Lake(instance).info(address.did))
            if info.type != "file":
                raise IsCollection(f"{address.did} is a {info.type}, not a file.", "List its files with fs.find.")
            file = lake_file.file_without_replicas(instance, info)
        return file

    # ------------------------------------------------------------------------------------ copying

    def get_file(self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **_: Any) -> None:
        """Copy a file, or make the folder for a directory; its checksum is compared with Rucio's before it appears."""
        try:
            file = self._lake_file(rpath)
        except IsADirectoryError:
            if outfile is None:
                Path(lpath).mkdir(parents=True, exist_ok=True)
            return
        callback.set_size(file.size)
        if outfile is not None:
            _copy(file, outfile, callback)
            return
        target = Path(os.fspath(lpath))
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

        Local names are the encoded ones, so that no name leads out of the folder.
        """
        if isinstance(rpath, list | tuple) and isinstance(lpath, list | tuple):
            pairs = list(zip(map(self._strip_protocol, rpath), map(os.fspath, lpath), strict=True))
        else:
            pairs = self._targets(rpath, os.fspath(lpath), recursive, maxdepth)
        callback.set_size(len(pairs))
        for remote, local in callback.wrap(pairs):
            with callback.branched(remote, local) as child:
                self.get_file(remote, local, callback=child)

    def _targets(self, rpath: Any, lpath: str, recursive: bool, maxdepth: int | None) -> list[tuple[str, str]]:
        """Say where each file goes."""
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
                raise IsCollection(f"{PREFIX}{path} is no file.", "Copy its files with recursive=True.")
        return pairs

    def _expanded(self, path: str) -> list[str]:
        return list(self.glob(path)) if _MAGIC.search(path) else [path]

    # ------------------------------------------------------------------------------------ writing

    def _read_only(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse: a lake is read-only here."""
        _refuse()

    mkdir = makedirs = rmdir = rm = rm_file = _rm = cp_file = mv = put_file = pipe_file = touch = _read_only


def _refuse() -> NoReturn:
    raise ReadOnly("rucio:// addresses can only be read.", "Write to a local file, and upload it with Rucio.")


class LakeBufferedFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file of the lake, open for reading; keeps its replica open until it is closed."""

    def __init__(self, fs: LakeFileSystem, path: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(fs, path, *args, **kwargs)
        self._held: Callable[[], None] | None = fs._lake_file(path).hold()

    def _fetch_range(self, start: int, end: int) -> bytes:
        return bytes(self.fs.cat_file(self.path, start, end))

    def close(self) -> None:
        """Give up the replica."""
        if not self.closed:
            held, self._held = self._held, None
            if held is not None:
                held()
        super().close()


# ------------------------------------------------------------------------------------------------ small things


def _address(path: str) -> Address:
    return Address.parse(LakeFileSystem._strip_protocol(path))


def _full(path: str) -> str:
    """Write ``scope:name``, a DID of the default instance, as a path; a pattern stays one."""
    did = DID.parse(path)
    name = quote(did.name, safe="*/" if did.is_pattern else "")
    return f"{Address(load_instances().get().name, did.scope).path}/{name}"


def _configured(address: Address) -> Instance:
    """Find the instance of an address in the configuration.

    Raises
    ------
    ConfigurationError
        If there is none; says how to write an address that begins with a scope.
    """
    instances = load_instances()
    try:
        return instances.get(address.instance)
    except ConfigurationError as error:
        if not address.scope or not instances.names:
            raise
        scope, name = address.instance, "/".join(filter(None, address[1:]))
        full = PREFIX + Address(instances.default_name or "INSTANCE", scope, name).path
        raise ConfigurationError(error.message, f"{error.remedy} If {scope!r} is a scope, write {full}.") from None


def _instance(address: Address) -> Instance | None:
    """Find the instance of an address; None for the address that names none. Files are read in many small parts."""
    if not address.instance:
        return None
    key = (address.instance, os.environ.get("RUCIO_LAB_CONFIG"), os.environ.get("RUCIO_CONFIG"))
    known, until = _instances.get(key, (None, 0.0))
    if known is None or until < time.monotonic():
        known = _configured(address)
        _instances[key] = (known, time.monotonic() + _CONFIGURATION_LIFE)
    return known


_CONFIGURATION_LIFE = 1.0  # seconds
_instances: dict[tuple[str | None, ...], tuple[Instance, float]] = {}


def _directory(address: Address) -> dict[str, Any]:
    return {"name": address.path, "size": 0, "type": "directory"}


def _file(address: Address, size: int, adler32: str | None) -> dict[str, Any]:
    about = {"did": str(address.did), "did_type": "file", "adler32": adler32}
    return {"name": address.path, "size": size, "type": "file", **about}


def _entry(parent: Address, info: DidInfo) -> dict[str, Any]:
    """Describe a DID of the same instance as another address."""
    address = Address(parent.instance, *info.did)
    if info.type == "file":
        return _file(address, info.bytes or 0, info.adler32)
    about = {"did": str(info.did), "did_type": info.type, "length": info.length, "open": info.open}
    return {**_directory(address), **about}


def _missing_is_not_found(ask: Callable[[], Any]) -> Any:
    """Ask Rucio; what it does not know is a `FileNotFoundError`, as tools expect."""
    try:
        return ask()
    except NotFound as error:
        raise NoSuchDid(error.message, error.remedy, rucio=error.rucio) from None


def _for_each(bound: Any, count: int) -> Any:
    """Spell out a bound that holds for all paths."""
    return [bound] * count if bound is None or isinstance(bound, int) else bound


def _span(start: Any, end: Any, size: int) -> tuple[int, int]:
    """Turn what fsspec allows as bounds into bytes of the file; numbers can be numpy's."""
    bounds = (None if bound is None else int(bound) for bound in (start, end))
    first, last, _ = slice(*bounds).indices(size)
    return first, max(first, last)


def _side_by_side(work: Callable[[str], list[Any]], paths: list[str]) -> list[list[Any]]:
    if len(paths) < 2:
        return [work(path) for path in paths]
    with ThreadPoolExecutor(min(_AT_ONCE, len(paths)), thread_name_prefix="rucio-lab") as pool:
        return list(pool.map(work, paths))


def _copy(file: LakeFile, target: Any, callback: Any) -> None:
    """Copy all of a file to a stream, and compare its checksum with Rucio's."""
    checksum = 1
    for start in range(0, file.size, _BLOCK):
        (block,) = file.read([(start, min(start + _BLOCK, file.size))])
        checksum = zlib.adler32(block, checksum)
        target.write(block)
        callback.relative_update(len(block))
    if file.adler32 and checksum != int(file.adler32, 16):
        raise lake_file.NoReplicaLeft(
            f"{file.did} came with the checksum {checksum:08x}, but Rucio has registered {file.adler32}.",
            "Tell the operators of the storage; another replica may be whole.",
        )
