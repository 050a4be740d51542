"""A PostgreSQL server for the test lake, for what Rucio cannot do on SQLite."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from rucio_lab.demo.processes import Children, closed_environment, free_port
from tests.lake.packages import where

_READY_SECONDS = 30
_SYSTEM_USER = "postgres"
_USER = _DATABASE = "rucio"


class PostgreSQL:
    """A PostgreSQL server with one database.

    Parameters
    ----------
    folder
        Folder for its files; it is created.

    Attributes
    ----------
    port
        Its port on 127.0.0.1.
    url
        SQLAlchemy URL of the database.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._programs = Path(where("initdb") or "initdb").resolve().parent
        self._password = secrets.token_hex()
        self.url = f"postgresql+psycopg://{_USER}:{self._password}@127.0.0.1:{self.port}/{_DATABASE}"
        folder.mkdir()
        password = folder / "password"
        password.touch(mode=0o600)
        password.write_text(self._password)
        self._as_user: list[str] = []
        if os.geteuid() == 0:  # it refuses to run as root
            self._as_user = ["setpriv", f"--reuid={_SYSTEM_USER}", f"--regid={_SYSTEM_USER}", "--clear-groups"]
            for path in (folder, password):
                shutil.chown(path, _SYSTEM_USER, _SYSTEM_USER)

    def start(self, children: Children) -> None:
        """Create the database and wait until it is ready."""
        env, data = closed_environment({}), self._folder / "data"
        make: list[str | Path] = [*self._as_user, self._programs / "initdb", "--pgdata", data, "--username", _USER]
        make += ["--pwfile", self._folder / "password", "--auth", "scram-sha-256"]
        make += ["--encoding", "UTF8", "--no-locale", "--no-sync"]
        children.start("the PostgreSQL set-up", make, env=env, cwd=self._folder).wait_end(seconds=_READY_SECONDS)
        serve: list[str | Path] = [*self._as_user, self._programs / "postgres", "-D", data, "-k", self._folder]
        serve += ["-h", "127.0.0.1", "-p", str(self.port), "-c", "fsync=off", "-c", "full_page_writes=off"]
        server = children.start("the PostgreSQL server", serve, env=env, cwd=self._folder)
        server.wait_ready(self._answers, seconds=_READY_SECONDS)
        self._psql("postgres", f"CREATE DATABASE {_DATABASE}")

    def execute(self, *statements: str) -> None:
        """Run SQL statements, each in its own transaction."""
        self._psql(_DATABASE, *statements)

    def _answers(self) -> bool:
        command: list[str | Path] = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def _psql(self, database: str, *statements: str) -> None:
        command: list[str | Path] = [self._programs / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]
        command += ["-p", str(self.port), "-U", _USER, "-d", database]
        for statement in statements:
            command += ["-c", statement]
        subprocess.run(command, check=True, env=closed_environment({"PGPASSWORD": self._password}))
