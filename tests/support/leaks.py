"""Search everything that the tests leave behind for the secrets they used.

Fixtures add their secrets to `SECRETS`; issued tokens are found where they are stored. After all tests, `Watch`
searches every file that is left (also compressed files and pickles), everything that was printed and logged, and the
arguments of every process that the run started. The run fails if it finds a secret.

`KEPT` lists the files that may contain secrets; it checks that only the owner can read them.
"""

from __future__ import annotations

import base64
import bz2
import getpass
import gzip
import io
import json
import lzma
import os
import pickletools
import re
import sqlite3
import stat
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

_WORD = re.compile(rb"[A-Za-z0-9_\-]{32,}")
_TAIL = 32
_TICK = 0.2  # seconds between two looks at the processes

KEPT = {
    "the token store": r"/rucio-lab/tokens/[0-9a-f]+(\.\w+)?$",
    "the token of a demo's student": r"/client/token$",
    "token files that a test writes": r"/test_[^/]*token[^/]*/[^/]+$|/test_[^/]+/[\w-]*token[^/]*$"
    r"|/runs/lake-\w+/ended-token$",
    "tokens of a hub's user": r"/hub\d*/users/\w+/token$|/rucio-lab/hub/",
    "the hub's database": r"/hub\d*/(hub\.sqlite|cookie_secret)$",
    "client configuration of a test": r"/rucio[^/]*\.cfg$",
    "the job that makes the accounts": r"/(job\.json|(seed|bulk)/token)$",
    "Jupyter's own runtime files": r"/(jpserver-\d+(-open)?\.(json|html)|kernel-[^/]+\.json|jupyter_cookie_secret)$",
}
"""What it is -> pattern of the path. Only the owner may be able to read the file, or enter its folder."""

SERVERS = r"(server|store|postgresql|pki|sources)(/|$)"
"""Files of a lake's servers: databases, keys, the files of the storages."""


class Secrets:
    """All secrets of a run, each with a name for reports."""

    def __init__(self) -> None:
        self._plain: dict[bytes, str] = {}
        self._tails: dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(self._plain) + len(self._tails)

    def add(self, secret: str, name: str) -> str:
        """Add a secret and return it.

        Those that end in a long word (tokens, of which there are thousands) are found by the end of that word.
        """
        words = _WORD.findall(secret.encode())
        if words and secret.encode().endswith(words[-1]):
            self._tails[words[-1][-_TAIL:]] = name
        elif len(secret) >= 6:
            for form in _forms(secret):
                self._plain[form] = name
        return secret

    def found_in(self, content: bytes) -> set[str]:
        """Return the names of the secrets in some content."""
        plain = {name for secret, name in self._plain.items() if secret in content}
        tails = {word[-_TAIL:] for word in _WORD.findall(content)} & self._tails.keys()
        return plain | {self._tails[tail] for tail in tails}

    def add_issued_by(self, database: Path) -> None:
        """Add the tokens that a Rucio server on SQLite has issued or accepted."""
        if database.is_file():
            with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
                for row in connection.execute("SELECT token, refresh_token FROM tokens"):
                    for token in filter(None, row):
                        self.add(token, "a token of Rucio's")


def _forms(secret: str) -> set[bytes]:
    """Return the forms in which a secret may appear: plain, in a URL, and inside Base64."""
    inside = {base64.b64encode(b" " * shift + secret.encode())[4 if shift else 0 :][:-4] for shift in range(3)}
    return {secret.encode(), quote(secret, safe="").encode(), *(form for form in inside if len(form) >= 8)}


SECRETS = Secrets()


# ------------------------------------------------------------------------------------------------ files


def contents(name: str, content: bytes) -> Iterator[bytes]:
    """Yield the content of a file, and of everything packed in it."""
    yield content
    with suppress(OSError, EOFError, ValueError, lzma.LZMAError, zipfile.BadZipFile, RuntimeError):
        if content.startswith(b"\x1f\x8b"):
            yield from contents(name, gzip.decompress(content))
        elif content.startswith(b"BZh"):
            yield from contents(name, bz2.decompress(content))
        elif content.startswith(b"\xfd7zXZ"):
            yield from contents(name, lzma.decompress(content))
        elif content.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(content)) as packed:
                for member in packed.namelist():
                    yield from contents(member, packed.read(member))
        elif content.startswith(b"\x80") or name.endswith((".pickle", ".pkl")):
            words = (argument for _, argument, _ in pickletools.genops(content) if isinstance(argument, str | bytes))
            for word in words:
                yield from contents("", word.encode() if isinstance(word, str) else word)


def look_into(folder: Path, secrets: Secrets, skip: str = "$^", *, since: float = 0) -> Iterator[str]:
    """Report the files in a folder that contain secrets, and files of `KEPT` that others can read.

    Parameters
    ----------
    folder
        The folder to search.
    secrets
        The secrets to look for.
    skip
        Pattern for the start of paths in the folder to skip.
    since
        Search only files changed after this time, in seconds since the epoch.
    """
    for path in sorted(folder.rglob("*")):
        if re.match(skip, str(path.relative_to(folder))) or path.is_symlink() or not path.is_file():
            continue
        try:
            content = path.read_bytes() if path.stat().st_mtime >= since else b""
        except OSError:
            continue  # it was removed, or is not readable
        names = {name for each in contents(path.name, content) for name in secrets.found_in(each)}
        kept = next((what for what, pattern in KEPT.items() if re.search(pattern, str(path))), None)
        if names and kept is None:
            yield f"{path} holds {', '.join(sorted(names))}"
        elif names and not _is_private(path):
            yield f"{path} ({kept}) can be read by others"


def _outside() -> list[Path]:
    """Return the user's folders that Jupyter, IPython and Rucio's clients write to by default."""
    home, temporary = Path.home(), Path(tempfile.gettempdir())
    return [home / ".ipython", home / ".jupyter", home / ".local" / "share" / "jupyter", temporary / getpass.getuser()]


def _is_private(path: Path) -> bool:
    """Return whether only its owner can read a file, by its own mode or by that of its folder."""
    return any(not stat.S_IMODE(each.stat().st_mode) & 0o077 for each in (path, path.parent))


# ------------------------------------------------------------------------------------------------ processes


class Processes:
    """The arguments of all child processes: those started here, and descendants that were seen running."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._known: set[tuple[str, str]] = set()
        self._end = threading.Event()
        sys.addaudithook(self._heard)
        threading.Thread(target=self._run, name="watch of processes", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._end.set()

    def _heard(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "subprocess.Popen" and not self._end.is_set():
            command = arguments[1]
            words = command if isinstance(command, list | tuple) else [command]
            self.seen.add(
                b"\0".join(os.fsencode(word) for word in words if isinstance(word, str | bytes | os.PathLike))
            )

    def _run(self) -> None:
        while not self._end.wait(_TICK):
            self._look()

    def _look(self) -> None:
        parents: dict[str, str] = {}
        started: dict[str, str] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError, IndexError):
                fields = path.read_text().rpartition(")")[2].split()
                parents[path.parent.name], started[path.parent.name] = fields[1], fields[19]
        for pid in parents:
            above = pid
            while above in parents and above != str(os.getpid()):
                above = parents[above]
            if above == str(os.getpid()) and (pid, started[pid]) not in self._known:
                with suppress(OSError):
                    self.seen.add(Path(f"/proc/{pid}/cmdline").read_bytes())
                    self._known.add((pid, started[pid]))


# ------------------------------------------------------------------------------------------------ the run


class Watch:
    """A pytest plugin that searches for the secrets of a run at its end, and makes it fail if it finds one.

    Parameters
    ----------
    secrets
        The secrets to look for.
    """

    def __init__(self, secrets: Secrets = SECRETS) -> None:
        self._secrets = secrets
        self._processes = Processes()
        self._said: list[bytes] = []
        self._start = time.time()
        self._searched_for = 0
        self.leaks: list[str] = []

    def look_into_lake(self, folder: Path) -> None:
        """Search the files of a lake before they are removed, except those of its servers."""
        self._secrets.add_issued_by(folder / "server" / "rucio.db")
        self.leaks += look_into(folder, self._secrets, SERVERS)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a test printed and logged, and its failure."""
        parts = [report.longreprtext, *(content for _, content in report.sections)]
        self._said.append("\n".join([report.nodeid, *filter(None, parts)]).encode(errors="replace"))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Search everywhere."""
        self._processes.stop()
        base = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        for path in base.glob("**/rucio-lab/tokens/*"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                self._secrets.add(json.loads(path.read_text())["token"], "a token of a sign-in")
        for path in base.glob("hub*/users/*/token"):
            self._secrets.add(path.read_text(), "a token of a hub's user")
        self.leaks += look_into(base, self._secrets)
        for folder in _outside():
            self.leaks += look_into(folder, self._secrets, since=self._start)
        for said in self._said:
            test = said.partition(b"\n")[0].decode()
            self.leaks += (f"the output of {test} holds {name}" for name in self._secrets.found_in(said))
        for command in self._processes.seen:
            program = command.partition(b"\0")[0].decode(errors="replace")
            self.leaks += (f"an argument of {program} is {name}" for name in self._secrets.found_in(command))
        if hasattr(session.config, "workeroutput"):  # a worker tells the process that started it
            session.config.workeroutput["leaks"] = (self.leaks, len(self._secrets))
        elif self.leaks:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker found, when its tests are done."""
        leaks, searched_for = getattr(node, "workeroutput", {}).get("leaks", ([], 0))
        self.leaks += leaks
        self._searched_for += searched_for

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what was found."""
        if self.leaks:
            terminalreporter.section("secrets that leaked", red=True)
        for leak in sorted(set(self.leaks)):
            terminalreporter.line(leak)
        terminalreporter.line(
            f"{len(self._secrets) + self._searched_for} secrets were looked for; {len(set(self.leaks))} leaked."
        )
