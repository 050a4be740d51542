"""A folder of downloaded files, their partial files, and the stamps of those that were verified.

Folders are opened one below the other without following symbolic links, and everything in them is done through the open
folder. So a link that somebody planted leads nowhere.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from rucio_lab.core import locks
from rucio_lab.core.errors import ConfigurationError
from rucio_lab.core.private import is_own

STAMPS = ".rucio-lab-verified"
"""Name of the file, one in each folder, that records which files were verified, and their status at that time.

If others can write to the folder, each user has one, with their user id at the end of the name.
"""

PARTIAL = ".part"

_OWN = f"~own{PARTIAL}"
_ABANDONED = 86400.0  # seconds without a write


class Stamp(NamedTuple):
    """The status of a file when it was verified. While it does not change, the file need not be read again."""

    size: int
    mtime_ns: int
    inode: int
    checksum: str

    @classmethod
    def of(cls, status: os.stat_result, checksum: str) -> Stamp:
        """Make the stamp of a file."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, checksum)


class Folder:
    """An open folder, in which files are created, examined and replaced.

    If others can write to it, it can serve a group whose members do not trust each other: each user has their own
    partial files and stamps there, and a file that another user could change never counts as verified.

    Parameters
    ----------
    base
        The folder that the user chose. Its own path can contain symbolic links.
    parts
        Folders below it.
    make
        Whether to create missing folders.

    Raises
    ------
    ConfigurationError
        If a folder is missing or cannot be created, or is a symbolic link or a file.
    """

    def __init__(self, base: Path, parts: Sequence[str] = (), *, make: bool = True) -> None:
        self.path = base.joinpath(*parts)
        self._fd = _opened(base, parts, make=make)
        self.shared = not is_own(os.fstat(self._fd))
        self.has_locks = not make or locks.work_in(self.path)
        self._stamps_name = f"{STAMPS}-{os.geteuid()}" if self.shared else STAMPS
        self._lock = threading.Lock()
        self._journal = -1  # the file of stamps, opened for appending when the first is written

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        if self._journal >= 0:
            os.close(self._journal)

    def status(self, name: str) -> os.stat_result | None:
        """Give the status of a file, without following a link; None if it does not exist."""
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def names(self) -> frozenset[str]:
        """Give the names of everything in the folder."""
        with os.scandir(self._fd) as entries:
            return frozenset(entry.name for entry in entries)

    def open(self, name: str, flags: int) -> int:
        """Open a regular file of this folder. Anything else is refused, a link with ELOOP, and nothing blocks.

        Others can read the files that are created, but not write them: somebody with a file open for writing could
        change it later.
        """
        fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644, dir_fd=self._fd)
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            os.close(fd)
            kind = errno.EISDIR if stat.S_ISDIR(mode) else errno.EEXIST
            raise OSError(kind, os.strerror(kind), name)
        return fd

    def made_by_us(self, status: os.stat_result) -> bool:
        """Whether only we can write to a file of this folder, as far as its disk can tell.

        Some disks show all files with the same owner, or as writable by all. There, a file passes if it looks like one
        that we create.
        """
        return is_own(status) or (not is_own(self._sample) and self._sample.st_uid == status.st_uid)

    @cached_property
    def _sample(self) -> os.stat_result:
        """The status that the disk shows for a file that we just created."""
        name = f".{secrets.token_hex(8)}{PARTIAL}"
        fd = self.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)
            self.remove(name)

    def rename(self, name: str, new: str) -> None:
        """Replace a file by another, in one step."""
        os.rename(name, new, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def publish(self, name: str, new: str) -> bool:
        """Rename a file, unless the new name exists: then nothing changes, and the result is False."""
        if not self.shared and self.has_locks:  # nobody else creates files here
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
        """Name the partial file next to a target. The name is hidden, and says what it is a part of."""
        known = f"{name}~{size}-{checksum.replace(':', '-')}"
        if self.shared:  # a digest, because a long name would leave no room for the user id
            known = f"{hashlib.sha256(os.fsencode(known)).hexdigest()[:32]}~{os.geteuid()}"
        return f".{known}{PARTIAL}"

    def partial_names_without_locks(self, partial: str) -> tuple[str, str]:
        """Name the partial file of one download on a disk without locks, and the name that it gets when it stops.

        Whoever renames the latter may continue it.
        """
        known = hashlib.sha256(os.fsencode(partial)).hexdigest()[:32]
        user = os.geteuid()
        return f".{known}~{user}~{secrets.token_hex(8)}{_OWN}", f".{known}~{user}{PARTIAL}"

    def remove_abandoned(self) -> None:
        """Remove the partial files of downloads that were killed on a disk without locks."""
        for name in self.names():
            status = self.status(name) if name.startswith(".") and name.endswith(_OWN) else None
            if status and status.st_uid == os.geteuid() and time.time() - status.st_mtime > _ABANDONED:
                self.remove(name)

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    def stamp(self, name: str, status: os.stat_result) -> Stamp | None:
        """Give the stamp of a file; None if there is none, or if others could have changed the file."""
        return self.stamps.get(name) if is_own(status) else None

    def is_verified(self, name: str, stamp: Stamp | None, size: int, checksum: str) -> bool:
        """Whether a file is still what was verified, and what Rucio has registered.

        Parameters
        ----------
        name
            Its name.
        stamp
            Its stamp.
        size, checksum
            As registered in Rucio now.
        """
        status = self.status(name)
        return (
            status is not None
            and stat.S_ISREG(status.st_mode)
            and is_own(status)
            and status.st_size == size
            and stamp == Stamp.of(status, checksum)
        )

    def write_stamp(self, name: str, stamp: Stamp) -> None:
        """Record that a file of our own was just verified. If this fails, the file will only have to be read again."""
        line = json.dumps([name, *stamp], ensure_ascii=True).encode() + b"\n"
        with suppress(OSError):
            os.write(self._appended(), line)  # in one piece, as other processes may be appending, too
        if "stamps" in self.__dict__:
            self.stamps[name] = stamp

    def _appended(self) -> int:
        with self._lock:
            if self._journal < 0:
                self._journal = self.open(self._stamps_name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            return self._journal

    @cached_property
    def stamps(self) -> dict[str, Stamp]:
        """The stamps of this user's: name -> stamp."""
        try:
            with os.fdopen(self.open(self._stamps_name, os.O_RDONLY), "rb") as file:
                return dict(_stamps(file)) if is_own(os.fstat(file.fileno())) else {}
        except OSError:
            return {}


def _stamps(lines: Iterable[bytes]) -> Iterator[tuple[str, Stamp]]:
    for line in lines:
        with suppress(ValueError, TypeError):  # a line may be incomplete if a process was killed
            name, size, mtime_ns, inode, checksum = json.loads(line)
            yield str(name), Stamp(int(size), int(mtime_ns), int(inode), str(checksum))


def _opened(base: Path, parts: Sequence[str], *, make: bool) -> int:
    at = base
    try:
        if make:
            base.mkdir(parents=True, exist_ok=True)
        fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in parts:
            at /= part
            with _closing(fd):
                if make:
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
        what = "is a symbolic link" if path.is_symlink() else "is not a folder"
        return ConfigurationError(f"Nothing is downloaded into {path}, which {what}.", "Remove it or choose another.")
    reason = error.strerror if isinstance(error, OSError) else error
    return ConfigurationError(
        f"The folder {str(path)!r} cannot be used: {reason}.",
        "Choose another with downloads in rucio_lab.toml, or --to.",
    )
