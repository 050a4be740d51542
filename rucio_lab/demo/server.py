"""A real Rucio server on loopback: configuration, database and REST server."""

from __future__ import annotations

import os
import ssl
import urllib.request
from collections.abc import Mapping
from configparser import ConfigParser
from dataclasses import dataclass, field
from pathlib import Path

from rucio_lab.demo.processes import Child, Children, closed_environment, free_port

ROOT_USER = "ddmlab"
"""User name of the account root (userpass)."""

_INSIDE = Path(__file__).with_name("serverside")
_THREADS = 8
_START_SECONDS = 60

# without the logging sections, Rucio's build_database fails after it has created the tables
_ALEMBIC: dict[str, dict[str, str]] = {
    "loggers": {"keys": "root"},
    "handlers": {"keys": "console"},
    "formatters": {"keys": "generic"},
    "logger_root": {"level": "WARN", "handlers": "console"},
    "handler_console": {"class": "StreamHandler", "args": "(sys.stderr,)", "formatter": "generic"},
    "formatter_generic": {"format": "%(levelname)s %(name)s %(message)s"},
}


@dataclass(frozen=True)
class ServerTLS:
    """TLS settings of the server.

    Attributes
    ----------
    certificate, key
        PEM files of the server.
    ca
        PEM file with the CA that signs the server certificate and the client certificates for X.509 sign-in.
    """

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True)
class RucioServerSettings:
    """Settings of a Rucio server.

    Attributes
    ----------
    root_password
        Password of the account root; its user name is ``ddmlab``.
    database_url
        SQLAlchemy URL of an existing database; empty for an SQLite file in the server's folder.
    tls
        TLS settings; None for plain HTTP.
    port
        Port on 127.0.0.1; 0 for a free one.
    workers
        Number of gunicorn worker processes.
    sections
        Options for rucio.cfg that override the defaults: section -> option -> value.
    python_path
        Folders to import a policy package from, if ``sections`` names one.
    """

    root_password: str = field(repr=False)
    database_url: str = ""
    tls: ServerTLS | None = None
    port: int = 0
    workers: int = 1
    sections: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    python_path: tuple[Path, ...] = ()


class RucioServer:
    """A Rucio server. Call ``bootstrap`` and wait for it to end, then ``serve`` and ``wait_ready``.

    Parameters
    ----------
    folder
        Folder for its configuration and database; it is created.
    python
        Interpreter of a :class:`~rucio_lab.demo.environment.ServerEnvironment`.
    settings
        Its settings.
    children
        Runs its processes.

    Attributes
    ----------
    url
        Address of the REST interface and of sign-in.
    env
        Environment of its processes, which also runs Rucio's daemons.
    """

    def __init__(self, folder: Path, python: Path, settings: RucioServerSettings, children: Children) -> None:
        self._folder = folder
        self._python = python
        self._settings = settings
        self._children = children
        self._port = settings.port or free_port()
        self.url = f"{'https' if settings.tls else 'http'}://127.0.0.1:{self._port}"
        base = {k: v for k, v in closed_environment({}).items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "CONDA"))}
        paths = os.pathsep.join(map(str, (_INSIDE, *settings.python_path)))
        self.env = {**base, "RUCIO_HOME": str(folder), "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}
        self._write_configuration()

    def bootstrap(self) -> Child:
        """Start to create the tables and the root account in an empty database; the child ends when it is done."""
        return self._children.start("the Rucio database set-up", [self._python, _INSIDE / "bootstrap.py"], env=self.env)

    def serve(self) -> Child:
        """Start the REST server; the database must be set up."""
        command: list[str | Path] = [self._python, "-m", "gunicorn", "--config", _INSIDE / "gunicorn_conf.py"]
        command += ["--no-control-socket", "--bind", f"127.0.0.1:{self._port}", "--timeout", "600"]
        command += ["--workers", str(self._settings.workers), "--worker-class", "gthread", "--threads", str(_THREADS)]
        command += ["--graceful-timeout", "1", "--chdir", self._folder]
        if tls := self._settings.tls:
            command += ["--certfile", tls.certificate, "--keyfile", tls.key, "--ca-certs", tls.ca]
            command += ["--cert-reqs", str(int(ssl.CERT_OPTIONAL))]
        return self._children.start("the Rucio server", [*command, "rucio_wsgi:application"], env=self.env)

    def wait_ready(self, server: Child) -> None:
        """Wait until the REST server answers.

        Parameters
        ----------
        server
            The child from :meth:`serve`.

        Raises
        ------
        RucioLabError
            If it dies or does not answer in time.
        """
        server.wait_ready(self._answers, seconds=_START_SECONDS)

    def _answers(self) -> bool:
        tls = self._settings.tls
        context = ssl.create_default_context(cafile=tls.ca if tls else None)
        direct = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        try:
            with urllib.request.build_opener(*direct).open(f"{self.url}/ping", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _write_configuration(self) -> None:
        etc = self._folder / "etc"
        etc.mkdir(parents=True, exist_ok=True)
        database = self._settings.database_url or f"sqlite:///{self._folder / 'rucio.db'}"
        alembic = {"alembic": {"script_location": "rucio.db.sqla:migrate_repo", "sqlalchemy.url": database}, **_ALEMBIC}
        password = self._settings.root_password
        rucio: dict[str, dict[str, str]] = {
            "common": {"loglevel": "WARNING"},
            "database": {"default": database, "pool_size": "10", "max_overflow": "20"},
            # empty, so that Rucio does not add its well-known default identities
            "bootstrap": {
                "userpass_identity": ROOT_USER,
                "userpass_pwd": password,
                "userpass_email": "root@lake.invalid",
                **dict.fromkeys(("x509_identity", "gss_identity", "ssh_identity", "saml_identity"), ""),
            },
            "alembic": {"cfg": str(etc / "alembic.ini")},
            # an unused port, so that two lakes never share a memcached that happens to run on this machine
            "cache": {"url": "127.0.0.1:1"},
            "policy": {"permission": "generic", "schema": "generic"},
        }
        for section, options in self._settings.sections.items():
            rucio[section] = {**rucio.get(section, {}), **options}
        write_private(etc / "rucio.cfg", rucio)
        write_private(etc / "alembic.ini", alembic)


def write_private(path: Path, sections: Mapping[str, Mapping[str, str]]) -> None:
    """Write an INI file that only its owner can read.

    Parameters
    ----------
    path
        The file, in an existing folder.
    sections
        Section -> option -> value; values are literal.
    """
    parser = ConfigParser(interpolation=None)
    parser.read_dict({s: {k: v.replace("%", "%%") for k, v in options.items()} for s, options in sections.items()})
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        parser.write(stream)
