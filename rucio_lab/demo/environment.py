"""The private environment of the Rucio server.

The packages ``rucio`` (server) and ``rucio-clients`` both install a package named ``rucio``, so the server gets an
environment of its own in the user's data folder, made once and shared by all demos.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from rucio_lab.core.errors import ConfigurationError, RucioLabError
from rucio_lab.core.private import lab_folder, own_folder
from rucio_lab.demo.processes import Child, Children
from rucio_lab.demo.progress import Progress

REQUIREMENTS = ("rucio>=41.5,<42", "gunicorn>=27,<28")
"""What a Rucio server on SQLite needs."""

_INSTALLED_SIZE = "about 250 MB"
_MARKER = ".complete"
_INSTALL_SECONDS = 1800
# variables that send pip's packages elsewhere than into the new environment, or hide that environment from Python
_MISLEADING = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__")


def demo_home() -> Path:
    """Return the folder of everything that the demo keeps: ``RUCIO_LAB_DEMO_HOME``, or one in Jupyter's data folder.

    The latter is made, for the user alone.
    """
    if named := os.environ.get("RUCIO_LAB_DEMO_HOME"):
        return Path(named).expanduser().absolute()
    folder = lab_folder("demo")
    try:
        own_folder(folder)
    except OSError as error:
        raise ConfigurationError(
            f"The demo cannot be kept in {folder}: {error.strerror}.",
            "Let RUCIO_LAB_DEMO_HOME name a folder of your own.",
        ) from error
    return folder


@contextmanager
def waiting_lock(path: Path, progress: Progress, text: str) -> Iterator[None]:
    """Hold a lock between processes; says what it waits for when another one has it.

    Parameters
    ----------
    path
        The lock file; its folder is made.
    progress
        Where to say it.
    text
        What is being waited for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.say(text)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def remove_folder(folder: Path) -> None:
    """Remove a folder, also while a dying process still writes into it."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
    shutil.rmtree(folder)


class ServerEnvironment:
    """A virtual environment for the Rucio server.

    Parameters
    ----------
    home
        Folder that holds it, see :func:`demo_home`.
    requirements
        What pip installs; another list makes another environment.
    """

    def __init__(self, home: Path, requirements: Sequence[str] = REQUIREMENTS) -> None:
        self._requirements = tuple(requirements)
        # sys.base_prefix: an environment dies with the interpreter that it was made from
        key = hashlib.sha256("\n".join((sys.base_prefix, *self._requirements)).encode()).hexdigest()[:8]
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        self.folder = home / f"server-rucio41-py{version}-{key}"

    @property
    def python(self) -> Path:
        """The Python interpreter of the environment."""
        return self.folder / "bin" / "python"

    def ensure(self, progress: Progress) -> None:
        """Make the environment, unless it is there already.

        A half-made one, of a demo that was killed, is thrown away; while another process makes it, this one waits.

        Parameters
        ----------
        progress
            Where to say what is installed and how it goes on.

        Raises
        ------
        RucioLabError
            If it cannot be made; with the end of pip's output.
        """
        lock = self.folder.with_name(f"{self.folder.name}.lock")
        with waiting_lock(lock, progress, "Waiting for another demo that installs the Rucio server..."):
            if self._complete():
                return
            if self.folder.exists():
                progress.say("Removing a half-made installation of the Rucio server.")
                remove_folder(self.folder)
            try:
                self._make(progress)
            except BaseException:
                remove_folder(self.folder)
                raise

    def _complete(self) -> bool:
        return (self.folder / _MARKER).exists() and os.access(self.python, os.X_OK)

    def _make(self, progress: Progress) -> None:
        progress.say(
            f"First start: installing the Rucio server ({', '.join(self._requirements)}; {_INSTALLED_SIZE}) into "
            f"{self.folder}. This is done once."
        )
        begin = time.monotonic()
        env = {name: value for name, value in os.environ.items() if name not in _MISLEADING}
        pip: list[str | Path] = [
            self.python,
            "-m",
            "pip",
            "install",
            "--no-input",
            "--progress-bar",
            "off",
            "--disable-pip-version-check",
        ]
        with Children(self.folder.with_name(f"{self.folder.name}.log")) as children:
            venv = children.start("venv", [sys.executable, "-m", "venv", self.folder], env=env)
            self._watch(venv, progress, "Install a Python with its venv module (on Debian: python3-venv).")
            install = children.start("pip", [*pip, *self._requirements], env=env)
            self._watch(install, progress, "Look whether pip reaches its package index from here, then start again.")
        (self.folder / _MARKER).write_text("\n".join(self._requirements))
        progress.say(f"The Rucio server is installed ({time.monotonic() - begin:.0f} s).")

    def _watch(self, child: Child, progress: Progress, remedy: str) -> None:
        begin = time.monotonic()

        def tick() -> None:
            now = [
                line for line in child.output().splitlines() if line.startswith(("Collecting", "Downloading", "Inst"))
            ]
            step = now[-1].split(":")[0][:60] if now else f"Running {child.name}"
            progress.update(f"  {time.monotonic() - begin:4.0f} s  {step}")

        try:
            child.wait_end(seconds=_INSTALL_SECONDS, tick=tick)
        except RucioLabError as error:
            lines = [line for line in child.output().splitlines() if line.strip() and "WARNING" not in line][-6:]
            end = "".join(f"\n    {line}" for line in lines)
            raise RucioLabError(
                f"The Rucio server could not be installed: {child.name} failed.", f"{remedy} It said last:{end}"
            ) from error
        finally:
            progress.done()
