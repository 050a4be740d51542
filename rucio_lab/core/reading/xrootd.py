"""XRootD's own client: its time limits, and what it may take from this machine.

The client takes options from the address of a file, and also from the address in a server's redirect:
``xrd.ztn=PATH`` makes it send that file as a token, whatever it is. What the first address says
takes precedence over a redirect. So every address that we open sets all of these options, to what XRootD would use by
default.

Source: XRootD 6.2, ``XrdClXRootDMsgHandler.cc`` (redirects), ``XrdSecPManager.cc`` and the security plug-ins (options);
tests/core/reading/test_xrootd.py holds the client to it.
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
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.identity.token_text import discovered_token
from rucio_lab.core.identity.x509 import find_proxy, rsa_proxy
from rucio_lab.core.model import Replica
from rucio_lab.core.reasons import Cause, Reason
from rucio_lab.core.storage.storage_token import StorageToken, find_token, may_see_token

# Name of XRootD's setting: (its default, ours). With the default times, in seconds, a server that is down holds a read
# for 480 s, and one that never answers for half an hour. StreamErrorWindow is for how long a server that failed is not
# asked again, TimeoutResolution how often XRootD looks whether a time limit has passed. A metalink is a list of
# addresses, with options, that a server can send in place of a file.
_SETTINGS = {
    "ConnectionWindow": (120, 60),
    "ConnectionRetry": (5, 1),
    "RequestTimeout": (1800, 60),
    "StreamErrorWindow": (1800, 2),
    "TimeoutResolution": (15, 1),
    "MetalinkProcessing": (1, 0),
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
    """Set up XRootD's client for this process: time limits, no metalinks, and nothing that a redirect can choose.

    For whoever reads plain ``root://`` addresses through fsspec, as uproot does, its file system is replaced by one
    that names all options (`rucio_lab.core.reading.root_filesystem`). For other readers only the environment is left,
    which a redirect overrules: see docs/tools.md.
    """
    _limit()
    _keep_tokens()
    _register()


@cache
def _limit() -> None:
    """Change settings of this process only, and never the user's own.

    Sixty seconds stay: a healthy but slow site can take long to open a file.
    """
    from XRootD.client import EnvGetInt, EnvPutInt

    for name, (default, ours) in _SETTINGS.items():
        if f"XRD_{name.upper()}" not in os.environ and EnvGetInt(name) == default:
            EnvPutInt(name, ours)


def _keep_tokens() -> None:
    """Leave ``ztn`` out of the protocols of this process while there is no token that it could send."""
    ours = ",".join(_USUAL)
    if _found_first():
        if os.environ.get(PROTOCOLS) == ours:
            del os.environ[PROTOCOLS]
    else:
        os.environ.setdefault(PROTOCOLS, ours)


@cache
def _register() -> None:
    from fsspec import register_implementation

    register_implementation("root", "rucio_lab.core.reading.root_filesystem.RootFileSystem", clobber=True)


# ------------------------------------------------------------------------------------------------ addresses


def without_options(rest: str) -> str:
    """Strip from an address what is meant for XRootD's client and not for the storage.

    Parameters
    ----------
    rest
        A PFN without its scheme. Other options stay, such as ``authz``, which is a secret.
    """
    path, question, query = rest.partition("?")
    kept = [option for option in re.split("[?&]", query) if option and not _is_for_client(option)]
    return f"{path}?{'&'.join(kept)}" if question and kept else path


def _is_for_client(option: str) -> bool:
    return unquote(option).strip().lower().startswith(("xrd.", "xrdcl."))


def xrootd_url(replica: Replica, instance: Instance) -> str:
    """Write the address of a replica for XRootD's client, with all options that name a file or a protocol.

    A token is sent only over TLS. A user name of their own keeps connections with different credentials apart.
    """
    scheme, _, rest = replica.url.partition("://")
    url = f"{scheme}://{without_options(rest)}"
    token, _ = find_token(instance) if may_see_token(replica) else (None, "")
    if token and _found_first() not in ("", token.text):
        token = None  # XRootD would send the token of the environment, which nobody means for this storage
    proxy = _proxy(instance)
    shown = [token.text if token else "", rsa_proxy(proxy)]
    if any(shown) and "@" not in rest.partition("/")[0]:
        url = f"{scheme}://{_digest(*shown)}@{without_options(rest)}"
    return with_options(url, token_file=_private_file(token) if token else "", proxy=proxy)


def _proxy(instance: Instance) -> str:
    """Give the X.509 proxy that an instance's storages are shown."""
    if _PROXY in os.environ and not (instance.storage.proxy or instance.client_proxy):
        return os.environ[_PROXY]
    proxy, _ = find_proxy(instance)
    return proxy.path if proxy else _nowhere()


def _nowhere() -> str:
    """Name a file that is not there; of /dev/null XRootD would make a proxy, where it has a certificate."""
    return str(_private_folder() / "none")


def with_options(url: str, *, token_file: str = "", proxy: str = "", ztn: bool = False) -> str:
    """Add the options that an address does not have yet.

    Parameters
    ----------
    url
        A ``root://`` or ``roots://`` address.
    token_file
        The file of the token that the storage may see; empty for none.
    proxy
        The X.509 proxy that it may see; empty for the one that XRootD finds by itself.
    ztn
        Whether XRootD may send the token that it finds by itself.
    """
    protocols = ("ztn", *_USUAL) if token_file or ztn else _USUAL
    get, home = os.environ.get, Path.home()
    proxy = proxy or get(_PROXY) or get("X509_USER_PROXY") or f"/tmp/x509up_u{os.geteuid()}"  # noqa: S108
    options = {
        "xrdcl.rucio-lab": "1",  # what stands behind a second question mark counts as another option: never ours
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
    """Add the options with what XRootD finds by itself, where there is no instance to say better."""
    _keep_tokens()
    return with_options(url, ztn=bool(_found_first()))


def _users_protocols() -> str:
    """Give the security protocols that the user has chosen, not `_keep_tokens`."""
    chosen = os.environ.get(PROTOCOLS, "")
    return "" if chosen == ",".join(_USUAL) else chosen


def _found_first() -> str:
    """Give the token that XRootD finds by itself, which it sends before any that an address names."""
    return discovered_token()[0]


@cache
def _kerberos_cache() -> str:
    """Name the credential cache that Kerberos takes by itself."""
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
    """Give the credential cache as an option; what is no file, such as ``KCM:``, has no secret in its name."""
    name = _kerberos_cache()
    kind, colon, path = name.partition(":")
    if not colon or kind == "FILE":
        return _link(path if colon else name)
    return os.devnull if re.search(r"[&?#\s]", name) else name


def _proxy_file(path: str) -> str:
    """Give each proxy a path of its own: XRootD keeps what it once found at one, for the life of the process."""
    name = rsa_proxy(path)
    return _link(path, name) if name else _nowhere()


def _file(path: str | Path) -> str:
    """Give a file as the value of an option; an empty one where it is not there, or a redirect could name another."""
    return _link(str(path)) if path and Path(path).exists() else os.devnull


def _link(path: str, name: str = "") -> str:
    """Give another name of a file: the options go to the storage, which learns no path of this machine so.

    Nor does XRootD decode anything, so that such a name holds no character that an address cannot.
    """
    target = str(Path(path).absolute())
    link = _private_folder() / (name or hashlib.sha256(os.fsencode(target)).hexdigest()[:16])
    with suppress(FileExistsError):
        link.symlink_to(target)
    return str(link)


def _digest(*shown: str) -> str:
    return "t" + hashlib.sha256("/".join(shown).encode()).hexdigest()[:7]


def _private_file(token: StorageToken) -> str:
    """Give a file with the token that is for its owner alone, as XRootD demands."""
    source = Path(token.source)
    with suppress(OSError):
        status = source.stat()
        private = stat.S_IMODE(status.st_mode) & 0o077 == 0 and status.st_uid == os.geteuid()
        if private and source.is_absolute():  # it may be words, such as "the command oidc-token"
            return _link(token.source)
    path = _private_folder() / _digest(token.text)
    if not path.exists():
        handle, temporary = tempfile.mkstemp(dir=path.parent)  # made with mode 0600
        with os.fdopen(handle, "w") as file:
            file.write(token.text)
        Path(temporary).replace(path)
    return str(path)


_folders: dict[int, Path] = {}


def _private_folder() -> Path:
    """Give a folder of this process's own (0700), which goes when it ends.

    One that is gone is made anew under another name: who cleans up in the folder for temporary files leaves a name
    that another user could take.
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
    if os.getpid() == process and _is_ours(folder):  # a forked child has its parent's handlers, too
        shutil.rmtree(folder, ignore_errors=True)


# ------------------------------------------------------------------------------------------------ authorities


@cache
def trust(paths: tuple[str, ...]) -> None:
    """Let XRootD trust the CAs of an instance: one set for the whole process, from the environment, at its first TLS.

    The user's own environment is left as it is. If XRootD found no CAs at its first connection, it has given up TLS for
    the whole process, unless it is told otherwise.

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
    """Greet an XRootD server: the first 20 bytes of its protocol, which it answers with 16 of its own.

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
