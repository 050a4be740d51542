"""Files that only their owner can read, and whether to believe what is in files that others could have put there."""

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

MOST = 1_000_000
"""Longest file that `own_file` reads, in bytes: no token, proxy or note of ours comes near."""

_MOST_LINKS = 40  # on the way to a file; Linux itself follows no more


class NotOwn(PermissionError):  # noqa: N818 - named by what is wrong
    """A file or folder is there, and is not used: somebody else could have made or changed it.

    Parameters
    ----------
    path
        The file or folder.
    why
        What is wrong with it, in words.
    remedy
        The one thing that mends it, without a capital letter or a full stop; as an attribute it is a sentence.
    """

    def __init__(self, path: str | Path, why: str, remedy: str) -> None:
        super().__init__(errno.EACCES, f"{why}; {remedy}", str(path))
        self.why = why
        self.remedy = f"{remedy[0].upper()}{remedy[1:]}."


def own_file(path: str | Path, *, private: bool = False) -> bytes:
    """Read a file that counts as this user's own: a token, a proxy, or a note of ours.

    Whoever can put a file there, or change it, decides as whom the user works. So the file must be a plain one that
    belongs to this user or to root, that nobody else can write to, and that is small. To open it never waits, not even
    for a pipe.

    Links are followed, since real sites need them: homes are reached through them, and the secrets that Kubernetes
    mounts are links of root's. But no link counts that another user may have made: each must be this user's or root's,
    or lie in a folder that only its owner can write to. The folders themselves need no look: who can write to one can
    only put a file or a link of his own there, and that is refused.

    A file that others can read is another matter: it may have leaked, but nobody planted it. Where that is common (a
    token that a hub or a batch system wrote), it is used, and `rucio-lab doctor` says so.

    Parameters
    ----------
    path
        The file.
    private
        Whether to refuse one of the user's own that others can read, as the tools for X.509 proxies do. A file of
        root's is as its administrator wants it.

    Returns
    -------
    bytes
        What it holds.

    Raises
    ------
    NotOwn
        If it is there and not to be used; says why, and what mends it.
    OSError
        If it is not there, or cannot be read.
    """
    fd = os.open(_followed(Path(path)), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(fd, path, private=private)
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(MOST)
    finally:
        os.close(fd)


def _check(fd: int, path: str | Path, *, private: bool) -> None:
    """Raise `NotOwn` for an open file that does not count as this user's own."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise NotOwn(path, "it is no plain file", "put one there")
    if status.st_uid not in (0, os.geteuid()):
        raise NotOwn(path, f"it belongs to {_name(status.st_uid)}", "name a file of your own")
    if not (is_own(status) or _is_for_us_alone(fd, status)):
        raise NotOwn(path, "others can write to it", f"look at what it holds, then chmod 600 {path}")
    if private and is_open_to_others(status):
        raise NotOwn(path, "others can read it", f"chmod 600 {path}")
    if status.st_size > MOST:
        raise NotOwn(path, f"it is longer than {MOST // 1_000_000} MB", "put the right one there")


def is_own(status: os.stat_result) -> bool:
    """Whether a file or folder is this user's or root's, and nobody else can write to it."""
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def is_open_to_others(status: os.stat_result) -> bool:
    """Whether others can read a file of this user's."""
    return status.st_uid == os.geteuid() and bool(status.st_mode & 0o077)


def unreadable(error: OSError | UnicodeDecodeError) -> str:
    """Say in words why a file of text cannot be read."""
    return error.strerror or str(error) if isinstance(error, OSError) else "it is no text"


def lab_folder(name: str) -> Path:
    """Give the folder of that name in ``rucio-lab`` below Jupyter's data folder; it need not be there."""
    from jupyter_core.paths import jupyter_data_dir

    return Path(jupyter_data_dir()) / "rucio-lab" / name


def own_folder(path: Path, *, make: bool = True) -> None:
    """See to it that a folder, and the one above it, are the user's alone (0700).

    Parameters
    ----------
    path
        One of those that `lab_folder` gives, or one of a job.
    make
        Whether to make them where they are missing.

    Raises
    ------
    NotOwn
        If one of them is another user's.
    OSError
        If one is missing, or cannot be made.
    """
    for folder in (path.parent, path):
        if make:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = _followed(folder).stat()
        if status.st_uid not in (0, os.geteuid()):
            remedy = "let JUPYTER_DATA_DIR name a folder of your own"
            raise NotOwn(folder, f"the folder {folder} belongs to {_name(status.st_uid)}", remedy)
        if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != 0o700:
            with suppress(OSError):  # of a disk that is read-only, or knows no modes
                folder.chmod(0o700)  # whatever the umask said, or others since


def write_private(path: Path, text: str) -> None:
    """Write a file (0600), whole or not at all; a folder that is missing is made (0700).

    Parameters
    ----------
    path
        The file. Whatever was there is replaced; who has it open goes on reading the old one.
    text
        What it is to hold.

    Raises
    ------
    OSError
        If the disk does not take it. The old file is as it was then.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # made with mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise


def _followed(path: Path) -> Path:
    """Follow all links of a path, none of which another user may have made."""
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
    """Whether only the group can write to an open file, and this user is alone in it.

    So it is where each user has a group of their own, and in a container whose volume belongs to a group.
    """
    lists = os.listxattr(fd) if hasattr(os, "listxattr") else []
    return (
        not status.st_mode & stat.S_IWOTH
        and "system.posix_acl_access" not in lists  # with a list, the bits of the group stand for others, too
        and _is_alone_in(status.st_gid, os.geteuid())
    )


@lru_cache(maxsize=64)
def _is_alone_in(group: int, user: int) -> bool:
    try:
        name, members = pwd.getpwuid(user).pw_name, set(grp.getgrgid(group).gr_mem)
    except KeyError:
        return False
    members |= {entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == group}
    return members == {name}  # a directory of users that cannot be listed does not even list this one


def _name(user: int) -> str:
    """Name a user, as well as this machine knows."""
    try:
        return f"the user {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"another user (uid {user})"


class Secret(str):
    """A text that is shown nowhere, not even as a local variable in a verbose traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"
