"""The settings of an instance, its storages and its mounts, and of downloads: one Struct each, checked by msgspec."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from rucio_lab.core.errors import ConfigurationError
from rucio_lab.core.model import Reading
from rucio_lab.core.text import is_printable

Auth = Literal["userpass", "x509", "x509_proxy", "oidc", "token", "gss", "ssh"]


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


class StorageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
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
    access: Reading = "auto"
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


PATHS = ("client_cert", "client_key", "client_proxy", "ssh_private_key", "token_file", "rucio_cfg", "ca", "proxy")
"""Settings of an instance and of its storage that name files."""


def is_address(url: str) -> bool:
    """Whether paths can be added to this, and it stands on one line: it is written to files of others."""
    if not is_printable(url) or re.search(r"[\s?#\\]", url):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
        named = bool(host_of(url)) and not host_of(url).startswith("-")  # which is an option, to a program
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and named and port != 0 and parts.username is None


def host_of(url: str) -> str:
    """Give the host as it is asked for in the network; a ValueError for what can be none."""
    return (urlsplit(url).hostname or "").encode("idna").decode()


def with_paths(settings: Mapping[str, Any], base: Path = Path()) -> dict[str, Any]:
    """Give settings with their paths expanded."""
    return {**settings, **{key: expand(settings[key], base) for key in PATHS if settings.get(key)}}


def expand(path: str, base: Path = Path()) -> str:
    """Fill in variables and ``~``; a relative path is relative to a folder, by default as the process sees it."""
    with suppress(RuntimeError):  # of a user who does not exist
        if "\0" not in path:
            return str(base / Path(os.path.expandvars(path)).expanduser())
    raise ConfigurationError(f"{path!r} can be no path of a file.", "Mend it.")
