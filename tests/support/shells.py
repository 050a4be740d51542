"""Real shells and kernels, kept away from the home of whoever runs the tests."""

from __future__ import annotations

import builtins
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel
from traitlets.config import Config

STARTUP = Path(__file__).parents[2] / "ipython-startup" / "50-rucio-lab.py"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home: no profile, no sign-in. The configuration (RUCIO_LAB_CONFIG) stays what it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def startup(home: Path) -> Path:
    """Our start-up file, in a profile, where IPython runs it just as in the environment's etc/ipython/startup."""
    folder = home / "ipython" / "profile_default" / "startup"
    folder.mkdir(parents=True)
    target = folder / STARTUP.name
    target.write_text(STARTUP.read_text())
    return target


@pytest.fixture
def unconfigured(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Rucio configuration anywhere."""
    for name in ("RUCIO_LAB_CONFIG", "RUCIO_CONFIG", "RUCIO_HOME", "VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)


class SilentServer:
    """A server that takes what it is sent and never answers."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.asked = threading.Event()
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            connection.recv(1)
            self.asked.set()

    def close(self) -> None:
        self._socket.close()
        for connection in self._connections:
            connection.close()


@pytest.fixture
def silent(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentServer]:
    """An instance that is signed in to, and does not answer."""
    server = SilentServer()
    (home / "token").write_text("a-token")
    config = home / "silent.toml"
    config.write_text(
        f'[instances.silent]\nurl = "http://127.0.0.1:{server.port}"\nauth = "token"\ntoken_file = "{home / "token"}"\n'
    )
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(config))
    yield server
    server.close()


class Cell:
    """What came of a cell: its error, and all that the user saw."""

    def __init__(self, error: BaseException | None, text: str, value: Any = None) -> None:
        self.error = error
        self.text = text
        self.value = value


@pytest.fixture
def shell(home: Path) -> Iterator[InteractiveShell]:
    """A real interactive shell with the extension loaded."""
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    shell.run_line_magic("load_ext", "rucio_lab")
    yield shell
    vars(builtins).pop("__IPYTHON__", None)  # astropy, imported later, would look for a shell that is gone


@pytest.fixture
def run(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Cell]:
    """Run a cell in the shell."""

    def run_cell(code: str) -> Cell:
        capsys.readouterr()
        result = shell.run_cell(code)
        shown = capsys.readouterr()
        return Cell(result.error_in_exec or result.error_before_exec, shown.out + shown.err, result.result)

    return run_cell


class Kernel:
    """A kernel of its own process, and its client."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client

    def run(self, code: str) -> tuple[dict[str, Any], str]:
        """Run a cell; give the reply, and what it printed."""
        printed = []

        def listen(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])
            elif message["msg_type"] == "error":
                printed.append("\n".join(message["content"]["traceback"]))

        # A kernel drops for a moment what comes after an error; the next call of this is not meant to be dropped.
        reply = self.client.execute_interactive(
            code, output_hook=listen, timeout=60, allow_stdin=False, stop_on_error=False
        )
        return reply["content"], "".join(printed)

    def complete(self, code: str) -> list[str]:
        """Press Tab at the end; give the texts that could stand there then."""
        content = self.client.complete(code, reply=True, timeout=20)["content"]
        assert content["cursor_end"] == len(code)
        return [code[: content["cursor_start"]] + match for match in content["matches"]]


@pytest.fixture
def start_kernel(home: Path) -> Iterator[Callable[[], Kernel]]:
    """Start kernels, which end with the test."""
    kernels: list[Kernel] = []

    def start() -> Kernel:
        kernels.append(Kernel(*start_new_kernel(kernel_name="python3")))
        return kernels[-1]

    yield start
    for kernel in kernels:
        kernel.client.stop_channels()
        kernel.manager.shutdown_kernel(now=True)


@pytest.fixture
def python(home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python with some arguments, as a program of its own without a terminal."""

    def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False, env=os.environ
        )

    return run_python
