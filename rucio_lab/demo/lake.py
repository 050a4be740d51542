"""Start a whole lake on free ports in a temporary folder, and remove all of it at the end."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from rucio_lab.demo import samples, survey
from rucio_lab.demo.content import MIRROR, RSE, SITE, STUDENT, Catalogue, demo_catalogue, survey_catalogue
from rucio_lab.demo.environment import ServerEnvironment, demo_home, remove_folder, waiting_lock
from rucio_lab.demo.file_server import Traffic, folder_of, read_traffic
from rucio_lab.demo.opendata import open_data_catalogue
from rucio_lab.demo.processes import Child, Children, closed_environment, free_port
from rucio_lab.demo.progress import Progress
from rucio_lab.demo.seed import SeedJob, start_seed
from rucio_lab.demo.server import RucioServer, RucioServerSettings, write_private

_STEP_SECONDS = 120


@contextmanager
def run_folder(home: Path, progress: Progress) -> Iterator[Path]:
    """Create a folder for one lake and remove it at the end; also remove folders of demos that were killed.

    A lock file beside each folder shows whether its demo is still running.

    Parameters
    ----------
    home
        See :func:`~rucio_lab.demo.environment.demo_home`.
    progress
        Reports what this waits for.
    """
    runs = home / "runs"
    with ExitStack() as stack:
        with waiting_lock(home / "runs.lock", progress, "Waiting for another demo to start..."):
            runs.mkdir(exist_ok=True)
            _remove_dead(runs)
            folder = Path(tempfile.mkdtemp(prefix="lake-", dir=runs))
            lock = FileLock(_lock_of(folder))
            lock.acquire(timeout=0)
            stack.callback(lock.release)
            stack.callback(_lock_of(folder).unlink, missing_ok=True)
            stack.callback(remove_folder, folder)
        yield folder


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _remove_dead(runs: Path) -> None:
    for folder in [path for path in runs.iterdir() if path.is_dir()]:
        try:
            with FileLock(_lock_of(folder), timeout=0):
                remove_folder(folder)
                _lock_of(folder).unlink(missing_ok=True)
        except Timeout:
            continue  # its demo is running


def ensure_ntuples(home: Path, children: Children, progress: Progress) -> Path:
    """Write the synthetic files if they do not exist yet, and return their folder.

    Parameters
    ----------
    home
        See :func:`~rucio_lab.demo.environment.demo_home`.
    children
        Runs the processes that write them.
    progress
        Reports how far it is.

    Raises
    ------
    RucioLabError
        If they cannot be written.
    """
    makers = (Path(samples.__file__), Path(samples.__file__).with_name("ntuples.py"))
    version = hashlib.sha256(b"".join(path.read_bytes() for path in makers)).hexdigest()[:8]
    folder = home / f"ntuples-{version}"
    with waiting_lock(home / "ntuples.lock", progress, "Waiting for another demo to write the files..."):
        if folder.exists():
            return folder
        partial = folder.with_name(f"{folder.name}.partial")
        if partial.exists():
            remove_folder(partial)
        partial.mkdir()
        try:
            _write_ntuples(partial, children, progress)
            partial.rename(folder)
        except BaseException:
            remove_folder(partial)
            raise
    return folder


def _write_ntuples(folder: Path, children: Children, progress: Progress) -> None:
    parts = min(os.cpu_count() or 1, 4)
    total = sum(sample.files for sample in samples.SAMPLES)
    command: list[str | Path] = [sys.executable, "-m", "rucio_lab.demo.ntuples", folder, "--of", str(parts), "--part"]
    writers = [children.start(f"the file writer {part}", [*command, str(part)]) for part in range(parts)]

    def tick() -> None:
        progress.update(f"  writing synthetic events, file {len(list(folder.iterdir()))} of {total}")

    try:
        for writer in writers:
            writer.wait_end(seconds=_STEP_SECONDS, tick=tick)
    finally:
        for writer in writers:
            writer.stop()
        progress.done()


class Storage:
    """An HTTP storage of a lake.

    Parameters
    ----------
    folder
        Folder for its files and its log; it is created. The storage has the name of the folder.

    Attributes
    ----------
    root
        The folder it serves.
    port
        Its port on 127.0.0.1.
    log
        Its log, see :mod:`rucio_lab.demo.file_server`.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "files"
        self.port = free_port()
        self.log = folder / "requests.log"
        self.root.mkdir(parents=True)
        self.log.with_name("port").write_text(str(self.port))

    def start(self, children: Children) -> Child:
        """Start the server."""
        command = [sys.executable, "-m", "rucio_lab.demo.file_server", "--port", str(self.port)]
        return children.start(
            f"the storage {self.root.parent.name}", [*command, "--root", self.root, "--log", self.log]
        )

    def wait_ready(self, child: Child) -> None:
        """Wait until it answers.

        Raises
        ------
        RucioLabError
            If it dies or does not answer in time.
        """
        child.wait_ready(lambda: answers(f"http://127.0.0.1:{self.port}/"), seconds=_STEP_SECONDS)

    def traffic(self) -> Traffic:
        """Return what clients have read so far."""
        return read_traffic(self.log, self.root)

    def size(self) -> int:
        """Return the total size of its files in bytes."""
        return sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file())


def answers(url: str) -> bool:
    """Return whether an HTTP server on this machine answers, with any status.

    Parameters
    ----------
    url
        The address to request.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


class DemoLake:
    """A running lake, as a context manager: a Rucio server and two storages, with the demo's data in them.

    Parameters
    ----------
    home
        Where to keep files between demos; :func:`~rucio_lab.demo.environment.demo_home` by default.
    progress
        Reports how far it is.
    open_data
        Also register the public ATLAS files at their public addresses.

    Attributes
    ----------
    folder
        The folder of this lake; removed at the end.
    url
        Address of its Rucio server.
    storage, mirror
        Its storages. The first has all of the data, the second has a copy of some.
    children
        Runs its processes; anything started here stops before the lake does.
    env
        Environment for a client of this lake, such as a Jupyter server.
    """

    folder: Path
    url: str
    storage: Storage
    mirror: Storage
    children: Children
    env: dict[str, str]

    def __init__(self, home: Path | None = None, *, progress: Progress | None = None, open_data: bool = False) -> None:
        self._home = home or demo_home()
        self._progress = progress or Progress()
        self._open_data = open_data
        self._root_password = secrets.token_urlsafe()
        self._stack = ExitStack()

    def __enter__(self) -> DemoLake:
        with ExitStack() as stack:
            self._home.mkdir(parents=True, exist_ok=True)
            environment = ServerEnvironment(self._home)
            environment.ensure(self._progress)
            self.folder = stack.enter_context(run_folder(self._home, self._progress))
            self.children = stack.enter_context(Children(self.folder / "logs"))
            self._start(environment)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self, environment: ServerEnvironment) -> None:
        self._progress.update("  starting the Rucio server and the storages")
        settings = RucioServerSettings(self._root_password)
        server = RucioServer(self.folder / "server", environment.python, settings, self.children)
        self.url = server.url
        database = server.bootstrap()
        self.storage, self.mirror = (Storage(folder_of(self.folder, rse)) for rse in (RSE, MIRROR))
        storages = [(storage, storage.start(self.children)) for storage in (self.storage, self.mirror)]
        ntuple_folder = ensure_ntuples(self._home, self.children, self._progress)
        database.wait_end(seconds=_STEP_SECONDS)
        api = server.serve()
        places = {RSE: self.storage, MIRROR: self.mirror}
        catalogue = demo_catalogue(
            str(ntuple_folder), {rse: (str(place.root), place.port) for rse, place in places.items()}
        )
        if survey.can_be_written():
            survey.write(self.folder / "survey")
            catalogue += survey_catalogue(str(self.folder / "survey"))
        server.wait_ready(api)
        for place, child in storages:
            place.wait_ready(child)
        self._seed(catalogue + open_data_catalogue() if self._open_data else catalogue)
        self._write_client()

    def _seed(self, catalogue: Catalogue) -> None:
        job = SeedJob(self.url, self._root_password, catalogue)
        seed = start_seed(job, self.folder / "seed", self.children)
        seed.wait_end(seconds=_STEP_SECONDS, tick=lambda: self._progress.update("  registering the data in Rucio"))
        self._progress.done()

    def _write_client(self) -> None:
        folder = self.folder / "client"
        folder.mkdir(mode=0o700)
        section = {
            "rucio_host": self.url,
            "auth_host": self.url,
            "account": STUDENT,
            "auth_type": "userpass",
            "username": STUDENT,
            "password": STUDENT,
            "auth_token_file_path": str(folder / "token"),
        }
        write_private(folder / "rucio.cfg", {"client": section})
        toml = self.folder / "rucio_lab.toml"
        # a JSON string is also a TOML string
        path = json.dumps(str(folder / "rucio.cfg"), ensure_ascii=False)
        lines = ['default = "demo"', "", "[instances.demo]", f"rucio_cfg = {path}", f'site = "{SITE}"', ""]
        toml.write_text("\n".join(lines), encoding="utf-8")
        self.env = closed_environment({"RUCIO_LAB_CONFIG": str(toml)})
