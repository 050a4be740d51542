"""Where downloaded files lie: BASE/instance/scope/dataset/name, and never anywhere else.

Names come from Rucio, and are data: each becomes one component of a path, with what could lead elsewhere or be taken
for something else written as ``%XX``. Folders are opened one below the other without following symbolic links, and
everything in them is done through the open folder, so that a link which somebody planted leads nowhere.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import NamedTuple

from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, ConfigurationError
from rucio_lab.core.private import is_own, own_file, unreadable

# Besides what cannot be in a name: what readers take for wildcards, for the name of a tree, or for chained URLs.
_ESCAPED = frozenset('/\\%:*?[]{}"<>|~')
_MOST_BYTES = 200  # of a component; 255 are allowed, and a partial file has a longer name

STAMPS = ".rucio-lab-verified"
"""Name of the file, one in each folder, that says which files were verified, and how they looked then.

Where others can write to the folder, each user has one, with their number behind the name.
"""

_PARTIAL = ".part"

Place = tuple[str, ...]
"""A file's path below the base folder: the components, ready for the disk."""


def component(name: str) -> str:
    """Make a name of Rucio's one component of a path; different names give different components.

    Parameters
    ----------
    name
        A scope, or the name of a DID or an instance: any text.
    """
    escaped = "".join(
        "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
        if character in _ESCAPED or not character.isprintable() or (not number and character in ".-")
        else character
        for number, character in enumerate(name)
    )
    raw = escaped.encode()
    if len(raw) <= _MOST_BYTES:
        return escaped
    suffix = PurePath(escaped[-20:]).suffix
    head = raw[: _MOST_BYTES - 50].decode(errors="ignore")
    # a tilde is escaped in all names, so that no other name can look like this
    return f"{head}~{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}{suffix}"


def place(did: DID, dataset: DID | None, instance: str = "") -> Place:
    """Give the place of a file below the base folder.

    The scope is the file's own: so one place never stands for two files, whatever a dataset collects.

    Parameters
    ----------
    did
        The file.
    dataset
        The dataset that it was reached through, if any.
    instance
        Name of the instance; empty for a folder that the user chose, in which there are only datasets and names.
    """
    above = (instance, did.scope) if instance else ()
    return tuple(map(component, (*above, *((dataset.name,) if dataset else ()), did.name)))


def places(wanted: Iterable[tuple[DID, Place]], *, case_sensitive: bool = True) -> dict[DID, Place]:
    """Keep apart the files whose places would be one: by a part of a hash, made of the DID, in the name.

    Parameters
    ----------
    wanted
        Files and their places.
    case_sensitive
        Whether the disk tells ``a`` from ``A``.
    """
    groups: dict[Place, list[tuple[DID, Place]]] = {}
    for did, where in wanted:
        key = where if case_sensitive else tuple(_folded(part) for part in where)
        groups.setdefault(key, []).append((did, where))
    return {
        did: where if len(group) == 1 else (*where[:-1], _told_apart(where[-1], did))
        for group in groups.values()
        for did, where in group
    }


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _told_apart(name: str, did: DID) -> str:
    path = PurePath(name)
    return f"{path.stem}~{hashlib.sha256(str(did).encode('utf-8', 'surrogatepass')).hexdigest()[:8]}{path.suffix}"


class Stamp(NamedTuple):
    """How a file looked when it was verified: as long as it looks so, it is trusted without reading it again."""

    size: int
    mtime_ns: int
    inode: int
    checksum: str

    @classmethod
    def of(cls, status: os.stat_result, checksum: str) -> Stamp:
        """Make the stamp of a file."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, checksum)


class Folder:
    """An open folder below the base, in which files are made, looked at and replaced.

    A folder that others can write to serves a group without trusting it: each user has partial files and stamps of
    their own there, and nothing counts as verified that another user could change.

    Parameters
    ----------
    base
        The folder that the user chose; it may be reached through symbolic links, as the user likes.
    parts
        Folders below it, which are made.

    Raises
    ------
    ConfigurationError
        If a folder cannot be made, or is a symbolic link or a file.
    """

    def __init__(self, base: Path, parts: Sequence[str] = ()) -> None:
        self.path = base.joinpath(*parts)
        self._fd = _opened(base, parts)
        self.shared = not is_own(os.fstat(self._fd))
        self._stamps_name = f"{STAMPS}-{os.geteuid()}" if self.shared else STAMPS
        self._stamps: dict[str, Stamp] | None = None
        self._lock = threading.Lock()
        self._journal = -1  # the file of the stamps, open for appending from the first stamp on

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        if self._journal >= 0:
            os.close(self._journal)

    def status(self, name: str) -> os.stat_result | None:
        """Look at a file, without following a link; None if there is none."""
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def names(self) -> frozenset[str]:
        """Give the names of all that is there."""
        with os.scandir(self._fd) as entries:
            return frozenset(entry.name for entry in entries)

    def open(self, name: str, flags: int) -> int:
        """Open a plain file of this folder: a link is refused (ELOOP), all else too, and nothing waits.

        What is made here others may read, and not write: whoever has it open for writing could change it later.
        """
        fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644, dir_fd=self._fd)
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            os.close(fd)
            kind = errno.EISDIR if stat.S_ISDIR(mode) else errno.EEXIST
            raise OSError(kind, os.strerror(kind), name)
        return fd

    def made_by_us(self, status: os.stat_result) -> bool:
        """Whether a file of this folder is ours alone, as far as its disk can tell.

        Some disks show all files as one user's, or as open to all: there, a file counts that looks like one we make.
        """
        return is_own(status) or (not is_own(self._sample) and self._sample.st_uid == status.st_uid)

    @cached_property
    def _sample(self) -> os.stat_result:
        """How the disk shows a file that was made by us just now."""
        name = f".{secrets.token_hex(8)}{_PARTIAL}"
        fd = self.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)
            self.remove(name)

    def rename(self, name: str, new: str) -> None:
        """Put a file in the place of another, in one step."""
        os.rename(name, new, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def publish(self, name: str, new: str) -> bool:
        """Give a file its name, unless there is one of that name: then that one stays, and False is given."""
        if not self.shared:  # nobody else makes one
            self.rename(name, new)
            return True
        try:
            os.link(name, new, src_dir_fd=self._fd, dst_dir_fd=self._fd, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError:  # a disk without hard links
            self.rename(name, new)
        else:
            self.remove(name)
        return True

    def partial_name(self, name: str, size: int, checksum: str) -> str:
        """Name the partial file beside a target: it says itself of what it is a part, and is hidden."""
        known = f"{name}~{size}-{checksum.replace(':', '-')}"
        if self.shared:  # a digest, since some names are so long that there is no room for the user
            known = f"{hashlib.sha256(os.fsencode(known)).hexdigest()[:32]}~{os.geteuid()}"
        return f".{known}{_PARTIAL}"

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    def stamp(self, name: str, status: os.stat_result) -> Stamp | None:
        """Give what is known of a file from when it was verified; nothing of one that others could have changed."""
        if not is_own(status):
            return None
        if self._stamps is None:
            self._stamps = self._read_stamps()
        return self._stamps.get(name)

    def write_stamp(self, name: str, stamp: Stamp) -> None:
        """Note that a file of our own was verified just now. Where that fails, it will be read again, no more."""
        line = json.dumps([name, *stamp], ensure_ascii=True).encode() + b"\n"
        with suppress(OSError):
            os.write(self._appended(), line)  # in one piece: others may append, too
        if self._stamps is not None:
            self._stamps[name] = stamp

    def _appended(self) -> int:
        with self._lock:
            if self._journal < 0:
                self._journal = self.open(self._stamps_name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            return self._journal

    def _read_stamps(self) -> dict[str, Stamp]:
        try:
            with os.fdopen(self.open(self._stamps_name, os.O_RDONLY), "rb") as file:
                return dict(_stamps(file)) if is_own(os.fstat(file.fileno())) else {}
        except OSError:
            return {}


def _stamps(lines: Iterable[bytes]) -> Iterator[tuple[str, Stamp]]:
    for line in lines:
        with suppress(ValueError, TypeError):  # a line that was cut when a process was killed
            name, size, mtime_ns, inode, checksum = json.loads(line)
            yield str(name), Stamp(int(size), int(mtime_ns), int(inode), str(checksum))


def _opened(base: Path, parts: Sequence[str]) -> int:
    at = base
    try:
        base.mkdir(parents=True, exist_ok=True)
        fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in parts:
            at /= part
            with _closing(fd):
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=fd)
                fd = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    except (OSError, ValueError) as error:
        raise _no_folder(at, error) from None
    return fd


@contextmanager
def _closing(fd: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(fd)


def _no_folder(path: Path, error: Exception) -> ConfigurationError:
    if isinstance(error, OSError) and error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EEXIST):
        what = "is a symbolic link" if path.is_symlink() else "is no folder"
        return ConfigurationError(f"Nothing is downloaded into {path}, which {what}.", "Remove it or choose another.")
    reason = error.strerror if isinstance(error, OSError) else error
    return ConfigurationError(
        f"The folder {str(path)!r} cannot be used: {reason}.",
        "Choose another with downloads in rucio_lab.toml, or --to.",
    )


# ------------------------------------------------------------------------------------------------ the base folder


def checked_base(folder: str) -> Path:
    """Read the folder that somebody chose to download into.

    Raises
    ------
    BadRequest
        If it can be no path.
    """
    try:
        path = Path(folder).expanduser().absolute()
        os.fsencode(path)
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except OSError as error:
        raise BadRequest(f"{folder!r} can be no folder: {error.strerror}.", "Name another.") from None
    except (RuntimeError, ValueError) as error:
        raise BadRequest(f"{folder!r} can be no folder: {error}.", "Name another.") from None
    if "\0" in folder or not folder:
        raise BadRequest(f"{folder!r} can be no folder.", "Name another.")
    return path


def tells_case_apart(base: Path) -> bool:
    """Whether a disk tells ``a`` from ``A``; macOS's usually does not."""
    probe = next((path for path in (base, *base.parents) if path.exists() and path.name.swapcase() != path.name), None)
    if probe is None:
        return True
    try:
        return not probe.with_name(probe.name.swapcase()).samefile(probe)
    except OSError:
        return True


@dataclass(frozen=True, slots=True)
class Usage:
    """How much is downloaded.

    Attributes
    ----------
    files, bytes
        Whole files.
    partial, partial_bytes
        Parts of files, which the next download of them goes on from.
    free
        Free bytes on that disk.
    """

    files: int = 0
    bytes: int = 0
    partial: int = 0
    partial_bytes: int = 0
    free: int = 0


def usage(base: Path) -> Usage:
    """Count what was downloaded into a folder."""
    counts = {False: [0, 0], True: [0, 0]}
    for _, _, names, fd in os.fwalk(base) if base.is_dir() else ():
        for name in names:
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if name != MARKER and not name.startswith(STAMPS) and stat.S_ISREG(status.st_mode):
                    count = counts[name.startswith(".") and name.endswith(_PARTIAL)]
                    count[0] += 1
                    count[1] += status.st_size
    (files, size), (partial, partial_size) = counts[False], counts[True]
    return Usage(files, size, partial, partial_size, free_bytes(base))


def free_bytes(folder: Path) -> int:
    """Say how many bytes a user can still write where a folder is, or is to be."""
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    return shutil.disk_usage(there).free


def empty(base: Path) -> Usage:
    """Remove all that was downloaded into the base folder: the folders of the instances, not the folder itself.

    Returns
    -------
    Usage
        What was there.

    Raises
    ------
    ConfigurationError
        If something cannot be removed, or if the folder holds what no download put there.
    """
    was = usage(base)
    if not base.is_dir():
        return was
    marker = base / MARKER
    try:
        known = set(own_file(marker).decode().splitlines())
    except FileNotFoundError:
        if not any(base.iterdir()):
            return was
        raise ConfigurationError(
            f"{base} was not made for downloads alone, so it is not emptied.", "Remove from it what you do not want."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{base} is not emptied by what {MARKER} in it lists: {unreadable(error)}.",
            "Remove from it what you do not want.",
        ) from error
    for path in base.iterdir():
        if path.name in known and path.is_dir() and not path.is_symlink():
            try:
                shutil.rmtree(path)
            except OSError as error:
                raise ConfigurationError(
                    f"{error.filename} cannot be removed: {error.strerror}.", "Mend its permissions."
                ) from error
    marker.unlink()
    return was


MARKER = ".rucio-lab-downloads"
"""Name of the file in the base folder that lists the folders which downloads made there, and which may be removed."""


def mark(base: Path, instance: str) -> None:
    """Note that the folder of an instance in the base folder is a download's own."""
    name = component(instance)
    with Folder(base) as folder:
        status = folder.status(MARKER)
        if status is not None and status.st_uid not in (0, os.geteuid()):
            return  # the folder is another user's to empty
        try:
            if name.encode() not in _marked(folder):  # or there is no need to write, where perhaps nobody may
                with os.fdopen(folder.open(MARKER, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
                    file.write(f"{name}\n".encode())
        except OSError as error:
            raise ConfigurationError(
                f"{base / MARKER} cannot be written: {error.strerror}.",
                "Mend it, or choose another folder with downloads in rucio_lab.toml, or --to.",
            ) from None


def _marked(folder: Folder) -> list[bytes]:
    try:
        with os.fdopen(folder.open(MARKER, os.O_RDONLY), "rb") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []
