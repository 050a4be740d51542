"""TLS to storages: which CAs are trusted, and which certificate is shown."""

from __future__ import annotations

import os
import ssl
import threading
from pathlib import Path

from rucio_lab.core.config.settings import Instance, path_variable
from rucio_lab.core.identity.x509 import Proxy, find_proxy

GRID_CAS = "/etc/grid-security/certificates"
"""The folder of the CAs of the grid at most sites; ``X509_CERT_DIR`` names a different one."""


def authority_paths(instance: Instance) -> list[str]:
    """Give the CA bundles and folders that are trusted in addition to Python's own."""
    grid = path_variable("X509_CERT_DIR") or GRID_CAS
    paths = [instance.storage.ca, path_variable("X509_CERT_FILE"), grid if Path(grid).is_dir() else ""]
    return [path for path in paths if path]


def tls_context(instance: Instance) -> ssl.SSLContext:
    """Make the TLS context for an instance's storages: their CAs, and the X.509 proxy if there is one.

    It is cached until one of the files it is made from changes.
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
            context.load_cert_chain(proxy.path, password="")  # so that it never prompts for one at the terminal
        except (OSError, ValueError):  # it cannot be shown without its key
            return context
    return context


def _trust(context: ssl.SSLContext, path: str) -> str:
    """Load a CA bundle or folder; if that fails, say why."""
    try:
        is_folder = Path(path).is_dir()
        context.load_verify_locations(cafile=None if is_folder else path, capath=path if is_folder else None)
    except OSError as error:  # SSLError is one
        why = "it contains no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        return f"The CA file {path} cannot be used: {why}."
    return ""


def authorities(instance: Instance) -> tuple[str, str]:
    """Say which CAs are trusted, and what is wrong with the configured one, if anything."""
    paths = authority_paths(instance)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    problem = _trust(context, instance.storage.ca) if instance.storage.ca else ""
    return " and ".join([*paths, "Python's defaults"]), problem


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = Path(path).stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def _after_fork() -> None:
    global _tls_lock  # noqa: PLW0603
    _tls_lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
