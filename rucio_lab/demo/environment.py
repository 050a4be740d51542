"""The virtual environment of the Rucio server.

The distributions ``rucio`` (the server) and ``rucio-clients`` both install a package named ``rucio``, so the server
has a separate environment in the user's data folder. It is installed once and shared by all demos.
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
"""The packages for a Rucio server on SQLite."""

_INSTALLED_SIZE = "about 250 MB"
_MARKER = ".complete"
_INSTALL_SECONDS = 1800
# variables that make pip install somewhere else, or hide the new environment from Python
_MISLEADING = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__")


def demo_home() -> Path:
    """Return the folder for everything the demo keeps: ``RUCIO_LAB_DEMO_HOME``, or one in Jupyter's data folder.

    The one in Jupyter's data folder is created, and only the user can read it.
    """
    if named := os.environ.get("RUCIO_LAB_DEMO_HOME"):
        return Path(named).expanduser().absolute()
    folder = lab_folder("demo")
    try:
        own_folder(folder)
    except OSError as error:
        raise ConfigurationError(
            f"The demo cannot use the folder {folder}: {error.strerror}.",
            "Set RUCIO_LAB_DEMO_HOME to a folder of your own.",
        ) from error
    return folder


@contextmanager
def waiting_lock(path: Path, progress: Progress, text: str) -> Iterator[None]:
    """Hold a lock between processes, with a message if another process holds it.

    Parameters
    ----------
    path
        The lock file; its folder is created.
    progress
        Prints the message.
    text
        The message, which says what this waits for.
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
    """Remove a folder, even while a dying process still writes to it."""
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
        Folder that contains it, see :func:`demo_home`.
    requirements
        What pip installs. Each list has an environment of its own.
    """

    def __init__(self, home: Path, requirements: Sequence[str] = REQUIREMENTS) -> None:
        self._requirements = tuple(requirements)
        # sys.base_prefix: an environment breaks when the interpreter it was made from is removed
        key = hashlib.sha256("\n".join((sys.base_prefix, *self._requirements)).encode()).hexdigest()[:8]
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        self.folder = home / f"server-rucio41-py{version}-{key}"

    @property
    def python(self) -> Path:
        """The Python interpreter of the environment."""
        return self.folder / "bin" / "python"

    def ensure(self, progress: Progress) -> None:
        """Create the environment if it does not exist yet.

        An incomplete one, from a demo that was killed, is removed first. If another process is creating it, this
        one waits.

        Parameters
        ----------
        progress
            Reports what is installed and how far it is.

        Raises
        ------
        RucioLabError
            If it cannot be created; includes the end of pip's output.
        """
        lock = self.folder.with_name(f"{self.folder.name}.lock")
        with waiting_lock(lock, progress, "Waiting for another demo to install the Rucio server..."):
            if self._complete():
                return
            if self.folder.exists():
                progress.say("Removing an incomplete installation of the Rucio server.")
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
            f"{self.folder}. This happens only once."
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
            self._watch(install, progress, "Check that pip can reach its package index, then start again.")
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
                f"The Rucio server could not be installed: {child.name} failed.", f"{remedy} Its last output:{end}"
            ) from error
        finally:
            progress.done()
