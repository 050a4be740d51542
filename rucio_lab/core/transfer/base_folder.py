"""The folder that downloads go to: which it is, how much is in it, and how it is emptied."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rucio_lab.core.errors import BadRequest, ConfigurationError
from rucio_lab.core.private import own_file, unreadable
from rucio_lab.core.transfer.folder import PARTIAL, STAMPS, Folder
from rucio_lab.core.transfer.places import component


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
                    count = counts[name.startswith(".") and name.endswith(PARTIAL)]
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
