"""Fixtures with real IPython shells and kernels in a temporary home folder."""

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
    """An empty home folder, without a profile or a sign-in. RUCIO_LAB_CONFIG is unchanged."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def startup(home: Path) -> Path:
    """Our startup file in a profile, where IPython runs it as in the environment's etc/ipython/startup."""
    folder = home / "ipython" / "profile_default" / "startup"
    folder.mkdir(parents=True)
    target = folder / STARTUP.name
    target.write_text(STARTUP.read_text())
    return target


@pytest.fixture
def unconfigured(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Rucio configuration."""
    for name in ("RUCIO_LAB_CONFIG", "RUCIO_CONFIG", "RUCIO_HOME", "VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)


class SilentServer:
    """A server that accepts requests and never answers."""

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
    """The configuration of an instance that is signed in and never answers."""
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
    """The result of a cell: its error, all output, and its value."""

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
    vars(builtins).pop("__IPYTHON__", None)  # otherwise astropy, if imported later, would use this closed shell


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
    """A kernel process and its client."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client

    def run(self, code: str) -> tuple[dict[str, Any], str]:
        """Run a cell; return the reply and the printed output."""
        printed = []

        def listen(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])
            elif message["msg_type"] == "error":
                printed.append("\n".join(message["content"]["traceback"]))

        # After an error a kernel drops requests for a moment; without stop_on_error the next call is not dropped.
        reply = self.client.execute_interactive(
            code, output_hook=listen, timeout=60, allow_stdin=False, stop_on_error=False
        )
        return reply["content"], "".join(printed)

    def complete(self, code: str) -> list[str]:
        """Press Tab at the end; return the completed texts."""
        content = self.client.complete(code, reply=True, timeout=20)["content"]
        assert content["cursor_end"] == len(code)
        return [code[: content["cursor_start"]] + match for match in content["matches"]]


@pytest.fixture
def start_kernel(home: Path) -> Iterator[Callable[[], Kernel]]:
    """Start kernels that stop at the end of the test."""
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
    """Run Python with arguments, in a new process without a terminal."""

    def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False, env=os.environ
        )

    return run_python
