"""A real Rucio server on loopback: configuration, database and REST interface."""

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
"""Name with which the account root signs in (userpass)."""

_INSIDE = Path(__file__).with_name("serverside")
_THREADS = 8
_START_SECONDS = 60

# without the logging sections, Rucio's build_database fails after it has made the tables
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
    """How the server speaks TLS.

    Attributes
    ----------
    certificate, key
        The server's own, PEM files.
    ca
        PEM file with the authority that signs it, and the client certificates for X.509 sign-in.
    """

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True)
class RucioServerSettings:
    """What a Rucio server is to be.

    Attributes
    ----------
    root_password
        Password of the account root, whose user name is ``ddmlab``.
    database_url
        SQLAlchemy URL of an existing database; empty for an SQLite file in the server's folder.
    tls
        None for plain HTTP.
    port
        Where it listens on 127.0.0.1; 0 for a free one.
    workers
        Number of gunicorn's worker processes.
    sections
        More of rucio.cfg: section -> option -> value; wins over what is written by default.
    python_path
        Folders to import from: a schema or permission package named in ``sections``.
    """

    root_password: str = field(repr=False)
    database_url: str = ""
    tls: ServerTLS | None = None
    port: int = 0
    workers: int = 1
    sections: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    python_path: tuple[Path, ...] = ()


class RucioServer:
    """One Rucio server: ``bootstrap``, wait for its end, ``serve``, wait until it is ready.

    Parameters
    ----------
    folder
        Where its configuration and database live; it is made.
    python
        Interpreter of a :class:`~rucio_lab.demo.environment.ServerEnvironment`.
    settings
        What it is to be.
    children
        Runs its processes.

    Attributes
    ----------
    url
        Address of REST interface and sign-in.
    env
        Environment of its processes: what one of Rucio's daemons needs to run.
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
        """Start to make tables and root account in an empty database; the child ends when it is done."""
        return self._children.start("the Rucio database set-up", [self._python, _INSIDE / "bootstrap.py"], env=self.env)

    def serve(self) -> Child:
        """Start the REST server on a database which is set up."""
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
            What :meth:`serve` returned.

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
            # empty: no identity of that kind, where Rucio would put well-known ones
            "bootstrap": {
                "userpass_identity": ROOT_USER,
                "userpass_pwd": password,
                "userpass_email": "root@lake.invalid",
                **dict.fromkeys(("x509_identity", "gss_identity", "ssh_identity", "saml_identity"), ""),
            },
            "alembic": {"cfg": str(etc / "alembic.ini")},
            # nobody listens there: a memcached which happens to run on this machine must not mix two lakes
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
        The file; its folder exists.
    sections
        Section -> option -> value, taken literally.
    """
    parser = ConfigParser(interpolation=None)
    parser.read_dict({s: {k: v.replace("%", "%%") for k, v in options.items()} for s, options in sections.items()})
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        parser.write(stream)
