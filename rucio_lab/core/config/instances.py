"""Which Rucio instances there are, from ``rucio_lab.toml``, ``rucio.cfg`` and the environment.

Nothing needs to be written where Rucio's own ``rucio.cfg`` is found: it makes one instance, named by its host. What
goes beyond it stands in ``rucio_lab.toml`` on Jupyter's configuration path (``jupyter --paths``: system, user and
environment, merged key by key in Jupyter's own order of precedence), or in the file that ``RUCIO_LAB_CONFIG`` names::

    default = "escape"

    [instances.escape]
    url = "https://vre-rucio.cern.ch"
    auth_url = "https://vre-rucio-auth.cern.ch"
    auth = "x509_proxy"
    account = "jdoe"

    [instances.escape.mounts.CERN-EOS]
    prefix = "/eos/"
    folder = "/mnt/eos"

Relative paths are relative to the file they stand in. What is public of well-known instances comes with the package
(`rucio_lab.core.config.presets`); ``remote`` names one more file, of a site, which is the weakest
(`rucio_lab.core.config.remote`).
"""

from __future__ import annotations

import configparser
import ipaddress
import os
import re
import socket
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

import msgspec

from rucio_lab.core.config import presets, remote
from rucio_lab.core.errors import ConfigurationError
from rucio_lab.core.model import ReadAccess
from rucio_lab.core.private import lab_folder
from rucio_lab.core.text import is_printable

Auth = Literal["userpass", "x509", "x509_proxy", "oidc", "token", "gss", "ssh"]

FILE = "rucio_lab.toml"
_EXAMPLES = "docs/configuration.md has examples."
NO_INSTANCE_REMEDY = (
    "Set RUCIO_CONFIG to your rucio.cfg, or write rucio_lab.toml into ~/.jupyter "
    f'(default = "escape" is enough for a preset: {", ".join(presets.names())}); '
    "`rucio-lab demo` starts a lake of its own to try, and `rucio-lab doctor` shows where was looked."
)


class Mount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An RSE that is mounted on this machine as a folder.

    Attributes
    ----------
    prefix
        Beginning of the path in the RSE's PFNs, for example ``/eos/``.
    folder
        The local folder that stands for it.
    """

    prefix: str
    folder: str


class Storage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the storages of an instance are read; apart from the sign-in to Rucio, whose token never goes to them.

    Attributes
    ----------
    token_file
        File with a bearer token for storages; read again whenever it changes.
    token_command
        Program and arguments that print such a token; run without a shell, again before the token ends, for at most 30
        seconds.
    wlcg_token
        Whether the token is also looked for where the WLCG bearer token discovery looks.
    hub_token
        Under a JupyterHub: key of the user's ``auth_state`` whose value is kept fresh in ``token_file``.
    proxy
        X.509 proxy, or certificate with key, in one PEM file; by default ``X509_USER_PROXY``, then ``client_proxy`` of
        the instance, then ``/tmp/x509up_u<uid>``.
    ca
        CA bundle (file or folder) for the certificates of storages, besides those of Python, ``X509_CERT_FILE``, and
        ``X509_CERT_DIR`` or ``/etc/grid-security/certificates``.
    xcache
        Address of an XCache that root:// files are read through, for example ``root://xcache.site:1094``.
    redirects_to_http
        Hosts whose https may go on as plain http, as that of some storages (dCache, for one) does by default; without
        any credential then. Anybody on the line can change what is read so, unless it is downloaded.
    timeout
        Longest silence of a storage before the next replica is taken, in seconds.
    patience
        Longest silence of a storage when there is no other replica left, in seconds.
    """

    token_file: str = ""
    token_command: tuple[Annotated[str, msgspec.Meta(min_length=1)], ...] = ()
    wlcg_token: bool = False
    hub_token: str = ""
    proxy: str = ""
    ca: str = ""
    xcache: Annotated[str, msgspec.Meta(pattern="^(root://[^/@]+/*)?$")] = ""
    redirects_to_http: tuple[str, ...] = ()
    timeout: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 4.0
    patience: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 20.0


class Instance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One Rucio server, and how to be somebody there. Holds no secret.

    Attributes
    ----------
    name
        What notebooks call it.
    url, auth_url
        Addresses of Rucio's REST and authentication servers; the second defaults to the first.
    auth
        Way of signing in.
    account
        Rucio account; empty for the default account of the identity.
    vo
        Virtual organisation of a multi-VO Rucio.
    username
        User name for ``userpass``; the password is asked for by ``%rucio_login``, or taken from ``rucio_cfg``.
    client_cert, client_key
        Files for ``x509``.
    client_proxy
        File for ``x509_proxy``; by default ``X509_USER_PROXY``, then ``/tmp/x509up_u<uid>``.
    ssh_private_key
        File for ``ssh``.
    oidc_issuer
        Identity provider for ``oidc``, by the name that Rucio has for it; empty for Rucio's default one.
    oidc_audience
        Audience of the token for ``oidc``; empty for the one that Rucio expects.
    oidc_scope
        Scopes to ask the identity provider for; with ``offline_access`` among them the sign-in can be renewed.
    oidc_refresh_lifetime
        For how many hours Rucio is to renew the sign-in; 0 for Rucio's own default.
    token_file
        File with a bearer token, for ``token``; read again whenever it changes. For ``oidc`` it serves where nobody
        has signed in.
    token_command
        Program and arguments that print a bearer token, for ``token``.
    wlcg_token
        Whether ``token`` also looks where the WLCG bearer token discovery looks.
    hub_token
        Under a JupyterHub: key of the user's ``auth_state`` whose value is kept fresh in ``token_file``, for example
        ``access_token``. Where ``token_file`` is not set, it is a file of the user's own below Jupyter's data folder.
    rucio_cfg
        A rucio.cfg that gives what is not set here; a password in it is used, and never copied.
    ca
        CA bundle (file or folder) that Rucio's certificate is checked with; empty for the usual ones.
    timeout
        Longest silence of Rucio, in seconds.
    access
        How files are attached where nothing else is said.
    schemes
        Schemes of direct URLs, best first.
    rse
        RSE expression that limits the replicas.
    site
        Name of the site this machine is at, for Rucio's choice of the nearest replicas.
    mounts
        RSEs mounted as folders: RSE -> `Mount`.
    storage
        How its storages are read.
    """

    name: str = ""
    url: str = ""
    auth_url: str = ""
    auth: Auth = "userpass"
    account: str = ""
    vo: str = "def"
    username: str = ""
    client_cert: str = ""
    client_key: str = ""
    client_proxy: str = ""
    ssh_private_key: str = ""
    oidc_issuer: str = ""
    oidc_audience: str = ""
    oidc_scope: str = "openid profile"
    oidc_refresh_lifetime: Annotated[int, msgspec.Meta(ge=0)] = 0
    token_file: str = ""
    token_command: tuple[str, ...] = ()
    wlcg_token: bool = False
    hub_token: str = ""
    rucio_cfg: str = ""
    ca: str = ""
    timeout: Annotated[float, msgspec.Meta(gt=0, le=86400)] = 60.0
    access: ReadAccess = "auto"
    schemes: tuple[str, ...] = ("root", "roots", "https", "http")
    rse: str = ""
    site: str = ""
    mounts: dict[str, Mount] = {}
    storage: Storage = Storage()

    @property
    def host(self) -> str:
        """Host and port of the REST server."""
        return urlsplit(self.url).netloc

    @property
    def key(self) -> tuple[str, ...]:
        """What tells one sign-in from another: instance, servers, VO, way, account, and who is signing in."""
        files = (self.client_cert, self.client_proxy, self.ssh_private_key, self.token_file)
        provider = (self.oidc_issuer, self.oidc_audience, self.oidc_scope)
        identity = (self.username, *files, *provider, *self.token_command)
        return (self.name, self.url, self.auth_url, self.vo, self.auth, self.account, *identity)


class Downloads(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How files are downloaded; for all instances.

    Attributes
    ----------
    folder
        Where to; below it come instance, scope, dataset and name.
    parallel
        How many files at a time, in one download.
    jobs
        How many downloads of the server run at a time; others wait for their turn.
    """

    folder: str = "~/rucio-downloads"
    parallel: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    jobs: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2


_PATHS = ("client_cert", "client_key", "client_proxy", "ssh_private_key", "token_file", "rucio_cfg", "ca", "proxy")
"""Settings of an instance and of its storage that name files."""


class Instances:
    """The instances that are configured, by name.

    Parameters
    ----------
    instances
        All instances.
    default
        Name of the one that is meant when none is named; None if there is no telling.
    sources
        The files they come from, the one that wins last.
    problems
        Sentences on what was found and could not be used.
    """

    def __init__(
        self,
        instances: tuple[Instance, ...],
        default: str | None = None,
        sources: tuple[Path, ...] = (),
        problems: tuple[str, ...] = (),
    ) -> None:
        self._instances = {instance.name: instance for instance in instances}
        self.default_name = default
        self.sources = sources
        self.problems = problems

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all instances."""
        return tuple(self._instances)

    def __iter__(self) -> Iterator[Instance]:
        return iter(self._instances.values())

    def get(self, name: str | None = None) -> Instance:
        """Find an instance.

        Parameters
        ----------
        name
            Its name or host; None for the default one.

        Raises
        ------
        ConfigurationError
            If there is no such instance, or no default.
        """
        if name is not None and (instance := self._find(name)) is not None:
            return instance
        if not self._instances:
            raise ConfigurationError(" ".join(["No Rucio instance is configured.", *self.problems]), NO_INSTANCE_REMEDY)
        known = "Known instances: " + ", ".join(self.names) + "."
        if name is not None:
            raise ConfigurationError(f"There is no Rucio instance {name!r}.", known)
        if self.default_name is None:
            raise ConfigurationError(
                f"Several Rucio instances are configured and none is the default. {known}",
                f"Name one, or set default in {FILE}.",
            )
        return self._instances[self.default_name]

    def _find(self, name: str) -> Instance | None:
        """Find an instance by its name, or else by its host."""
        if name in self._instances:
            return self._instances[name]
        candidates = chain(self, self._presets())
        return next((one for one in candidates if name in (one.name, one.host, one.url)), None)

    def _presets(self) -> Iterator[Instance]:
        """Give the presets that nobody has chosen: not listed, but their names mean the same everywhere."""
        return (_complete(name, {}) for name in presets.names() if name not in self._instances)


def load_instances() -> Instances:
    """Read the configuration as it is now.

    Raises
    ------
    ConfigurationError
        If a ``rucio_lab.toml`` cannot be read, or holds what it may not hold.
    """
    files = [path for path in config_files() if path.is_file()]
    explicit = os.environ.get("RUCIO_LAB_CONFIG")
    if explicit and not files:
        raise ConfigurationError(f"RUCIO_LAB_CONFIG names {explicit}, which is no file.", "Mend or unset it.")
    layers = [_read_toml(path) for path in files]
    given, missing = _remote_layer(layers)
    default = next((layer.default for layer in reversed([given, *layers]) if layer.default), None)
    merged = _merge(given, layers)
    if default in presets.names():
        merged.setdefault(default, {})
    instances = [_complete(name, settings) for name, settings in merged.items()]
    found, problems = (None, []) if explicit else _from_rucio_cfg()
    if found is not None and not any(instance.url == found.url for instance in instances):
        instances.append(found)
        default = default or found.name
    if default is None and len(instances) == 1:
        default = instances[0].name
    if default is not None and default not in {instance.name for instance in instances}:
        raise ConfigurationError(f"The default instance {default!r} of {FILE} is not configured.", "Mend default.")
    return Instances(tuple(instances), default, tuple(files), (*missing, *problems))


def check_remote() -> tuple[str, remote.Copy] | None:
    """Fetch the site's remote configuration now, if there is one.

    Returns
    -------
    tuple of str and Copy, or None
        Its address, and the last good copy with what went wrong since.

    Raises
    ------
    ConfigurationError
        If a file cannot be read.
    """
    source = _remote_source([_read_toml(path) for path in config_files() if path.is_file()])
    return (source.url, remote.refresh(source, _read_remote)) if source else None


def load_downloads() -> Downloads:
    """Read how files are downloaded, as it is configured now.

    Raises
    ------
    ConfigurationError
        If a ``rucio_lab.toml`` cannot be read, or holds what it may not hold.
    """
    settings: dict[str, Any] = {}
    for path in config_files():
        if path.is_file():
            settings |= _read_toml(path).downloads
    known = msgspec.convert(settings, Downloads)
    return msgspec.structs.replace(known, folder=_expand(known.folder))


def config_files() -> list[Path]:
    """Give all places where ``rucio_lab.toml`` is looked for, the one that wins last."""
    if explicit := os.environ.get("RUCIO_LAB_CONFIG"):
        return [Path(_expand(explicit))]
    from jupyter_core.paths import jupyter_config_path

    return [Path(folder) / FILE for folder in reversed(jupyter_config_path())]


def rucio_cfg_path() -> Path | None:
    """Give the rucio.cfg which Rucio's own clients would take, in their order; None where there is none."""
    if explicit := os.environ.get("RUCIO_CONFIG"):
        return Path(_expand(explicit))
    homes = [os.environ[name] for name in ("RUCIO_HOME", "VIRTUAL_ENV", "CONDA_PREFIX") if os.environ.get(name)]
    candidates = [Path(home) / "etc" / "rucio.cfg" for home in [*homes, "/opt/rucio"]]
    return next((path for path in candidates if path.is_file()), None)


def read_rucio_cfg(path: str | Path) -> Mapping[str, str]:
    """Read the ``[client]`` section of a rucio.cfg.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or has no such section.
    """
    parser = _parse_rucio_cfg(Path(path))
    try:
        return dict(parser.items("client"))
    except configparser.NoSectionError as error:
        raise ConfigurationError(f"{path} has no section [client].", "It looks like a server's rucio.cfg.") from error
    except configparser.InterpolationError:
        raise ConfigurationError(  # without the cause, which quotes the value: it can be the password
            f"{path} is no valid rucio.cfg: there is a single % in the section [client].", "Write %% for each %."
        ) from None


def check_rucio_cfg() -> None:
    """Check the rucio.cfg that rucio itself reads when it is imported, whether we use it or not.

    Raises
    ------
    ConfigurationError
        If it cannot be read.
    """
    if path := rucio_cfg_path():
        _parse_rucio_cfg(path)


def _parse_rucio_cfg(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    try:
        parser.read_string(path.read_text())
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}.", "Mend the file or its address."
        ) from error
    except (configparser.Error, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise ConfigurationError(f"{path} is no valid rucio.cfg: {first}.", "Mend it.") from error
    return parser


class Layer(msgspec.Struct, forbid_unknown_fields=True):
    """One ``rucio_lab.toml``, its instances not yet merged with those of other files.

    Attributes
    ----------
    default
        Name of the instance that is meant when none is named.
    remote
        https address of one more ``rucio_lab.toml``, kept by a site; all files are stronger than it.
    remote_ca
        CA bundle (file or folder) that the certificate of ``remote`` is checked with; empty for the usual ones.
    downloads
        How files are downloaded.
    instances
        Settings of the instances, by name.
    """

    default: str | None = None
    remote: str = ""
    remote_ca: str = ""
    downloads: dict[str, Any] = {}
    instances: dict[str, Any] = {}


def _read_toml(path: Path) -> Layer:
    try:
        layer = _layer(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.", "Mend its permissions.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(
            f"{path} is not valid: {error}.", "Mend it; docs/configuration.md has examples."
        ) from error
    folder = path.parent.absolute()
    if layer.downloads.get("folder"):
        layer.downloads["folder"] = _expand(layer.downloads["folder"], folder)
    if layer.remote_ca:
        layer.remote_ca = _expand(layer.remote_ca, folder)
    for settings in layer.instances.values():
        settings.update(_with_paths(settings, folder))
        settings.get("storage", {}).update(_with_paths(settings.get("storage", {}), folder))
        for mount in settings.get("mounts", {}).values():
            mount["folder"] = _expand(mount["folder"], folder)
    return layer


def _layer(text: str) -> Layer:
    """Check a ``rucio_lab.toml`` by itself; the message of a ValidationError begins with the instance."""
    try:
        layer = msgspec.convert(tomllib.loads(text), Layer)
    except RecursionError:
        raise msgspec.ValidationError("it is nested too deeply") from None
    for name, settings in layer.instances.items():
        try:
            msgspec.convert(settings, Instance)
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(f"instances.{name}: {error}") from None
    try:
        msgspec.convert(layer.downloads, Downloads)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"downloads: {error}") from None
    return layer


# ------------------------------------------------------------------------------------------------ from elsewhere

REMOTE_SETTINGS = {
    *("url", "auth_url", "auth", "vo", "timeout", "schemes", "rse", "site"),
    *("oidc_issuer", "oidc_audience", "oidc_scope", "oidc_refresh_lifetime"),
}
"""What a remote configuration may set: where a Rucio is and how it is spoken to, but no file and no program of this
machine, and nothing that hands out a credential which is already there. What is not named here is refused."""

REMOTE_WAYS = ("userpass", "x509", "x509_proxy", "oidc", "gss")
"""Ways of signing in that a remote configuration may choose: those that take no token or key file from this machine."""

CREDENTIALS = ("token_file", "token_command", "wlcg_token", "hub_token", "ssh_private_key")
"""Settings that send to the instance what is secret already; they stand in the file that names its address."""


def _remote_source(layers: Sequence[Layer]) -> remote.Source | None:
    """Give the address that the strongest file names."""
    layer = next((layer for layer in reversed(layers) if layer.remote), None)
    return remote.Source(layer.remote, layer.remote_ca) if layer else None


def _remote_layer(layers: Sequence[Layer]) -> tuple[Layer, list[str]]:
    """Read the copy of the remote configuration; where there is none, say why."""
    source = _remote_source(layers)
    if source is None:
        return Layer(), []
    copy = remote.copy_of(source, _read_remote)
    return (Layer(), [copy.failure]) if copy.text is None else (_read_remote(copy.text), [])


def _read_remote(text: str) -> Layer:
    """Read a remote configuration.

    Raises
    ------
    ConfigurationError
        If it is not valid, or sets what it may not.
    """
    remedy = "Its keeper must mend it; docs/configuration.md says what it may hold."
    try:
        layer = _layer(text)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"The remote configuration is not valid: {error}.", remedy) from error
    if layer.remote or layer.remote_ca or layer.downloads:
        raise ConfigurationError("The remote configuration names a remote of its own, or sets downloads.", remedy)
    if layer.default and layer.default not in {*layer.instances, *presets.names()}:
        raise ConfigurationError(f"The remote configuration has no instance {layer.default!r}, its default.", remedy)
    for name, settings in layer.instances.items():
        if reason := _forbidden(name, settings):
            raise ConfigurationError(f"The remote configuration {reason}.", remedy)
    return layer


def _forbidden(name: str, settings: Mapping[str, Any]) -> str:
    """Say what a remote configuration does with an instance that it may not do; empty if all is well."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):  # least of all the host of another instance, which means that one
        return f"may not name an instance {name!r}"
    fixed = {"url", "auth_url", "auth"} if name in presets.names() else set()
    if forbidden := sorted(settings.keys() - (REMOTE_SETTINGS - fixed)):
        return f"may not set {', '.join(forbidden)} of instance {name!r}"
    if settings.get("auth", REMOTE_WAYS[0]) not in REMOTE_WAYS:
        return f"may not choose auth = {settings['auth']!r} for instance {name!r}"
    addresses = [settings[key] for key in ("url", "auth_url") if key in settings]
    if not (fixed or "url" in settings):
        addresses.append("")
    if wrong := next(filter(None, map(_wrong_with, addresses)), ""):
        return f"{wrong} of instance {name!r}"
    hidden = [key for key, value in settings.items() if not all(map(is_printable, _texts(value)))]
    return f"has control or invisible characters in {hidden[0]} of instance {name!r}" if hidden else ""


def _wrong_with(address: str) -> str:
    if not _is_address(address):
        return "has no usable address"
    if not address.startswith("https://"):
        return "has an address without https"
    return "has an address on the machine itself, or on its own link," if _is_local(address) else ""


def _texts(value: Any) -> list[str]:
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]


def _merge(given: Layer, layers: Sequence[Layer]) -> dict[str, dict[str, Any]]:
    """Merge the files key by key, the last one wins; then what they leave open is filled from the remote layer."""
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for name, settings in layer.instances.items():
            mine = merged.setdefault(name, {})
            tables = {key: {**mine.get(key, {}), **settings.get(key, {})} for key in ("mounts", "storage")}
            mine.update(settings, **tables)
    for name, settings in given.instances.items():
        mine = merged.setdefault(name, {})
        own = {"url", "rucio_cfg"} & mine.keys()
        secret = [key for key in CREDENTIALS if mine.get(key) or mine.get("storage", {}).get(key)]
        if secret and not own and name not in presets.names():
            raise ConfigurationError(
                f"{secret[0]} of instance {name!r} is set here, and its address only in the remote configuration.",
                f"Set its url beside {secret[0]}: what is secret goes only where a file of this machine says.",
            )
        keep = settings.keys() - ({"url", "auth_url", "auth"} if own else set())
        merged[name] = {**{key: settings[key] for key in keep}, **mine}
    return merged


def _complete(name: str, settings: Mapping[str, Any]) -> Instance:
    """Fill in from a preset or the instance's own rucio.cfg what ``rucio_lab.toml`` leaves open; check the result."""
    if cfg := settings.get("rucio_cfg"):
        known = _with_paths(_cfg_settings(read_rucio_cfg(cfg)))
    else:
        known = {} if settings.get("url") else dict(presets.settings(name))
    if settings.get("hub_token"):
        known |= {"auth": "token", "token_file": _hub_file(name, "token")}
    known |= {**settings, "name": name}
    if known.get("storage", {}).get("hub_token"):
        known["storage"] = {"token_file": _hub_file(name, "storage"), **known["storage"]}
    for key in ("url", "auth_url"):
        if key in known:
            known[key] = known[key].rstrip("/")
    known["auth_url"] = known.get("auth_url") or known.get("url", "")
    try:
        instance = msgspec.convert(known, Instance)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"Instance {name!r} is not valid: {error}.", f"Mend it; {_EXAMPLES}") from error
    for key in ("url", "auth_url"):
        if not _is_address(known.get(key) or ""):
            raise ConfigurationError(
                f"Instance {name!r} has no usable {key}: {str(known.get(key, '')).rpartition('@')[2]!r}.",
                f'Set {key} = "https://..." in {FILE}, or rucio_host and auth_host in rucio.cfg.',
            )
    return instance


def _is_address(url: str) -> bool:
    """Whether paths can be added to this, and it stands on one line: it is written to files of others."""
    if not is_printable(url) or re.search(r"[\s?#\\]", url):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
        named = bool(_host(url)) and not _host(url).startswith("-")  # which is an option, to a program
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and named and port != 0 and parts.username is None


def _host(url: str) -> str:
    """Give the host as it is asked for in the network; a ValueError for what can be none."""
    return (urlsplit(url).hostname or "").encode("idna").decode()


def _is_local(url: str) -> bool:
    """Whether an address is of this machine, or of what is next to it: services there trust who is on the machine."""
    host = _host(url).rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:  # inet_aton reads all spellings that programs read, such as 127.1 and 0x7f000001
        address = ipaddress.ip_address(host.partition("%")[0] if ":" in host else socket.inet_aton(host))
    except (ValueError, OSError):
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_link_local or address.is_unspecified


def _cfg_settings(client: Mapping[str, str]) -> dict[str, Any]:
    """Translate the ``[client]`` section of a rucio.cfg; the password stays where it is."""
    names = {
        "rucio_host": "url",
        "auth_host": "auth_url",
        "auth_type": "auth",
        "account": "account",
        "vo": "vo",
        "username": "username",
        "ca_cert": "ca",
        "client_cert": "client_cert",
        "client_key": "client_key",
        "client_x509_proxy": "client_proxy",
        "ssh_private_key": "ssh_private_key",
        "oidc_issuer": "oidc_issuer",
        "oidc_audience": "oidc_audience",
        "oidc_scope": "oidc_scope",
        "oidc_refresh_lifetime": "oidc_refresh_lifetime",
        "auth_token_file_path": "token_file",
    }
    settings: dict[str, Any] = {ours: client[theirs] for theirs, ours in names.items() if client.get(theirs)}
    if (hours := settings.get("oidc_refresh_lifetime", "")).isdecimal():
        settings["oidc_refresh_lifetime"] = int(hours)
    return settings


def _from_rucio_cfg() -> tuple[Instance | None, list[str]]:
    """Make an instance of the user's own rucio.cfg and of Rucio's environment variables."""
    path = rucio_cfg_path()
    if path is None:
        return None, []
    try:
        settings = _cfg_settings(read_rucio_cfg(path))
        environment = {
            "RUCIO_ACCOUNT": "account",
            "RUCIO_VO": "vo",
            "RUCIO_AUTH_TYPE": "auth",
            "RUCIO_CLIENT_CERT": "client_cert",
            "RUCIO_CLIENT_KEY": "client_key",
            "RUCIO_CLIENT_PROXY": "client_proxy",
        }
        settings.update({ours: os.environ[name] for name, ours in environment.items() if os.environ.get(name)})
        name = urlsplit(settings.get("url", "")).netloc or str(path)
        return _complete(name, {**_with_paths(settings), "rucio_cfg": str(path)}), []
    except ConfigurationError as error:
        return None, [str(error)]


def _hub_file(name: str, kind: str) -> str:
    """Give where a token that JupyterHub keeps is written, if nobody says."""
    return str(lab_folder("hub") / f"{quote(name, safe='')}.{kind}")


def _with_paths(settings: Mapping[str, Any], base: Path = Path()) -> dict[str, Any]:
    """Give settings with their paths expanded."""
    return {**settings, **{key: _expand(settings[key], base) for key in _PATHS if settings.get(key)}}


def _expand(path: str, base: Path = Path()) -> str:
    """Fill in variables and ``~``; a relative path is relative to a folder, by default as the process sees it."""
    with suppress(RuntimeError):  # of a user who does not exist
        if "\0" not in path:
            return str(base / Path(os.path.expandvars(path)).expanduser())
    raise ConfigurationError(f"{path!r} can be no path of a file.", "Mend it.")
