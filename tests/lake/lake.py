"""The test lake: Rucio over TLS, real storages of every kind, and data with every kind of problem."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import requests

from rucio_lab.demo.content import SCOPE, Catalogue
from rucio_lab.demo.environment import REQUIREMENTS, ServerEnvironment, demo_home
from rucio_lab.demo.lake import run_folder
from rucio_lab.demo.processes import Child, Children, closed_environment, free_port
from rucio_lab.demo.progress import Progress
from rucio_lab.demo.samples import file_names
from rucio_lab.demo.seed import SeedJob, start_seed
from rucio_lab.demo.server import ROOT_USER, RucioServer, RucioServerSettings, ServerTLS, write_private
from tests.lake import content, files, many
from tests.lake.faults import TcpProxy
from tests.lake.issuer import Issuer
from tests.lake.packages import on_postgresql, require_packages
from tests.lake.pki import Authority, User
from tests.lake.postgresql import PostgreSQL
from tests.lake.provider import Provider
from tests.lake.storages import Nginx, Storage, XRootD

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
_STEP_SECONDS = 180
_TIMEOUT = 60
_FIRST_OF_BULK = f"{content.BULK}._000000.root"
_SIZE = 300_000_000  # bytes that a lake may take, with its bulk data and what tests add


class FullLake:
    """A running lake, as a context manager; all of it is on 127.0.0.1 and in one folder.

    Parameters
    ----------
    authority
        Its certificate authority; a new one by default.
    cache
        ``host:port`` of a memcached for Rucio. Without one, Rucio queries its database for each PFN, so listing
        replicas takes ten times as long as in production. That matters only for benchmarks.

    Attributes
    ----------
    folder
        The folder of this lake; removed at the end.
    url
        Address of its Rucio server (https).
    authority
        Signs all certificates; ``authority.ca`` is the CA, ``authority.bundle`` also has the system's CAs, and
        ``authority.proxy(user)`` creates a proxy certificate.
    users
        Certificates by name: root, alice, bob, and mallory, who is unknown to Rucio.
    storages
        By name: ``root``, ``http``, ``http-norange``, ``https`` (open to anyone), ``https-cert`` (403 without a client
        certificate), ``https-door`` (401 without a token; redirects to ``https`` under another host name), ``roots``
        (roots and https, with a token), ``gsi`` (root and https, with a VOMS proxy). Each has ``url``, ``port`` and
        ``sent()``, the bytes of file content that were read from it.
    issuer
        Issues the tokens for the storages.
    faulty
        Proxies that tests can make fail. ``root``, ``http`` and ``https`` are in front of these storages, as the RSEs
        FAULTY-ROOT, FAULTY-HTTP and FAULTY-HTTPS; ``rucio`` is in front of Rucio, ``oidc`` of the identity provider.
    store
        The folder the storages serve, with a subfolder for each RSE.
    children
        Runs its processes.
    provider
        The identity provider, where anybody can sign in as alice; it starts on first use.
    postgresql
        Rucio's database if RUCIO_LAB_TEST_DATABASE is postgresql; None for SQLite.
    """

    folder: Path
    url: str
    authority: Authority
    users: dict[str, User]
    storages: dict[str, Storage]
    issuer: Issuer
    faulty: dict[str, TcpProxy]
    store: Path
    children: Children
    postgresql: PostgreSQL | None = None

    def __init__(self, authority: Authority | None = None, *, cache: str = "") -> None:
        self._authority = authority
        self._cache = cache
        self._stack = ExitStack()
        self._running: dict[str, Child] = {}
        self._numbers = itertools.count(1)
        self._tokens: dict[str, str] = {}

    def __enter__(self) -> FullLake:
        require_packages()
        environment = ServerEnvironment(demo_home(), _requirements())
        environment.ensure(Progress())
        with ExitStack() as stack:
            stack.callback(os.umask, os.umask(0o022))  # if the tests run as root, XRootD runs as another user
            home = _home()
            self.folder = stack.enter_context(run_folder(home, Progress()))
            for folder in (home, self.folder.parent, self.folder):
                folder.chmod(0o755)  # it may exist with another mode
            self.children = stack.enter_context(Children(self.folder / "logs"))
            self._start(environment, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # ------------------------------------------------------------------------------------ for clients

    def rucio_cfg(self, account: str = "alice", auth: str = "userpass", **more: str) -> Path:
        """Write a client's rucio.cfg to the folder ``etc`` of a new RUCIO_HOME.

        Parameters
        ----------
        account
            root, alice or bob, with the user's credentials.
        auth
            ``userpass``, ``x509`` or ``x509_proxy``; any other adds no credentials.
        more
            Options of the section client; an empty string omits an option.
        """
        section = {"rucio_host": self.url, "auth_host": self.url, "ca_cert": str(self.authority.ca)}
        section |= {"account": account, "auth_type": auth, **self._credentials(account, auth), **more}
        path = self._client_folder() / "etc" / "rucio.cfg"
        path.parent.mkdir()
        write_private(path, {"client": {key: value for key, value in section.items() if value}})
        return path

    def config(self, default: str | None = "test", /, **instances: Mapping[str, Any]) -> Path:
        """Write a ``rucio_lab.toml``.

        Parameters
        ----------
        default
            Name of the default instance.
        instances
            Name -> settings; everything else comes from a rucio.cfg of alice with her password. By default there is
            one instance, ``test``.
        """
        lines = [f"default = {_toml(default)}"] if default else []
        for name, settings in (instances or {"test": {}}).items():
            known = {"rucio_cfg": str(self.rucio_cfg()), **settings}
            lines += ["", f"[instances.{_toml(name)}]", *(f"{key} = {_toml(value)}" for key, value in known.items())]
        path = self._client_folder() / "rucio_lab.toml"
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")
        return path

    def mount(self, rse: str) -> dict[str, str]:
        """Return the settings (``mounts.RSE``) for an RSE that is mounted as a folder: the one its storage serves."""
        folder = self.store / _FOLDERS[rse]
        return {"prefix": f"{folder}/" if rse.startswith("NOTEBOOK") else f"/{folder.name}/", "folder": str(folder)}

    def path(self, rse: str, scope: str, name: str) -> Path:
        """Return the path of a replica on disk."""
        return self.store / _FOLDERS[rse] / content.path_of(scope, name)

    # ------------------------------------------------------------------------------------ Rucio without its client

    def token(self, account: str = "alice") -> str:
        """Sign in with a password and return a new Rucio token."""
        known = self._credentials(account, "userpass")
        headers = {"X-Rucio-Account": account, "X-Rucio-Username": known["username"]}
        headers["X-Rucio-Password"] = known["password"]
        response = self.request("GET", "/auth/userpass", headers=headers)
        response.raise_for_status()
        return response.headers["X-Rucio-Auth-Token"]

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request to Rucio, with options of requests such as ``headers``, ``json`` or ``cert``."""
        settings = {"verify": str(self.authority.ca), "timeout": _TIMEOUT, **options}
        return requests.request(method, f"{self.url}{path}", **settings)

    def rest(self, method: str, path: str, *, account: str = "root", **options: Any) -> requests.Response:
        """Send a request to Rucio as an account, and check its status; :func:`quoted` builds the path."""
        if account not in self._tokens:
            self._tokens[account] = self.token(account)
        response = self.request(method, path, headers={"X-Rucio-Auth-Token": self._tokens[account]}, **options)
        response.raise_for_status()
        return response

    # ------------------------------------------------------------------------------------ storages

    def stop_storage(self, name: str) -> None:
        """Stop a storage; its port is closed."""
        self._running.pop(name).stop()

    def start_storage(self, name: str) -> None:
        """Restart a stopped storage on the same port."""
        storage = self.storages[name]
        child = self._running[name] = storage.start(self.children)
        storage.wait_ready(child)

    def mend(self) -> None:
        """Repair what a test broke: start all storages and make all proxies forward."""
        for name in self.storages.keys() - self._running.keys():
            self.start_storage(name)
        for proxy in self.faulty.values():
            proxy.forward()

    def add_bulk(self) -> str:
        """Register ``bulk.10000`` and return its name."""
        files = [{"scope": SCOPE, "name": _FIRST_OF_BULK, "bytes": 1_000_000, "adler32": "00000000"}]
        self.rest("POST", "/replicas", json={"rse": "BULK-MOCK", "files": files})
        dataset = {"scope": SCOPE, "name": content.BULK, "type": "DATASET", "dids": files}
        self.rest("POST", "/dids", json=[dataset])
        self.execute(*many.statements(content.BULK, range(1, 10_000), ("BULK-MOCK",), _FIRST_OF_BULK))
        self.rest("PUT", f"{quoted('dids', SCOPE, content.BULK)}/status", json={"open": False})
        return content.BULK

    def add_unseen(self) -> str:
        """Register ``hostile:unseen`` with its files and return its DID."""
        files = [{"scope": content.HOSTILE, "name": name} for name in content.UNSEEN_NAMES]
        replicas = [{**file, "bytes": 1, "adler32": "00620062"} for file in files]
        for rse, its in (("CERN-TAPE", replicas[:1]), ("CERN-EOS", replicas[1:])):
            self.rest("POST", "/replicas", json={"rse": rse, "files": its})
        dataset = {"scope": content.HOSTILE, "name": content.UNSEEN, "type": "DATASET", "dids": files}
        self.rest("POST", "/dids", json=[dataset])
        return f"{content.HOSTILE}:{content.UNSEEN}"

    def register(self, catalogue: Catalogue, name: str) -> None:
        """Register more data on existing RSEs.

        Parameters
        ----------
        catalogue
            What to register; files with a source are copied to their storages.
        name
            Name of a scratch folder.
        """
        for dataset in catalogue.datasets:
            for file in dataset.files:
                for target in [self.path(rse, dataset.scope, file.name) for rse in file.rses if file.source]:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file.source, target)
        self._seed(catalogue, name)

    def add_many(self, name: str, count: int, *rses: str) -> None:
        """Register a dataset of very many files within seconds; needs a call of `add_bulk` first.

        Parameters
        ----------
        name
            Name of the dataset.
        count
            Number of files.
        rses
            RSEs that have a replica of every file.
        """
        self.rest("POST", "/dids", json=[{"scope": SCOPE, "name": name, "type": "DATASET"}])
        self.execute(*many.statements(name, range(count), rses, _FIRST_OF_BULK))

    @property
    def provider(self) -> Provider:
        """The identity provider; alice is its subject ``alice``."""
        if "provider" not in self._running:
            self._running["provider"] = self._provider.start(self.children)
            identity = {"identity": f"SUB=alice, ISS={self._provider.url}", "authtype": "OIDC", "default": True}
            self.rest("POST", "/accounts/alice/identities", json={**identity, "email": "alice@lake.invalid"})
        return self._provider

    @contextmanager
    def old_tokens(self) -> Iterator[None]:
        """Make every new token look ten minutes old, because Rucio does not renew a token in its first five minutes."""
        age = "AFTER INSERT ON tokens BEGIN UPDATE tokens SET updated_at = datetime('now', '-10 minutes')"
        self.execute(f"CREATE TRIGGER old_tokens {age} WHERE token = NEW.token; END")
        try:
            yield
        finally:
            self.execute("DROP TRIGGER old_tokens")

    # ------------------------------------------------------------------------------------ start

    def _start(self, environment: ServerEnvironment, stack: ExitStack) -> None:
        self.authority = self._authority or Authority(self.folder / "pki")
        tls = ServerTLS(self.authority.server_cert, self.authority.server_key, self.authority.ca)
        settings = RucioServerSettings(
            content.ROOT_PASSWORD,
            database_url=self._start_postgresql() if on_postgresql() else "",
            tls=tls,
            sections={
                "policy": {"package": "lake_policy"},
                "oidc": {"idpsecrets": str(self.folder / "idpsecrets.json"), "admin_issuer": "lake"},
                "cache": {"url": self._cache or "127.0.0.1:1"},
            },
            python_path=(_HERE / "policy",),
        )
        server = RucioServer(self.folder / "server", environment.python, settings, self.children)
        self.url = server.url
        self._write_provider()
        database = server.bootstrap()
        sources = self.folder / "sources"
        command: list[str | Path] = [sys.executable, "-m", files.__name__, sources]
        writer = self.children.start("the file writer", command, env=closed_environment({}), cwd=_ROOT)
        self._make_users()
        self._start_storages()
        ports = self._make_proxies(stack, server)
        database.wait_end(seconds=_STEP_SECONDS)
        api = server.serve()
        writer.wait_end(seconds=_STEP_SECONDS)
        server.wait_ready(api)
        self._seed(content.catalogue(content.Places(str(self.store), str(sources), ports), self.users), "seed")
        self._finish(sources)

    def _start_postgresql(self) -> str:
        """Start the database and return its URL."""
        self.postgresql = PostgreSQL(self.folder / "postgresql")
        self.postgresql.start(self.children)
        return self.postgresql.url

    def _write_provider(self) -> None:
        """Write the settings of the identity provider, which Rucio contacts at the first sign-in there."""
        port = free_port()
        self._provider_proxy = TcpProxy(port)
        self._provider = Provider(self.folder, f"http://127.0.0.1:{self._provider_proxy.port}", port)
        known: dict[str, Any] = {"issuer": self._provider.url, "client_id": "rucio", "client_secret": "rucio-secret"}
        known |= {"redirect_uris": [f"{self.url}/auth/oidc_code"], "SCIM": {"client_id": "x", "client_secret": "x"}}
        (self.folder / "idpsecrets.json").write_text(json.dumps({"lake": known}))

    def _make_users(self) -> None:
        people = (("root", "Lake Root", "Admins"), ("alice", "Alice Analyst", "Users"), ("bob", "Bob Builder", "Users"))
        unknown = ("mallory", "Mallory Stranger", "Users")
        self.users = {name: self.authority.user(name, cn, unit) for name, cn, unit in (*people, unknown)}

    def _start_storages(self) -> None:
        self.store = self.folder / "store"
        for folder in (self.store, *(self.store / name for name in set(_FOLDERS.values()))):
            folder.mkdir()
            folder.chmod(0o777)  # XRootD runs as another user and writes here too
        run = self.folder / "run"
        run.mkdir()
        self.storages = {
            "root": XRootD(self.store, run / "root"),
            "http": Nginx("http", self.store, run / "http"),
            "http-norange": Nginx("http-norange", self.store, run / "http-norange", ranges=False),
            "https": Nginx("https", self.store, run / "https", self.authority),
            "https-cert": Nginx("https-cert", self.store, run / "https-cert", self.authority, wants_certificate=True),
            "gsi": XRootD(self.store, run / "gsi", self.authority),
        }
        web = self.storages["https"].url.replace("127.0.0.1", "localhost")
        self.issuer = Issuer(f"{web}/issuer", self.store / "issuer")
        self.storages["roots"] = XRootD(self.store, run / "roots", self.authority, self.issuer)
        self.storages["https-door"] = Nginx(
            "https-door", self.store, run / "https-door", self.authority, door_to=web, issuer=self.issuer
        )
        self._running = {name: storage.start(self.children) for name, storage in self.storages.items()}
        for name, storage in self.storages.items():
            storage.wait_ready(self._running[name])

    def _make_proxies(self, stack: ExitStack, server: RucioServer) -> dict[str, int]:
        """Start the proxies and return the port of each kind of server."""
        ports = {name: storage.port for name, storage in self.storages.items()}
        own = {"certificate": self.authority.server_cert, "key": self.authority.server_key}
        self.faulty = {name: TcpProxy(ports[name]) for name in ("root", "http")}
        self.faulty["https"] = TcpProxy(ports["https"], **own)
        self.faulty["rucio"] = TcpProxy(int(server.url.rpartition(":")[2]), **own)
        dead, silent = TcpProxy(0), TcpProxy(0)
        dead.refuse()
        silent.silent()
        self.faulty["oidc"] = self._provider_proxy
        for proxy in (*self.faulty.values(), dead, silent):
            stack.callback(proxy.close)
        return {
            **ports,
            "davs": ports["https"],
            "https-token": ports["roots"],
            "https-gsi": ports["gsi"],
            "root-gsi": ports["gsi"],
            **{f"faulty-{name}": proxy.port for name, proxy in self.faulty.items()},
            **{
                f"{bad}-{scheme}": proxy.port
                for bad, proxy in (("dead", dead), ("silent", silent))
                for scheme in ("root", "http")
            },
        }

    def _seed(self, catalogue: Catalogue, name: str) -> None:
        job = SeedJob(self.url, content.ROOT_PASSWORD, catalogue, str(self.authority.ca))
        child = start_seed(job, self.folder / name, self.children)
        child.wait_end(seconds=_STEP_SECONDS)

    def _finish(self, sources: Path) -> None:
        """Add what a catalogue cannot express: states of replicas, quotas, a lost file, files with hostile names."""
        for account, limit in content.QUOTA.items():
            for rse in _FOLDERS:
                self.rest("POST", f"/accountlimits/local/{account}/{rse}", json={"bytes": limit})
        states = [{"scope": SCOPE, "name": name, "state": state} for name, state in content.UNAVAILABLE.items()]
        self.rest("PUT", "/replicas", json={"rse": "CERN-EOS", "files": states})
        # in production a daemon does this when the last replica is declared bad
        self.execute(
            f"UPDATE dids SET availability = 'L' WHERE name = '{content.LOST}'",
            f"DELETE FROM replicas WHERE name = '{content.LOST}'",
        )
        self._add_hostile(sources / file_names(files.SMALL)[0])
        for folder in (path for path in self.store.rglob("*") if path.is_dir()):
            folder.chmod(0o777)

    def execute(self, *statements: str) -> None:
        """Run SQL statements on Rucio's database."""
        if self.postgresql:
            self.postgresql.execute(*statements)
            return
        with closing(sqlite3.connect(self.folder / "server" / "rucio.db")) as database, database:
            for statement in statements:
                database.execute(statement)

    def _add_hostile(self, source: Path) -> None:
        its = content.hostile_files(source.read_bytes())
        self.rest("POST", "/replicas", json={"rse": "CERN-EOS", "files": its})
        self.rest("POST", "/dids", json=content.hostile_datasets())
        for name in (*content.HOSTILE_NAMES, *content.UNASKABLE_NAMES):
            target = self.path("CERN-EOS", content.HOSTILE, f"{name}.root")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)

    def _credentials(self, account: str, auth: str) -> dict[str, str]:
        user = self.users[account]
        if auth == "userpass":
            known = {"root": (ROOT_USER, content.ROOT_PASSWORD)}
            name, password = known.get(account) or (account, content.PASSWORDS[account])
            return {"username": name, "password": password}
        if auth == "x509":
            return {"client_cert": str(user.cert), "client_key": str(user.key)}
        return {"client_x509_proxy": str(self.authority.proxy(user))} if auth == "x509_proxy" else {}

    def _client_folder(self) -> Path:
        folder = self.folder / "clients" / str(next(self._numbers))
        folder.mkdir(parents=True)
        return folder


_FOLDERS = {
    "CERN-EOS": "eos",
    "TRIUMF-DISK": "triumf",
    "WEB-DISK": "web",
    "NORANGE-DISK": "norange",
    "OPEN-DISK": "open",
    "CERT-DISK": "cert",
    "TOKEN-DISK": "token",
    "DOOR-DISK": "door",
    "ROOTS-DISK": "roots",
    "GSI-DISK": "gsi",
    "CERN-TAPE": "tape",
    "BLOCKED-DISK": "blocked",
    "FAULTY-ROOT": "faulty",
    "FAULTY-HTTP": "faulty",
    "FAULTY-HTTPS": "faulty",
    "NOTEBOOK-POSIX": "posix",
    "CERN-USERDISK": "userdisk",
    "NOTEBOOK-USERDISK": "posix-user",
}


def _requirements() -> tuple[str, ...]:
    """Return what to install for the Rucio server; RUCIO_LAB_TEST_RUCIO can ask for another version, such as 38.6.4."""
    rucio, *others = REQUIREMENTS
    version = os.environ.get("RUCIO_LAB_TEST_RUCIO")
    wanted = f"rucio=={version}" if version else rucio
    return (wanted.replace("rucio", "rucio[postgresql]", 1) if on_postgresql() else wanted, *others)


def _home() -> Path:
    """Return the folder of all test lakes: in memory if there is room, because SQLite syncs to disk at each commit."""
    memory = Path("/dev/shm")
    fits = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _SIZE
    home = (memory if fits else Path(tempfile.gettempdir())) / f"rucio-lab-test-{os.geteuid()}"
    home.mkdir(exist_ok=True)
    return home


def quoted(*parts: str) -> str:
    """Quote parts and join them to a path of Rucio's REST interface."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _toml(value: Any) -> str:
    """Format a value as TOML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # strings, numbers and booleans are the same in both
