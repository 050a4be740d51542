"""Other Unix users of this machine: run functions in a new process as one of them.

Python and its packages may be in a folder that only their owner can read, such as ``/root``. So a process of root
imports everything first. For each call it forks, and the child switches to the other user before it does anything.
"""

from __future__ import annotations

import inspect
import json
import os
import pkgutil
import pwd
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 20
"""Time limit of a call."""

_LOADED = (
    *(
        "_strptime",
        "aiohttp",
        "cryptography.x509",
        "encodings.idna",
        "filelock",
        "jupyter_core.paths",
        "requests",
        "tqdm.auto",
    ),
    *("rucio_lab.api.attach", "rucio_lab.api.progress", "rucio_lab.server.hub"),
)


@dataclass(frozen=True)
class User:
    """A user id without an account. Call it with a function and arguments to run the function as this user.

    The function is sent as source code, so it imports what it needs, and its arguments and result must be JSON.
    """

    users: Users
    uid: int
    home: Path
    groups: tuple[int, ...] = ()
    umask: int = 0o022

    def __call__(self, function: Callable[..., Any], *arguments: Any, umask: int | None = None, **env: str) -> Any:
        return self.users.call(
            {
                "code": textwrap.dedent(inspect.getsource(function)),
                "name": function.__name__,
                "arguments": json.loads(json.dumps(arguments, default=str)),
                "uid": self.uid,
                "groups": self.groups,
                "umask": self.umask if umask is None else umask,
                "seconds": SECONDS,
                "folder": str(self.home),
                "env": {
                    "HOME": str(self.home),
                    "JUPYTER_DATA_DIR": str(self.home / "data"),
                    "JUPYTER_CONFIG_DIR": str(self.home / "config"),
                    "JUPYTER_NO_CONFIG": "1",
                    "PATH": os.environ["PATH"],
                    **env,
                },
            }
        )


class Users:
    """Creates users and runs their processes.

    Attributes
    ----------
    folder
        A folder that all users can enter.
    group
        Number of a group.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rucio-lab-users-"))
        self.folder.chmod(0o755)
        known = {entry.pw_uid for entry in pwd.getpwall()}
        first = 20_000 + 100 * (os.getpid() % 400)  # the tests may run several times at once
        self._spare = iter(uid for uid in range(first, 65_000) if uid not in known)
        self.group = next(self._spare)
        names = [each.name for each in pkgutil.walk_packages([str(_CORE)], "rucio_lab.core.")]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PARENT, *_LOADED, *(name for name in names if "presets" not in name)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def add(self, *groups: int, umask: int = 0o022) -> User:
        """Create a user with a group of the same number and an empty home folder (0700)."""
        uid = next(self._spare)
        home = self.folder / str(uid)
        home.mkdir(mode=0o700)
        os.chown(home, uid, uid)
        return User(self, uid, home, groups, umask)

    def call(self, task: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(task), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        assert not answer["error"], answer["error"]
        return answer["result"]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        shutil.rmtree(self.folder)


_CORE = Path(__file__).parents[2] / "rucio_lab" / "core"

_PARENT = """
import importlib, json, os, signal, sys, traceback

def run(task, out):
    os.dup2(2, 1)
    signal.alarm(task["seconds"])
    os.environ.clear()
    os.environ.update(task["env"])
    os.umask(task["umask"])
    os.setgroups(task["groups"])
    os.setresgid(*[task["uid"]] * 3)
    os.setresuid(*[task["uid"]] * 3)
    os.chdir(task["folder"])
    try:
        space = {"__name__": "elsewhere"}
        exec("from __future__ import annotations\\n" + task["code"], space)
        answer = {"result": space[task["name"]](*task["arguments"]), "error": ""}
    except BaseException:
        answer = {"result": None, "error": traceback.format_exc()}
    os.write(out, json.dumps(answer).encode())

for name in sys.argv[1:]:
    importlib.import_module(name)
for line in sys.stdin:
    source, target = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            run(json.loads(line), target)
        finally:
            os._exit(0)
    os.close(target)
    with os.fdopen(source) as answers:
        said = answers.read()
    status = os.waitpid(pid, 0)[1]
    print(said or json.dumps({"result": None, "error": f"the child ended with status {status}"}), flush=True)
"""


@contextmanager
def removed(paths: Sequence[Path]) -> Iterator[None]:
    """Remove the files at some paths, before and after."""

    def remove() -> None:
        for path in paths:
            with suppress(FileNotFoundError):
                path.unlink()

    remove()
    try:
        yield
    finally:
        remove()


def plant(kind: str, path: str, text: str) -> None:
    """Put something where another user looks for a file; run it as a user."""
    import os
    from pathlib import Path

    if kind == "pipe":
        os.mkfifo(path)
        Path(path).chmod(0o666)
    elif kind == "huge":
        Path(path).touch()
        os.truncate(path, 1 << 40)
    elif kind == "link":
        Path("bait").write_text(text)
        Path.cwd().chmod(0o755)
        Path(path).symlink_to(Path("bait").absolute())
    else:
        Path(path).write_text(text)
        Path(path).chmod({"file": 0o644, "writable": 0o666}[kind])
