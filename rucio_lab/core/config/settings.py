"""The settings of an instance, its storages and its mounts, and of downloads: one Struct each, checked by msgspec."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from rucio_lab.core.errors import ConfigurationError
from rucio_lab.core.model import ReadAccess
from rucio_lab.core.text import is_printable

Auth = Literal["userpass", "x509", "x509_proxy", "oidc", "token", "gss", "ssh"]


class Mount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An RSE that is mounted on this machine as a folder.

    Attributes
    ----------
    prefix
        Beginning of the path in the RSE's PFNs, for example ``/eos/``.
    folder
        The local folder with the same content.
    """

    prefix: str
    folder: str


class StorageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the storages of an instance are read. The token for Rucio is never sent to them.

    Attributes
    ----------
    token_file
        File with a bearer token for storages; read again when it changes.
    token_command
        Program and arguments that print such a token. It runs without a shell, for at most 30 seconds, and again
        before the token expires.
    wlcg_token
        Whether to look for the token with the WLCG bearer token discovery, too.
    hub_token
        Under a JupyterHub: the key in the user's ``auth_state`` of the token to keep up to date in ``token_file``.
    proxy
        X.509 proxy, or certificate and key, in one PEM file; by default ``X509_USER_PROXY``, then ``client_proxy`` of
        the instance, then ``/tmp/x509up_u<uid>``.
    ca
        CA bundle (file or folder) for the certificates of storages, in addition to those of Python,
        ``X509_CERT_FILE``, and ``X509_CERT_DIR`` or ``/etc/grid-security/certificates``.
    xcache
        Address of an XCache to read root:// files through, for example ``root://xcache.site:1094``.
    redirects_to_http
        Hosts that may redirect https to plain http, as some storages (dCache, for one) do by default. No credential is
        sent then, and anybody on the network can change what is read, unless it is downloaded.
    timeout
        How long a storage may be silent before the next replica is tried, in seconds.
    patience
        How long a storage may be silent when no other replica is left, in seconds.
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
    """One Rucio server, and how to sign in to it. Holds no secret.

    Attributes
    ----------
    name
        Its name in notebooks.
    url, auth_url
        Addresses of Rucio's REST and authentication servers; the second defaults to the first.
    auth
        Way of signing in.
    account
        Rucio account; empty for the default account of the identity.
    vo
        Virtual organisation of a multi-VO Rucio.
    username
        User name for ``userpass``; ``%rucio_login`` asks for the password, or ``rucio_cfg`` holds it.
    client_cert, client_key
        Files for ``x509``.
    client_proxy
        File for ``x509_proxy``; by default ``X509_USER_PROXY``, then ``/tmp/x509up_u<uid>``.
    ssh_private_key
        File for ``ssh``.
    oidc_issuer
        Rucio's name for the identity provider, for ``oidc``; empty for Rucio's default provider.
    oidc_audience
        Audience of the token for ``oidc``; empty for the one that Rucio expects.
    oidc_scope
        Scopes to request from the identity provider; with ``offline_access`` the sign-in can be renewed.
    oidc_refresh_lifetime
        How many hours Rucio should renew the sign-in for; 0 for Rucio's default.
    token_file
        File with a bearer token, for ``token``; read again when it changes. ``oidc`` uses it until somebody signs in.
    token_command
        Program and arguments that print a bearer token, for ``token``.
    wlcg_token
        Whether ``token`` also uses the WLCG bearer token discovery.
    hub_token
        Under a JupyterHub: the key in the user's ``auth_state`` of the token to keep up to date in ``token_file``, for
        example ``access_token``. Without ``token_file``, the token goes to a private file in Jupyter's data folder.
    rucio_cfg
        A rucio.cfg for everything that is not set here; a password in it is used, and never copied.
    ca
        CA bundle (file or folder) to check Rucio's certificate with; empty for the usual ones.
    timeout
        How long Rucio may be silent, in seconds.
    access
        How files are attached by default.
    schemes
        Schemes of direct URLs, the preferred one first.
    rse
        RSE expression that limits the replicas.
    site
        The site of this machine, so that Rucio can choose the nearest replicas.
    mounts
        RSEs mounted as folders: RSE -> `Mount`.
    storage
        How to read its storages.
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
    storage: StorageSettings = StorageSettings()

    @property
    def host(self) -> str:
        """Host and port of the REST server."""
        return urlsplit(self.url).netloc

    @property
    def key(self) -> tuple[str, ...]:
        """What distinguishes one sign-in from another: instance, servers, VO, auth, account, and identity."""
        files = (self.client_cert, self.client_proxy, self.ssh_private_key, self.token_file)
        provider = (self.oidc_issuer, self.oidc_audience, self.oidc_scope)
        identity = (self.username, *files, *provider, *self.token_command)
        return (self.name, self.url, self.auth_url, self.vo, self.auth, self.account, *identity)


class Downloads(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How files are downloaded, for all instances.

    Attributes
    ----------
    folder
        Where to download to; its subfolders are instance, scope and dataset.
    parallel
        How many files one download fetches at a time.
    jobs
        How many downloads the server runs at a time; the others wait for their turn.
    """

    folder: str = "~/rucio-downloads"
    parallel: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    jobs: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2


PATHS = ("client_cert", "client_key", "client_proxy", "ssh_private_key", "token_file", "rucio_cfg", "ca", "proxy")
"""Settings of an instance and of its storages that are paths of files."""


def is_address(url: str) -> bool:
    """Whether this is an http(s) URL to append paths to. It must be one line: it is written to files of other tools."""
    if not is_printable(url) or re.search(r"[\s?#\\]", url):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
        named = bool(host_of(url)) and not host_of(url).startswith("-")  # to a program, -x is an option
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and named and port != 0 and parts.username is None


def host_of(url: str) -> str:
    """Give the host as the network knows it. A host that cannot exist is a ValueError."""
    return (urlsplit(url).hostname or "").encode("idna").decode()


def with_paths(settings: Mapping[str, Any], base: Path = Path()) -> dict[str, Any]:
    """Give settings with their paths expanded, relative to a folder."""
    return {**settings, **{key: expand(settings[key], base) for key in PATHS if settings.get(key)}}


def expand(path: str, base: Path = Path()) -> str:
    """Fill in variables and ``~``; a relative path is relative to ``base``, by default the working folder."""
    why = ""
    try:
        if "\0" not in path:
            return str(base / Path(os.path.expandvars(path.strip())).expanduser())
    except RuntimeError:
        why = ": this user has no home folder" if path.strip().startswith("~/") else ": there is no such user"
    raise ConfigurationError(
        f"{path!r} cannot be the path of a file{why}.", "Correct it, or set HOME." if why else "Correct it."
    )


def variable(name: str) -> str:
    """Give the value of an environment variable; empty if it is blank or not set."""
    return os.environ.get(name, "").strip()


def path_variable(name: str) -> str:
    """Give the path in an environment variable, with variables and ``~`` filled in; empty if it is not set."""
    path = os.environ.get(name, "")
    if os.path.exists(path):  # noqa: PTH110 - never raises
        return path
    return os.path.expanduser(os.path.expandvars(path.strip()))  # noqa: PTH111 - never raises
