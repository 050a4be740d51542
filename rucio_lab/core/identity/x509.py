"""The X.509 proxy: where it is, whose it is, and when it ends."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.identity import voms
from rucio_lab.core.private import own_file


@dataclass(frozen=True, slots=True)
class Proxy:
    """An X.509 proxy, or a certificate with its key.

    Attributes
    ----------
    path
        The file.
    subject
        Whose it is, in the order of RFC 4514.
    expires
        When it ends (UTC): the earliest end in its chain.
    attributes
        Its VOMS attributes (FQANs).
    """

    path: str
    subject: str
    expires: datetime
    attributes: tuple[str, ...] = ()


def find_proxy(instance: Instance) -> tuple[Proxy | None, str]:
    """Look up the X.509 proxy that an instance's storages are shown.

    Returns
    -------
    Proxy or None
        None if there is none, or none that is still valid.
    str
        Why the one that is there is of no use, as a sentence; else empty.
    """
    wanted, path = _proxy_setting(instance), proxy_path(instance)
    try:
        content = own_file(path, private=True)
    except FileNotFoundError:
        return None, f"There is no X.509 proxy {path}." if wanted else ""
    except OSError as error:
        return None, f"The X.509 proxy {path} cannot be read: {error.strerror}."
    return _read_proxy(path, content)


def proxy_path(instance: Instance) -> str:
    """Say where the X.509 proxy of an instance's storages lies, or would lie."""
    return _proxy_setting(instance) or f"/tmp/x509up_u{os.geteuid()}"  # noqa: S108 - where all proxies lie


def _proxy_setting(instance: Instance) -> str:
    return instance.storage.proxy or os.environ.get("X509_USER_PROXY") or instance.client_proxy


def rsa_proxy(path: str) -> str:
    """Name what an X.509 proxy holds, if XRootD's client can use it.

    A key that is not RSA ends the whole process in that client (6.2 at least).

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    str
        The same only for the same proxy; empty if the file holds none, or one with another kind of key.
    """
    with suppress(OSError, ValueError):
        certificates = _certificates(own_file(path))
        if _read_chain(certificates)[3]:
            return hashlib.sha256(certificates).hexdigest()[:16]
    return ""


@lru_cache(maxsize=8)
def _read_chain(content: bytes) -> tuple[str, datetime, tuple[str, ...], bool]:
    """Read whose certificate it is, when its chain ends, its VOMS attributes, and whether its key is RSA."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    chain = x509.load_pem_x509_certificates(content)
    end = min(each.not_valid_after_utc for each in chain)
    is_rsa = isinstance(chain[0].public_key(), RSAPublicKey)
    return chain[0].subject.rfc4514_string(), end, voms.attributes(chain), is_rsa


def _certificates(content: bytes) -> bytes:
    """Give what a proxy holds without its key, which is kept nowhere."""
    return b"".join(re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", content, re.S))


def _read_proxy(path: str, content: bytes) -> tuple[Proxy | None, str]:
    try:
        subject, expires, attributes, _ = _read_chain(_certificates(content))
    except ValueError:
        return None, f"{path} holds no X.509 certificate."
    if b"PRIVATE KEY-----" not in content:
        return None, f"{path} holds no private key beside its certificate."
    proxy = Proxy(path, subject, expires, attributes)
    if proxy.expires <= datetime.now(UTC):
        return None, f"The X.509 proxy {path} ended at {proxy.expires:%Y-%m-%d %H:%M} UTC."
    return proxy, ""
