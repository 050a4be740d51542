"""The folder for downloads: check its path, measure it, and empty it."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rucio_lab.core.copies.folder import PARTIAL, STAMPS, Folder
from rucio_lab.core.copies.places import component
from rucio_lab.core.errors import BadRequest, ConfigurationError
from rucio_lab.core.private import own_file, unreadable


def checked_base(folder: str) -> Path:
    """Check the path of a folder to download into.

    Raises
    ------
    BadRequest
        If it is not a valid path.
    """
    try:
        path = Path(folder).expanduser().absolute()
        os.fsencode(path)
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except OSError as error:
        raise BadRequest(f"{folder!r} cannot be a folder: {error.strerror}.", "Choose another.") from None
    except (RuntimeError, ValueError) as error:
        why = str(error).rstrip(".")
        remedy = "Set HOME, or choose another." if folder.startswith("~/") else "Choose another."
        raise BadRequest(f"{folder!r} cannot be a folder: {why}.", remedy) from None
    if "\0" in folder or not folder:
        raise BadRequest(f"{folder!r} cannot be a folder.", "Choose another.")
    return path


def tells_case_apart(base: Path) -> bool:
    """Whether a disk distinguishes ``a`` from ``A``; on macOS it usually does not."""
    probe = next((path for path in (base, *base.parents) if path.exists() and path.name.swapcase() != path.name), None)
    if probe is None:
        return True
    try:
        return not probe.with_name(probe.name.swapcase()).samefile(probe)
    except OSError:
        return True


@dataclass(frozen=True, slots=True)
class Usage:
    """How much has been downloaded.

    Attributes
    ----------
    files, bytes
        Complete files.
    partial, partial_bytes
        Partial files, which the next download continues.
    free
        Free bytes on the disk.
    """

    files: int = 0
    bytes: int = 0
    partial: int = 0
    partial_bytes: int = 0
    free: int = 0


def usage(base: Path) -> Usage:
    """Count the files in a folder for downloads."""
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
    """Give the free bytes on the disk of a folder, which need not exist yet."""
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    return shutil.disk_usage(there).free


def empty(base: Path) -> Usage:
    """Remove everything that was downloaded into the base folder: the folders of the instances, not the base itself.

    Returns
    -------
    Usage
        What was in it before.

    Raises
    ------
    ConfigurationError
        If something cannot be removed, or if the folder was not created for downloads.
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
            f"{base} was not created for downloads, so it is not emptied.", "Remove by hand what you no longer need."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{base} is not emptied, because {MARKER} in it cannot be used: {unreadable(error)}.",
            "Remove from it what you do not want.",
        ) from error
    for path in base.iterdir():
        if path.name in known and path.is_dir() and not path.is_symlink():
            try:
                shutil.rmtree(path)
            except OSError as error:
                raise ConfigurationError(
                    f"{error.filename} cannot be removed: {error.strerror}.", "Check its permissions."
                ) from error
    marker.unlink()
    return was


MARKER = ".rucio-lab-downloads"
"""Name of the file in the base folder that lists the folders created by downloads, which can be removed."""


def mark(base: Path, instance: str) -> None:
    """Record that the folder of an instance in the base folder was created by a download."""
    name = component(instance)
    with Folder(base) as folder:
        status = folder.status(MARKER)
        if status is not None and status.st_uid not in (0, os.geteuid()):
            return  # only another user can empty the folder
        try:
            if name.encode() not in _marked(folder):  # do not write without need: the folder may be read-only
                with os.fdopen(folder.open(MARKER, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
                    file.write(f"{name}\n".encode())
        except OSError as error:
            raise ConfigurationError(
                f"{base / MARKER} cannot be written: {error.strerror}.",
                "Remove it, or choose another folder with downloads in rucio_lab.toml, or --to.",
            ) from None


def _marked(folder: Folder) -> list[bytes]:
    try:
        with os.fdopen(folder.open(MARKER, os.O_RDONLY), "rb") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []
