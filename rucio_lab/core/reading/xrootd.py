"""XRootD's own client: its time limits, and which files of this machine it may send.

The client takes options from the address of a file, and also from the address in a server's redirect: ``xrd.ztn=PATH``
makes it send that file as a token, whatever it contains. Options in the first address take precedence over those in a
redirect. So every address that we open sets all of these options, to the values that XRootD would use by default.

Source: XRootD 6.2, ``XrdClXRootDMsgHandler.cc`` (redirects), ``XrdSecPManager.cc`` and the security plug-ins (options);
tests/core/reading/test_xrootd.py checks that the client still behaves so.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import ctypes.util
import hashlib
import os
import re
import shutil
import ssl
import stat
import struct
import tempfile
from collections import Counter
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.identity.token_text import discovered_token
from rucio_lab.core.identity.x509 import find_proxy, rsa_proxy
from rucio_lab.core.model import Replica
from rucio_lab.core.reasons import Cause, Reason
from rucio_lab.core.storage.storage_token import StorageToken, find_token, may_see_token

# Name of XRootD's setting: (its default, ours), times in seconds. With the defaults, a server that is down blocks a
# read for 480 s, and one that never answers for half an hour. StreamErrorWindow is how long a server that failed is not
# tried again, TimeoutResolution how often XRootD checks its time limits. A metalink is a list of addresses, with
# options, that a server can send instead of a file. Without keep-alive, a firewall forgets connections that are idle.
_SETTINGS = {
    "ConnectionWindow": (120, 60),
    "ConnectionRetry": (5, 1),
    "RequestTimeout": (1800, 60),
    "StreamErrorWindow": (1800, 2),
    "TimeoutResolution": (15, 1),
    "MetalinkProcessing": (1, 0),
    "TCPKeepAlive": (0, 1),
    "TCPKeepAliveTime": (7200, 60),
    "TCPKeepAliveInterval": (75, 15),
    "TCPKeepAliveProbes": (9, 4),
}

_USUAL = ("krb5", "gsi", "sss", "unix", "host")
"""Security protocols that may be used with any server: not ``ztn``, which sends a token, nor ``pwd``, which prompts."""

PROTOCOLS = "XrdSecPROTOCOL"
"""The variable of the environment that limits the security protocols."""

_PROXY, _CERT, _KEY, _KEYTABS = (
    "XrdSecGSIUSERPROXY",
    "XrdSecGSIUSERCERT",
    "XrdSecGSIUSERKEY",
    ("XrdSecSSSKT", "XrdSecsssKT"),
)


def prepare() -> None:
    """Set up XRootD's client for this process: time limits, no metalinks, and no options that a redirect can choose.

    For tools that read plain ``root://`` addresses through fsspec, such as uproot, it replaces the file system by one
    that sets all options (`rucio_lab.core.reading.root_filesystem`). For other readers it can only set the environment,
    which a redirect overrides: see docs/tools.md.
    """
    _limit()
    _keep_tokens()
    _register()


@cache
def _limit() -> None:
    """Change settings for this process only, and none that the user has set.

    The limits stay at 60 s, because a slow but healthy site can take long to open a file.
    """
    from XRootD.client import EnvGetInt, EnvPutInt

    for name, (default, ours) in _SETTINGS.items():
        if f"XRD_{name.upper()}" not in os.environ and EnvGetInt(name) == default:
            EnvPutInt(name, ours)


def _keep_tokens() -> None:
    """Exclude ``ztn`` from the protocols of this process while there is no token that it could send."""
    ours = ",".join(_USUAL)
    if _found_first():
        if os.environ.get(PROTOCOLS) == ours:
            del os.environ[PROTOCOLS]
    else:
        os.environ.setdefault(PROTOCOLS, ours)


@cache
def _register() -> None:
    from fsspec.registry import register_implementation, registry

    module, name = "rucio_lab.core.reading.root_filesystem", "RootFileSystem"
    if "root" in registry:  # it was used before, and a name would not replace the class
        register_implementation("root", getattr(import_module(module), name), clobber=True)
    else:
        register_implementation("root", f"{module}.{name}", clobber=True)


# ------------------------------------------------------------------------------------------------ addresses


def without_options(rest: str) -> str:
    """Remove the options for XRootD's client from an address; options for the storage stay.

    Parameters
    ----------
    rest
        A PFN without its scheme. It may contain secrets for the storage, such as ``authz``.
    """
    path, question, query = rest.partition("?")
    kept = [option for option in re.split("[?&]", query) if option and not _is_for_client(option)]
    return f"{path}?{'&'.join(kept)}" if question and kept else path


def _is_for_client(option: str) -> bool:
    return unquote(option).strip().lower().startswith(("xrd.", "xrdcl."))


def xrootd_url(replica: Replica, instance: Instance) -> str:
    """Write the address of a replica for XRootD's client, with all options that name a file or a protocol.

    A token is sent only over TLS. A different user name for each set of credentials keeps their connections apart, and
    new ones from those that were left.
    """
    scheme, _, rest = replica.url.partition("://")
    url = f"{scheme}://{without_options(rest)}"
    token, _ = find_token(instance) if may_see_token(replica) else (None, "")
    if token and _found_first() not in ("", token.text):
        token = None  # XRootD would send the token of the environment, which is not meant for this storage
    proxy = _proxy(instance)
    shown = [token.text if token else "", rsa_proxy(proxy), "/" * _left[replica.endpoint]]
    if any(shown) and "@" not in rest.partition("/")[0]:
        url = f"{scheme}://{_digest(*shown)}@{without_options(rest)}"
    return with_options(url, token_file=_private_file(token) if token else "", proxy=proxy)


def leave_connection(replica: Replica) -> None:
    """Open the next files of a server through a new connection, because nothing arrives on the old one."""
    _left[replica.endpoint] += 1


_left: Counter[str] = Counter()  # endpoint -> how many connections were left


def _proxy(instance: Instance) -> str:
    """Give the path of the X.509 proxy for an instance's storages."""
    if _PROXY in os.environ and not (instance.storage.proxy or instance.client_proxy):
        return os.environ[_PROXY]
    proxy, _ = find_proxy(instance)
    return proxy.path if proxy else _nowhere()


def _nowhere() -> str:
    """Name a file that does not exist. With /dev/null, XRootD would make a proxy if it has a certificate."""
    return str(_private_folder() / "none")


def with_options(url: str, *, token_file: str = "", proxy: str = "", ztn: bool = False) -> str:
    """Add the options that an address does not set yet.

    Parameters
    ----------
    url
        A ``root://`` or ``roots://`` address.
    token_file
        The file of the token that the storage may see; empty for none.
    proxy
        The X.509 proxy that the storage may see; empty for the one that XRootD finds by itself.
    ztn
        Whether XRootD may send the token that it finds by itself.
    """
    protocols = ("ztn", *_USUAL) if token_file or ztn else _USUAL
    get, home = os.environ.get, Path.home()
    proxy = proxy or get(_PROXY) or get("X509_USER_PROXY") or f"/tmp/x509up_u{os.geteuid()}"  # noqa: S108
    options = {
        "xrdcl.rucio-lab": "1",  # a dummy: after a second question mark, the first option is lost
        "xrd.wantprot": _users_protocols() or ",".join(protocols),
        "xrd.ztn": _file(token_file),
        "xrd.gsiusrpxy": _proxy_file(proxy),
        "xrd.gsiusrcrt": _file(get(_CERT) or home / ".globus" / "usercert.pem"),
        "xrd.gsiusrkey": _file(get(_KEY) or home / ".globus" / "userkey.pem"),
        "xrd.k5ccname": _kerberos_option(),
        "xrd.sss": _file(next(filter(None, map(get, _KEYTABS)), "") or home / ".xrd" / "sss.keytab"),
    }
    known = {option.partition("=")[0] for option in url.partition("?")[2].split("&")}
    more = "&".join(f"{name}={value}" for name, value in options.items() if name not in known)
    return f"{url}{'&' if '?' in url else '?'}{more}" if more else url


def with_usual_options(url: str) -> str:
    """Add the options for what XRootD finds by itself, if no instance is known."""
    _keep_tokens()
    return with_options(url, ztn=bool(_found_first()))


def _users_protocols() -> str:
    """Give the security protocols that the user has chosen; empty if they were set by `_keep_tokens`."""
    chosen = os.environ.get(PROTOCOLS, "")
    return "" if chosen == ",".join(_USUAL) else chosen


def _found_first() -> str:
    """Give the token that XRootD finds by itself, and prefers to one that an address names."""
    return discovered_token()[0]


@cache
def _kerberos_cache() -> str:
    """Name the credential cache that Kerberos uses by default."""
    usual = f"FILE:/tmp/krb5cc_{os.geteuid()}"
    if name := os.environ.get("KRB5CCNAME"):
        return name
    if os.access(usual.removeprefix("FILE:"), os.R_OK):
        return usual
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(ctypes.util.find_library("krb5"))
        library.krb5_cc_default_name.restype = ctypes.c_char_p
        context = ctypes.c_void_p()
        if not library.krb5_init_context(ctypes.byref(context)):
            return (library.krb5_cc_default_name(context) or usual.encode()).decode(errors="surrogateescape")
    return usual


def _kerberos_option() -> str:
    """Give the credential cache as an option; a name that is not a file, such as ``KCM:``, contains no secret."""
    name = _kerberos_cache()
    kind, colon, path = name.partition(":")
    if not colon or kind == "FILE":
        return _link(path if colon else name)
    return os.devnull if re.search(r"[&?#\s]", name) else name


def _proxy_file(path: str) -> str:
    """Give each proxy a separate path: XRootD caches what it finds at a path for the life of the process."""
    name = rsa_proxy(path)
    return _link(path, name) if name else _nowhere()


def _file(path: str | Path) -> str:
    """Give a file as the value of an option; an empty one if it does not exist, so that no redirect can name one."""
    return _link(str(path)) if path and Path(path).exists() else os.devnull


def _link(path: str, name: str = "") -> str:
    """Give another name for a file. Options are sent to the storage, which should not learn paths of this machine.

    XRootD does not decode options, so the name must contain only characters that an address may contain.
    """
    target = str(Path(path).absolute())
    link = _private_folder() / (name or hashlib.sha256(os.fsencode(target)).hexdigest()[:16])
    with suppress(FileExistsError):
        link.symlink_to(target)
    return str(link)


def _digest(*shown: str) -> str:
    return "t" + hashlib.sha256("/".join(shown).encode()).hexdigest()[:7]


def _private_file(token: StorageToken) -> str:
    """Give a file with the token that only its owner can read, as XRootD requires."""
    source = Path(token.source)
    with suppress(OSError):
        status = source.stat()
        private = stat.S_IMODE(status.st_mode) & 0o077 == 0 and status.st_uid == os.geteuid()
        if private and source.is_absolute():  # it may be a description, such as "the command oidc-token"
            return _link(token.source)
    path = _private_folder() / _digest(token.text)
    if not path.exists():
        handle, temporary = tempfile.mkstemp(dir=path.parent)  # creates it with mode 0600
        with os.fdopen(handle, "w") as file:
            file.write(token.text)
        Path(temporary).replace(path)
    return str(path)


_folders: dict[int, Path] = {}


def _private_folder() -> Path:
    """Give a private folder (0700) of this process, which is removed at exit.

    If it was deleted, it is created again under a new name: after a cleanup of the folder for temporary files, another
    user could have taken the old one.
    """
    process = os.getpid()
    folder = _folders.get(process)
    if folder is None or not _is_ours(folder):
        folder = _folders[process] = Path(tempfile.mkdtemp(prefix="rucio-lab-"))
        atexit.register(_remove, folder, process)
    return folder


def _is_ours(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == 0o700


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process and _is_ours(folder):  # a forked child inherits its parent's handlers
        shutil.rmtree(folder, ignore_errors=True)


# ------------------------------------------------------------------------------------------------ trusted CAs


@cache
def trust(paths: tuple[str, ...]) -> None:
    """Let XRootD trust the CAs of an instance.

    XRootD reads one set of CAs for the whole process, from the environment, at its first TLS connection. Variables that
    the user has set are not changed. If XRootD finds no CAs at its first connection, it gives up TLS for the whole
    process, unless told otherwise.

    Parameters
    ----------
    paths
        CA bundles and folders, see `rucio_lab.core.storage.tls.authority_paths`.
    """
    from XRootD.client import EnvPutInt

    if "X509_CERT_DIR" not in os.environ and "X509_CERT_FILE" not in os.environ:
        usual = ssl.get_default_verify_paths()
        path = next(filter(None, [*paths, usual.cafile, usual.capath]), None)
        if path is None:
            return
        os.environ["X509_CERT_DIR" if Path(path).is_dir() else "X509_CERT_FILE"] = path
    if "XRD_NOTLSOK" not in os.environ:
        EnvPutInt("NoTlsOK", 0)


# ------------------------------------------------------------------------------------------------ greeting


async def greet(url: str) -> Reason | None:
    """Greet an XRootD server with the first 20 bytes of its protocol; it replies with 16 bytes.

    Source: XRootD protocol specification, initial handshake.

    Returns
    -------
    Reason or None
        What is wrong; None if it greets back.
    """
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 1094)
    try:
        writer.write(struct.pack(">5i", 0, 0, 0, 4, 2012))
        await writer.drain()
        answer = await reader.readexactly(8)
    except asyncio.IncompleteReadError:
        return Reason(Cause.CLOSED_CONNECTION)
    finally:
        writer.close()
    return None if answer[2:4] == b"\x00\x00" else Reason(Cause.NO_XROOTD)
