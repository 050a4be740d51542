"""Locks between processes, and disks that have none (Lustre without ``flock``, some NFS and FUSE mounts)."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
from pathlib import Path

from rucio_lab.core.private import NotOwn

_OF_THIS_MACHINE = Path("/tmp")  # noqa: S108 - not TMPDIR, which can differ between two processes
_works: dict[int, bool] = {}  # device -> whether it has locks


def work_in(folder: Path) -> bool:
    """Whether the disk of a folder has locks. Each disk is tried once; one that cannot be tried counts as having them.

    Parameters
    ----------
    folder
        A folder, which need not exist yet.
    """
    try:
        there = next(path for path in (folder, *folder.parents) if path.is_dir())
        device = there.stat().st_dev
        if device not in _works:
            with tempfile.TemporaryFile(dir=there) as file:
                _works[device] = _can_be_locked(file.fileno())
        return _works[device]
    except OSError:
        return True


def _can_be_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # not because somebody else holds it: nobody knows this file
        return False
    return True


def lock_path(path: Path) -> Path:
    """Give the file to lock: the given one, or if its disk has no locks, one on this machine that stands for it.

    Raises
    ------
    NotOwn
        If somebody else has taken the folder of such files.
    """
    if work_in(path.parent):
        return path
    folder = _OF_THIS_MACHINE / f"rucio-lab-locks-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise NotOwn(folder, f"{folder} is not a private folder of this user", f"remove {folder}")
    return folder / hashlib.sha256(os.fsencode(path.parent.resolve() / path.name)).hexdigest()[:32]
