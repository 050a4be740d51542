"""The credentials that storages are shown: a token, a certificate. They are separate from the sign-in to Rucio.

The rules: a token is sent only over TLS, only to a host that Rucio names for the RSE of the replica, and never to
another host after a redirect. The Rucio token is never sent to a storage. Credentials are read each time they are used,
so renewed ones take effect at once. They are never pickled, logged or put into an address.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.identity.token_store import TokenStore
from rucio_lab.core.identity.token_text import discovered_token
from rucio_lab.core.identity.x509 import Proxy, find_proxy, rsa_proxy
from rucio_lab.core.model import Replica
from rucio_lab.core.private import NotOwn, is_open_to_others, own_file
from rucio_lab.core.storage.storage_token import find_token, may_see_token
from rucio_lab.core.storage.tls import authorities, authority_paths
from rucio_lab.core.words import until


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What may be shown of a storage token."""

    source: str
    issuer: str
    audience: str
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class StorageFacts:
    """The credentials for an instance's storages, described without secrets.

    Attributes
    ----------
    token, proxy
        None if there is no usable one.
    ca
        Which CAs are trusted, as text.
    problems
        Sentences about credentials that were found or configured, but cannot be used.
    """

    token: TokenFacts | None
    proxy: Proxy | None
    ca: str
    problems: tuple[str, ...]


def describe(instance: Instance) -> StorageFacts:
    """Describe the credentials for an instance's storages: which token, which proxy, which CAs.

    If a token command is configured and its last token has expired, the command is run.
    """
    token, token_problem = find_token(instance)
    proxy, proxy_problem = find_proxy(instance)
    facts = TokenFacts(token.source, token.issuer, token.audience, token.expires) if token else None
    ca, ca_problem = authorities(instance)
    problems = (token_problem, proxy_problem, ca_problem, TokenStore(instance).problem(), *_open_files(instance))
    return StorageFacts(facts, proxy, ca, tuple(dict.fromkeys(filter(None, problems))))


def _open_files(instance: Instance) -> Iterator[str]:
    """Say which token files are not the user's own, and which can be read by others; the latter are used anyway."""
    for path in filter(None, dict.fromkeys((instance.token_file, instance.storage.token_file))):
        try:
            own_file(path)
            if is_open_to_others(Path(path).stat()):
                yield f"Others can read the token in {path}; chmod 600 {path}."
        except NotOwn as error:
            if path != instance.storage.token_file:  # already reported
                yield f"The token in {path} is not used: {error.strerror}."
        except OSError:
            continue


def in_words(facts: StorageFacts) -> list[str]:
    """Describe the credentials for an instance's storages, one per line."""
    lines = []
    if token := facts.token:
        audience = f" for {token.audience}" if token.audience else ""
        lines.append(f"storage token{audience} (from {token.source}){until(token.expires)}")
    if proxy := facts.proxy:
        groups = f", VOMS {' '.join(proxy.attributes)}" if proxy.attributes else ""
        lines.append(f"X.509 proxy of {proxy.subject}{until(proxy.expires)}{groups}")
    return [*lines, f"CAs: {facts.ca}"]


def why_refused(replica: Replica, instance: Instance, said: str) -> str:
    """Say which credentials a storage refused, and which were missing.

    Parameters
    ----------
    replica
        The replica that was to be read.
    instance
        The instance it belongs to.
    said
        What the storage said, for example ``HTTP 403``.

    Returns
    -------
    str
        Text that continues the storage's address.
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
    """Name the token that a storage was shown, if any, and say what may be wrong with it or why there was none."""
    token, problem = find_token(instance)
    if not token:
        return "", problem.rstrip(".") or "no storage token is configured"
    if not may_see_token(replica):
        return "", "a storage token is sent only over https and roots, to the host that Rucio names"
    if replica.scheme in _XROOTD_SCHEMES and discovered_token()[0] not in ("", token.text):
        return "", (
            "XRootD finds another token in the environment (BEARER_TOKEN, BEARER_TOKEN_FILE) and prefers it to the "
            "configured one: unset it, or set wlcg_token instead of the configured one"
        )
    file = os.environ.get("BEARER_TOKEN_FILE", "")
    with suppress(OSError):
        if replica.scheme in _XROOTD_SCHEMES and file and is_open_to_others(Path(file).stat()):
            return "", f"XRootD rejects a token file that others can read: chmod 600 {file}"
    made = f" for {token.audience}" if token.audience else ""
    made += f" from {token.issuer}" if token.issuer else ""
    return f"the storage token{made}", _scope_in_words(token.scope)


def _scope_in_words(scope: str) -> str:
    """Say what a token does not allow; empty if it allows reading everything, or does not say."""
    reads = [each for each in scope.split() if re.match(r"(storage\.)?read(:|$)", each)]
    if scope and not reads:
        return "the token has no scope for reading, such as storage.read:/"
    if reads and not any(each.partition(":")[2] in ("", "/") for each in reads):
        return f"the token allows reading only {' and '.join(each.partition(':')[2] for each in reads[:3])}"
    return ""


def _proxy_in_words(replica: Replica, instance: Instance) -> tuple[str, str]:
    """Name the proxy that a storage was shown, if any, and say what may be wrong with it or why there was none."""
    proxy, problem = find_proxy(instance)
    if not proxy:
        return "", problem.rstrip(".") or "there is no X.509 proxy"
    if replica.scheme == "http":
        return "", ""
    if replica.scheme in _XROOTD_SCHEMES:
        if not rsa_proxy(proxy.path):
            return "", f"XRootD accepts only RSA keys, and the X.509 proxy {proxy.path} has a different kind"
        if not any(Path(path).is_dir() for path in authority_paths(instance)):
            return "", (
                f"the X.509 proxy {proxy.path} was not shown: XRootD needs a folder with the CAs of the grid "
                "(set ca or X509_CERT_DIR)"
            )
    groups = " ".join(name.removesuffix("/Capability=NULL").removesuffix("/Role=NULL") for name in proxy.attributes)
    shown = f"the X.509 proxy of {proxy.subject}"
    if groups:
        return f"{shown} with {groups}", ""
    return shown, "the proxy has no VOMS attributes (voms-proxy-init -voms VO adds them)"
