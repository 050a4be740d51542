"""What is shown to storages: a token, a certificate, and which CAs are trusted; apart from the sign-in to Rucio.

The rules: a token goes only over TLS, only to a host that Rucio names for the RSE of the replica, and never on to
another host by a redirect. The Rucio token goes to no storage. Everything is read again when it is used, so that what
was renewed counts at once; nothing here is pickled, logged or part of an address.
"""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.identity import token_command
from rucio_lab.core.identity.token_store import TokenStore
from rucio_lab.core.identity.token_text import discovered_token, is_token, jwt_claims, jwt_expiry
from rucio_lab.core.identity.x509 import Proxy, find_proxy, rsa_proxy
from rucio_lab.core.model import Replica
from rucio_lab.core.private import NotOwn, Secret, is_open_to_others, own_file, unreadable
from rucio_lab.core.words import until

GRID_CAS = "/etc/grid-security/certificates"
"""Where the CAs of the grid lie on most sites; ``X509_CERT_DIR`` names another folder."""

_MARGIN = 60.0  # seconds before its end in which a token of a command is replaced
_OPAQUE_LIFE = 300.0  # seconds for which a token is kept that does not say when it ends

TLS_SCHEMES = ("https", "roots")


@dataclass(frozen=True, slots=True, repr=False)
class StorageToken:
    """A bearer token for storages, with what it says of itself. Has no repr, so that it cannot end up in a log.

    Attributes
    ----------
    text
        The token.
    source
        Where it comes from, in words.
    issuer, audience, scope
        Who made it, for whom, and for what; empty where it does not say.
    expires
        When it ends (UTC); None where that is not known.
    """

    text: Secret
    source: str
    issuer: str = ""
    audience: str = ""
    scope: str = ""
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What may be told of a storage token."""

    source: str
    issuer: str
    audience: str
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class StorageFacts:
    """What an instance's storages are shown; holds no secret.

    Attributes
    ----------
    token, proxy
        None where there is none of use.
    ca
        Which CAs are trusted, in words.
    problems
        Sentences on what is configured or there, and of no use.
    """

    token: TokenFacts | None
    proxy: Proxy | None
    ca: str
    problems: tuple[str, ...]


def describe(instance: Instance) -> StorageFacts:
    """Say what an instance's storages are shown: which token, which proxy, which CAs.

    A configured command for tokens is run, if the last token it gave has ended.
    """
    token, token_problem = find_token(instance)
    proxy, proxy_problem = find_proxy(instance)
    facts = TokenFacts(token.source, token.issuer, token.audience, token.expires) if token else None
    ca, ca_problem = _authorities(instance)
    problems = (token_problem, proxy_problem, ca_problem, TokenStore(instance).problem(), *_open_files(instance))
    return StorageFacts(facts, proxy, ca, tuple(dict.fromkeys(filter(None, problems))))


def _open_files(instance: Instance) -> Iterator[str]:
    """Say which token files are not this user's own, and which others can read; the latter are used all the same."""
    for path in filter(None, dict.fromkeys((instance.token_file, instance.storage.token_file))):
        try:
            own_file(path)
            if is_open_to_others(Path(path).stat()):
                yield f"Others can read the token in {path}; chmod 600 {path}."
        except NotOwn as error:
            if path != instance.storage.token_file:  # that has been said
                yield f"The token in {path} is not used: {error.strerror}."
        except OSError:
            continue


def in_words(facts: StorageFacts) -> list[str]:
    """Write what an instance's storages are shown, each thing a line."""
    lines = []
    if token := facts.token:
        audience = f" for {token.audience}" if token.audience else ""
        lines.append(f"storage token{audience} (from {token.source}){until(token.expires)}")
    if proxy := facts.proxy:
        groups = f", VOMS {' '.join(proxy.attributes)}" if proxy.attributes else ""
        lines.append(f"X.509 proxy of {proxy.subject}{until(proxy.expires)}{groups}")
    return [*lines, f"CAs: {facts.ca}"]


# ------------------------------------------------------------------------------------------------ the token


def find_token(instance: Instance) -> tuple[StorageToken | None, str]:
    """Look up the storage token of an instance as it is now: file, command, then WLCG discovery.

    Returns
    -------
    StorageToken or None
        None if there is none, or none that is still valid.
    str
        Why there is none though one is configured, as a sentence; else empty.
    """
    settings = instance.storage
    problem = ""
    if settings.token_file:
        token, problem = _from_file(settings.token_file)
    elif settings.token_command:
        token, problem = _from_command(settings.token_command)
    else:
        token = None
    if token is None and settings.wlcg_token:
        token, problem = _discovered()
    return token, problem


def authorization(replica: Replica, instance: Instance) -> Secret | None:
    """Give the value of the header ``Authorization`` for reading a replica, where the rules allow one.

    Parameters
    ----------
    replica
        With the PFN that Rucio named: its host is the only one that may see the token.
    instance
        Whose storage it is.
    """
    if not may_see_token(replica):
        return None
    token, _ = find_token(instance)
    return Secret(f"Bearer {token.text}") if token else None


def may_see_token(replica: Replica) -> bool:
    """Whether a replica is read over TLS, and from the very host that Rucio named."""
    return replica.scheme in TLS_SCHEMES and _host(replica.url) == _host(replica.pfn or replica.url)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return url


def _from_file(path: str) -> tuple[StorageToken | None, str]:
    try:
        text = own_file(path).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        return None, f"The storage token cannot be read from {path}: {unreadable(error)}."
    return _checked(text, path)


def _discovered() -> tuple[StorageToken | None, str]:
    source = "the WLCG bearer token discovery"
    text, refused = discovered_token()
    if refused is not None:
        return None, f"The storage token {refused.filename} is not used: {refused.strerror}."
    return _checked(text, source) if text else (None, f"No storage token was found by {source}.")


def _checked(text: str, source: str) -> tuple[StorageToken | None, str]:
    """Make a token of a text, if it can be one and has not ended."""
    if not is_token(text):
        return None, f"There is no storage token in what {source} gives."
    end = jwt_expiry(text)
    expires = datetime.fromtimestamp(end, UTC) if end is not None and 0 <= end < 1e11 else None
    if expires is not None and expires <= datetime.now(UTC):
        return None, f"The storage token from {source} ended at {expires:%Y-%m-%d %H:%M:%S} UTC."
    claims = jwt_claims(text)
    audience = claims.get("aud", "")
    names = audience if isinstance(audience, list) else [audience]
    issuer, scope = (str(claims.get(name, "")) for name in ("iss", "scope"))
    return StorageToken(Secret(text), source, issuer, ", ".join(map(str, names)), scope, expires), ""


_commands: dict[tuple[str, ...], tuple[StorageToken, float]] = {}
_command_lock = threading.Lock()


def _from_command(command: tuple[str, ...]) -> tuple[StorageToken | None, str]:
    """Give the token that a command printed; it is run again shortly before that token ends."""
    with _command_lock:  # who waits for it takes what it gave
        token, until = _commands.get(command, (None, 0.0))
        if token is not None and until > time.time():
            return token, ""
        fresh, problem = _run(command)
        if fresh is None:  # the old one may still be good for its last minute
            valid = token is not None and token.expires is not None and token.expires > datetime.now(UTC)
            return (token, "") if valid else (None, problem)
        now = time.time()
        end = fresh.expires.timestamp() if fresh.expires else now + _OPAQUE_LIFE + _MARGIN
        _commands[command] = (fresh, end - min(_MARGIN, (end - now) / 2))
        return fresh, ""


def _run(command: tuple[str, ...]) -> tuple[StorageToken | None, str]:
    name = Path(command[0]).name
    try:
        return _checked(token_command.output_of(command), f"the command {name}")
    except subprocess.TimeoutExpired:
        return None, f"The token command {name} did not end within {token_command.SECONDS:g} s."
    except subprocess.CalledProcessError as error:
        return None, f"The token command {name} failed with status {error.returncode}."
    except (OSError, ValueError) as error:
        return None, f"The token command {name} cannot be run: {getattr(error, 'strerror', None) or error}."


def _after_fork() -> None:
    global _command_lock, _tls_lock
    _command_lock, _tls_lock = threading.Lock(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# ------------------------------------------------------------------------------------------------ the certificate


# ------------------------------------------------------------------------------------------------ whom to trust


def authority_paths(instance: Instance) -> list[str]:
    """Give the CA bundles and folders that are trusted besides Python's own."""
    grid = os.environ.get("X509_CERT_DIR") or GRID_CAS
    paths = [instance.storage.ca, os.environ.get("X509_CERT_FILE", ""), grid if Path(grid).is_dir() else ""]
    return [path for path in paths if path]


def tls_context(instance: Instance) -> ssl.SSLContext:
    """Make the TLS context for an instance's storages: their CAs, and the X.509 proxy if there is one.

    One is kept for each state of the files that it is made of.
    """
    proxy, _ = find_proxy(instance)
    paths = [*authority_paths(instance), *([proxy.path] if proxy else [])]
    pythons = [os.environ.get(name, "") for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")]
    key = (*pythons, *paths, proxy is None, *map(_stamp, (*pythons, *paths)))
    with _tls_lock:
        if key not in _contexts:
            if len(_contexts) > 20:
                _contexts.clear()
            _contexts[key] = _make_context(authority_paths(instance), proxy)
        return _contexts[key]


_contexts: dict[tuple[object, ...], ssl.SSLContext] = {}
_tls_lock = threading.Lock()


def _make_context(authorities: list[str], proxy: Proxy | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for path in authorities:
        _trust(context, path)
    if proxy:
        try:
            context.load_cert_chain(proxy.path, password="")  # never asks for one at the terminal
        except (OSError, ValueError):  # without its key it cannot be shown
            return context
    return context


def _trust(context: ssl.SSLContext, path: str) -> str:
    """Load a CA bundle or folder; give why that cannot be done."""
    try:
        is_folder = Path(path).is_dir()
        context.load_verify_locations(cafile=None if is_folder else path, capath=path if is_folder else None)
    except OSError as error:  # SSLError is one
        why = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        return f"The CA file {path} cannot be used: {why}."
    return ""


def _authorities(instance: Instance) -> tuple[str, str]:
    """Say which CAs are trusted, and what is wrong with the configured one."""
    paths = authority_paths(instance)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    problem = _trust(context, instance.storage.ca) if instance.storage.ca else ""
    return " and ".join([*paths, "the usual ones of Python"]), problem


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = Path(path).stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


# ------------------------------------------------------------------------------------------------ what is missing


def why_refused(replica: Replica, instance: Instance, said: str) -> str:
    """Say what a storage was shown when it refused, and what was missing.

    Parameters
    ----------
    replica
        What was to be read.
    instance
        Whose storage it is.
    said
        What the storage said, for example ``HTTP 403``.

    Returns
    -------
    str
        Words for ``<endpoint> ...``.
    """
    shown_token, no_token = _token_in_words(replica, instance)
    shown_proxy, no_proxy = _proxy_in_words(replica, instance)
    shown = list(filter(None, (shown_token, shown_proxy)))
    lacking = list(filter(None, (no_token, no_proxy)))
    refused = f"refuses {' and '.join(shown)} ({said})" if shown else f"asks for credentials ({said})"
    words = "; ".join(f"{each[0].lower() if each[:2] != each[:2].upper() else each[0]}{each[1:]}" for each in lacking)
    return f"{refused}; {words}" if words else refused


_XROOTD_SCHEMES = ("root", "roots")


def _token_in_words(replica: Replica, instance: Instance) -> tuple[str, str]:
    """Name the token that a storage was shown, if any, and say what may be wrong with it, or why there was none."""
    token, problem = find_token(instance)
    if not token:
        return "", problem.rstrip(".") or "no storage token is configured"
    if not may_see_token(replica):
        return "", "a storage token is sent only over https and roots, to the host that Rucio names"
    if replica.scheme in _XROOTD_SCHEMES and discovered_token()[0] not in ("", token.text):
        return "", (
            "XRootD finds another token in the environment (BEARER_TOKEN, BEARER_TOKEN_FILE), which goes before the "
            "configured one: unset it, or set wlcg_token in place of the configured one"
        )
    file = os.environ.get("BEARER_TOKEN_FILE", "")
    with suppress(OSError):
        if replica.scheme in _XROOTD_SCHEMES and file and is_open_to_others(Path(file).stat()):
            return "", f"XRootD takes no token file that others can read: chmod 600 {file}"
    made = f" for {token.audience}" if token.audience else ""
    made += f" from {token.issuer}" if token.issuer else ""
    return f"the storage token{made}", _scope_in_words(token.scope)


def _scope_in_words(scope: str) -> str:
    """Say what a token does not allow; empty where it allows to read all, or does not say."""
    reads = [each for each in scope.split() if re.match(r"(storage\.)?read(:|$)", each)]
    if scope and not reads:
        return "the token has no scope for reading, such as storage.read:/"
    if reads and not any(each.partition(":")[2] in ("", "/") for each in reads):
        return f"the token is for reading {' and '.join(each.partition(':')[2] for each in reads[:3])} alone"
    return ""


def _proxy_in_words(replica: Replica, instance: Instance) -> tuple[str, str]:
    """Name the proxy that a storage was shown, if any, and say what may be wrong with it, or why there was none."""
    proxy, problem = find_proxy(instance)
    if not proxy:
        return "", problem.rstrip(".") or "there is no X.509 proxy"
    if replica.scheme == "http":
        return "", ""
    if replica.scheme in _XROOTD_SCHEMES:
        if not rsa_proxy(proxy.path):
            return "", f"XRootD takes only RSA keys, and that of the X.509 proxy {proxy.path} is another"
        if not any(Path(path).is_dir() for path in authority_paths(instance)):
            return "", (
                f"the X.509 proxy {proxy.path} was not shown: XRootD wants the CAs of the grid in a folder, "
                "which ca or X509_CERT_DIR may name"
            )
    groups = " ".join(name.removesuffix("/Capability=NULL").removesuffix("/Role=NULL") for name in proxy.attributes)
    shown = f"the X.509 proxy of {proxy.subject}"
    if groups:
        return f"{shown} with {groups}", ""
    return shown, "the proxy has no attributes of a VO, which voms-proxy-init -voms VO adds"
