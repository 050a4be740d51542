"""Private files, and checks that another user could not have made or changed a file."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import tempfile
from collections import deque
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from rucio_lab.core.jupyter_folders import data_folder

MOST = 1_000_000
"""Longest file that `own_file` reads, in bytes; tokens, proxies and our own files are much shorter."""

_MOST_LINKS = 40  # in a path; Linux itself follows no more


class NotOwn(PermissionError):  # noqa: N818 - named by what is wrong
    """A file or folder exists but is not used: another user could have made or changed it.

    Parameters
    ----------
    path
        The file or folder.
    why
        What is wrong with it.
    remedy
        How to fix it, without a capital letter or a full stop; the attribute is a whole sentence.
    """

    def __init__(self, path: str | Path, why: str, remedy: str) -> None:
        super().__init__(errno.EACCES, f"{why}; {remedy}", str(path))
        self.why = why
        self.remedy = f"{remedy[0].upper()}{remedy[1:]}."


def own_file(path: str | Path, *, private: bool = False) -> bytes:
    """Read a file that is really this user's own: a token, a proxy, or one of our own files.

    Whoever can make or change this file decides who the user is to Rucio. So it must be a small regular file that
    belongs to this user or to root, and that nobody else can write to. Opening it never blocks, not even for a pipe.

    Links are followed, because real sites need them: home folders are behind links, and Kubernetes mounts secrets as
    links of root's. But another user must not have made a link: each must belong to this user or root, or be in a
    folder that only its owner can write to. The folders themselves are not checked: whoever can write to one can only
    put own files or links there, and those are refused.

    If others can only read the file, it may have leaked, but nobody planted it. Where that is common (a token written
    by a hub or a batch system), the file is used, and `rucio-lab doctor` reports it.

    Parameters
    ----------
    path
        The file.
    private
        Whether to refuse a file of this user's that others can read, as the tools for X.509 proxies do. Files of root's
        are the administrator's decision.

    Returns
    -------
    bytes
        Its content.

    Raises
    ------
    NotOwn
        If it exists but must not be used; says why, and how to fix it.
    OSError
        If it does not exist, or cannot be read.
    """
    fd = os.open(_followed(Path(path)), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(fd, path, private=private)
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(MOST)
    finally:
        os.close(fd)


def _check(fd: int, path: str | Path, *, private: bool) -> None:
    """Raise `NotOwn` for an open file that is not really this user's own."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise NotOwn(path, "it is not a regular file", "replace it by one")
    if status.st_uid not in (0, os.geteuid()):
        raise NotOwn(path, f"it belongs to {_name(status.st_uid)}", "name a file of your own")
    if not (is_own(status) or _is_for_us_alone(fd, status)):
        raise NotOwn(path, "others can write to it", f"check its content, then chmod 600 {path}")
    if private and is_open_to_others(status):
        raise NotOwn(path, "others can read it", f"chmod 600 {path}")
    if status.st_size > MOST:
        raise NotOwn(path, f"it is longer than {MOST // 1_000_000} MB", "replace it by the right one")


def is_own(status: os.stat_result) -> bool:
    """Whether a file or folder is this user's or root's, and nobody else can write to it."""
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def is_open_to_others(status: os.stat_result) -> bool:
    """Whether a file belongs to this user, and others can read it."""
    return status.st_uid == os.geteuid() and bool(status.st_mode & 0o077)


def unreadable(error: OSError | UnicodeDecodeError) -> str:
    """Say why a text file cannot be read."""
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not text"


def lab_folder(name: str) -> Path:
    """Give the path of a folder in ``rucio-lab`` in Jupyter's data folder; it need not exist."""
    return data_folder() / name


def own_folder(path: Path, *, make: bool = True) -> None:
    """Make sure that a folder and its parent are private to the user (0700).

    Parameters
    ----------
    path
        One from `lab_folder`, or the folder of a job.
    make
        Whether to create missing ones.

    Raises
    ------
    NotOwn
        If one of them is another user's.
    OSError
        If one is missing, or cannot be created.
    """
    for folder in (path.parent, path):
        if make:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = _followed(folder).stat()
        if status.st_uid not in (0, os.geteuid()):
            remedy = "set JUPYTER_DATA_DIR to a folder of your own"
            raise NotOwn(folder, f"the folder {folder} belongs to {_name(status.st_uid)}", remedy)
        if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != 0o700:
            with suppress(OSError):  # the disk is read-only, or has no modes
                folder.chmod(0o700)  # whatever the umask was


def write_private(path: Path, text: str) -> None:
    """Write a private file (0600) atomically; a missing folder is created (0700).

    Parameters
    ----------
    path
        The file. An existing one is replaced; programs that have it open keep reading the old one.
    text
        Its new content.

    Raises
    ------
    OSError
        If it cannot be written. The old file is unchanged then.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # has mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise


def _followed(path: Path) -> Path:
    """Follow all links in a path; refuse those that another user may have made."""
    at, links = Path("/"), 0
    todo = deque(Path.cwd().joinpath(path).parts[1:])
    while todo:
        name = todo.popleft()
        if name == "..":
            at = at.parent
            continue
        status = (at / name).lstat()
        if not stat.S_ISLNK(status.st_mode):
            at /= name
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        if status.st_uid not in (0, os.geteuid()) and at.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise NotOwn(path, f"{at / name} is a link of {_name(status.st_uid)}", "name a file of your own")
        target = (at / name).readlink()
        todo.extendleft(reversed(target.parts[1:] if target.is_absolute() else target.parts))
        at = Path("/") if target.is_absolute() else at
    return at


def _is_for_us_alone(fd: int, status: os.stat_result) -> bool:
    """Whether only the group can write to an open file, and this user is its only member.

    This is common where each user has a private group, and in containers whose volume belongs to a group.
    """
    lists = os.listxattr(fd) if hasattr(os, "listxattr") else []
    return (
        not status.st_mode & stat.S_IWOTH
        and "system.posix_acl_access" not in lists  # with an ACL, the group bits include other users
        and _is_alone_in(status.st_gid, os.geteuid())
    )


@lru_cache(maxsize=64)
def _is_alone_in(group: int, user: int) -> bool:
    try:
        name, members = pwd.getpwuid(user).pw_name, set(grp.getgrgid(group).gr_mem)
    except KeyError:
        return False
    members |= {entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == group}
    return members == {name}  # if the users cannot be listed, not even this one is


def _name(user: int) -> str:
    """Name a user, by number if this machine has no name."""
    try:
        return f"the user {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"another user (uid {user})"


class Secret(str):
    """A text that is never shown, not even as a local variable in a verbose traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"
