"""A real JupyterLab or Jupyter Notebook with the sidebar, in temporary folders."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from rucio_lab.demo.processes import free_port
from tests.support.leaks import SECRETS

ROOT = Path(__file__).parents[2]
BUILT = Path(sys.prefix) / "share" / "jupyter" / "labextensions" / "rucio-lab"
TOKEN = SECRETS.add(secrets.token_urlsafe(32), "the token of a JupyterLab")
START_SECONDS = 60

PYTHON = os.environ.get("RUCIO_LAB_TEST_PYTHON", sys.executable)
"""The Python whose JupyterLab and Notebook are tested; the kernels always run in this environment."""

_NO_NEWS = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}

# class name for command line options
_APPLICATIONS = {"jupyterlab": "LabApp", "notebook": "JupyterNotebookApp"}

_LAUNCH = "from ipykernel import kernelapp; kernelapp.launch_new_instance()"
_KERNELS = {
    "python3": ("Python 3", "python", _LAUNCH),
    "late": ("Late", "python", f"import time; time.sleep(3); {_LAUNCH}"),
    # for the import system, None means that the module does not exist
    "lacking": ("Lacking", "python", f"import sys; sys.modules['rucio_lab'] = None; {_LAUNCH}"),
    "foreign": ("Foreign", "R", _LAUNCH),
}


class JupyterLab:
    """A running JupyterLab, as a context manager.

    Parameters
    ----------
    folder
        Folder for all of its files.
    environment
        Environment variables to add.
    with_server
        Whether the server extension is enabled.
    application
        ``jupyterlab`` or ``notebook``.

    Attributes
    ----------
    notebooks
        Its root folder.
    data
        Its data folder.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        *,
        with_server: bool = True,
        application: str = "jupyterlab",
    ) -> None:
        self._folder = folder
        self._port = free_port()
        self._application = application
        self.data = folder / "data"
        self.notebooks = folder / "notebooks"
        # the sidebar and the kernels are of this environment, whatever Python serves the page
        ours = {"JUPYTER_PREFER_ENV_PATH": "0", "JUPYTER_TOKEN": TOKEN}
        self._environment = {**os.environ, **ours, **self._folders(), **environment}
        self._write(folder / "config" / "labconfig" / "page_config.json", _NO_NEWS)
        # a command line option, which overrides the installed configuration
        self._extensions = {"rucio_lab": with_server}
        for name, (title, language, code) in _KERNELS.items():
            argv = [sys.executable, "-c", code, "-f", "{connection_file}"]
            spec = {"argv": argv, "display_name": title, "language": language}
            self._write(folder / "data" / "kernels" / name / "kernel.json", spec)

    def __enter__(self) -> JupyterLab:
        if not (BUILT / "package.json").exists():
            pytest.fail("The sidebar is not installed: make develop")
        link = self._folder / "path" / "labextensions" / "rucio-lab"
        link.parent.mkdir(parents=True)
        link.symlink_to(BUILT)
        self.notebooks.mkdir()
        options = {
            "ServerApp.port": self._port,
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.notebooks,
            f"{_APPLICATIONS[self._application]}.expose_app_in_browser": True,
            "ServerApp.jpserver_extensions": self._extensions,
        }
        command = [PYTHON, "-m", self._application, "--no-browser", "--allow-root", "--ip=127.0.0.1"]
        command += [f"--{name}={value}" for name, value in options.items()]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        self._wait_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(START_SECONDS)

    def url(self, path: str = "lab") -> str:
        """Return the address of a page, with a token and a fresh workspace."""
        return f"http://127.0.0.1:{self._port}/{path}?token={TOKEN}&reset"

    def request(self, method: str, route: str, body: Any = None) -> Any:
        """Send a request to the server, as another browser tab could."""
        return json.loads(self._ask(method, route, body))

    def _ask(self, method: str, route: str, body: Any = None) -> bytes:
        url = f"http://127.0.0.1:{self._port}/{route}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Authorization": f"token {TOKEN}"}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=START_SECONDS) as response:
            content: bytes = response.read()
            return content

    def forget_downloads(self) -> None:
        """Cancel all downloads, clear their list and remove the files."""
        for _ in range(2):  # the first round cancels running ones
            for line in self._ask("GET", "rucio-lab/jobs").splitlines()[:-1]:
                self.request("DELETE", f"rucio-lab/job?id={json.loads(line)['row']['id']}")
        shutil.rmtree(self._folder / "home" / "rucio-downloads", ignore_errors=True)

    def _folders(self) -> dict[str, str]:
        names = {"HOME": "home", "IPYTHONDIR": "ipython", "JUPYTER_PATH": "path"}
        names |= {f"JUPYTER_{name}_DIR": name.lower() for name in ("CONFIG", "DATA", "RUNTIME")}
        names |= {f"JUPYTERLAB_{name}_DIR": name.lower() for name in ("SETTINGS", "WORKSPACES")}
        for name in names.values():
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        return {name: str(self._folder / folder) for name, folder in names.items()}

    def _wait_ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self.request("GET", "api/status")
            except OSError:
                if self._process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"JupyterLab did not start:\n{(self._folder / 'log').read_text()}")
                time.sleep(0.1)
            else:
                return

    @staticmethod
    def _write(path: Path, content: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
