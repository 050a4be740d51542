"""The X.509 proxy: where it is, whose it is, and when it expires."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from rucio_lab.core.config.settings import Instance, path_variable
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
        When it expires (UTC): the earliest in its chain.
    attributes
        Its VOMS attributes (FQANs).
    """

    path: str
    subject: str
    expires: datetime
    attributes: tuple[str, ...] = ()


def find_proxy(instance: Instance) -> tuple[Proxy | None, str]:
    """Look up the X.509 proxy for an instance's storages.

    Returns
    -------
    Proxy or None
        None if there is no valid one.
    str
        A sentence on why an existing one cannot be used; else empty.
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
    """Give the path of the X.509 proxy for an instance's storages, even if there is none."""
    return _proxy_setting(instance) or usual_path()


def usual_path() -> str:
    """Give the path where grid tools put the user's proxy."""
    return f"/tmp/x509up_u{os.geteuid()}"  # noqa: S108


def _proxy_setting(instance: Instance) -> str:
    return instance.storage.proxy or path_variable("X509_USER_PROXY") or instance.client_proxy


def rsa_proxy(path: str) -> str:
    """Identify the content of an X.509 proxy, if XRootD's client can use it.

    A key that is not RSA crashes the whole process in that client (at least in 6.2).

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    str
        A text that is the same only for the same proxy; empty if there is none, or its key is not RSA.
    """
    with suppress(OSError, ValueError):
        certificates = _certificates(own_file(path))
        if _read_chain(certificates)[3]:
            return hashlib.sha256(certificates).hexdigest()[:16]
    return ""


@lru_cache(maxsize=8)
def _read_chain(content: bytes) -> tuple[str, datetime, tuple[str, ...], bool]:
    """Read the subject, when the chain expires, the VOMS attributes, and whether the key is RSA."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    chain = x509.load_pem_x509_certificates(content)
    end = min(each.not_valid_after_utc for each in chain)
    is_rsa = isinstance(chain[0].public_key(), RSAPublicKey)
    return chain[0].subject.rfc4514_string(), end, voms.attributes(chain), is_rsa


def _certificates(content: bytes) -> bytes:
    """Give the certificates of a proxy, without its key, which must not be kept."""
    return b"".join(re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", content, re.S))


def _read_proxy(path: str, content: bytes) -> tuple[Proxy | None, str]:
    try:
        subject, expires, attributes, _ = _read_chain(_certificates(content))
    except ValueError:
        return None, f"{path} contains no X.509 certificate."
    if b"PRIVATE KEY-----" not in content:
        return None, f"{path} contains no private key for its certificate."
    proxy = Proxy(path, subject, expires, attributes)
    if proxy.expires <= datetime.now(UTC):
        return None, f"The X.509 proxy {path} expired at {proxy.expires:%Y-%m-%d %H:%M} UTC."
    return proxy, ""
