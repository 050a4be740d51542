"""The layers of the configuration: each ``rucio_lab.toml`` is found, read and checked, and all are merged.

The remote configuration of a site is the weakest layer, and the only one with forbidden settings.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rucio_lab.core.config import presets, remote
from rucio_lab.core.config.rucio_cfg import is_file, read_utf8
from rucio_lab.core.config.settings import Downloads, Instance, expand, host_of, is_address, path_variable, with_paths
from rucio_lab.core.errors import ConfigurationError
from rucio_lab.core.jupyter_folders import config_folders
from rucio_lab.core.text import is_printable

FILE = "rucio_lab.toml"


def config_files() -> list[Path]:
    """Give all places to look for ``rucio_lab.toml``; later ones override earlier ones."""
    if explicit := path_variable("RUCIO_LAB_CONFIG"):
        return [Path(explicit)]
    return [folder / FILE for folder in reversed(config_folders())]


def existing_files() -> list[Path]:
    """Give the ``rucio_lab.toml`` that exist; later ones override earlier ones."""
    return [path for path in config_files() if is_file(path)]


class Layer(msgspec.Struct, forbid_unknown_fields=True):
    """One ``rucio_lab.toml``, before its instances are merged with those of other files.

    Attributes
    ----------
    default
        Name of the instance to use when none is named.
    remote
        https address of one more ``rucio_lab.toml``, maintained by a site; all files override it.
    remote_ca
        CA bundle (file or folder) to check the certificate of ``remote`` with; empty for the usual ones.
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


def read_toml(path: Path) -> Layer:
    """Read a file, with the paths in it relative to its folder.

    Raises
    ------
    ConfigurationError
        If it cannot be read, or is not valid.
    """
    try:
        layer = _layer(read_utf8(path))
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(
            f"{path} is not valid: {error}.", "Correct it; docs/configuration.md has examples."
        ) from error
    folder = path.parent.absolute()
    if layer.downloads.get("folder"):
        layer.downloads["folder"] = expand(layer.downloads["folder"], folder)
    if layer.remote_ca:
        layer.remote_ca = expand(layer.remote_ca, folder)
    for settings in layer.instances.values():
        settings.update(with_paths(settings, folder))
        settings.get("storage", {}).update(with_paths(settings.get("storage", {}), folder))
        for mount in settings.get("mounts", {}).values():
            mount["folder"] = expand(mount["folder"], folder)
    return layer


def _layer(text: str) -> Layer:
    """Read and check the text of a ``rucio_lab.toml``. The message of a ValidationError begins with the instance."""
    try:
        layer = msgspec.convert(tomllib.loads(text), Layer)
    except RecursionError:
        raise msgspec.ValidationError("it is nested too deeply") from None
    for name, settings in layer.instances.items():
        if isinstance(settings, dict) and isinstance(settings.get("auth"), str):
            settings["auth"] = settings["auth"].lower()
        try:
            msgspec.convert(settings, Instance)
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(f"instances.{name}: {error}") from None
    try:
        msgspec.convert(layer.downloads, Downloads)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"downloads: {error}") from None
    return layer


# ------------------------------------------------------------------------------------------------ the site's layer

REMOTE_SETTINGS = {
    *("url", "auth_url", "auth", "vo", "timeout", "schemes", "rse", "site"),
    *("oidc_issuer", "oidc_audience", "oidc_scope", "oidc_refresh_lifetime"),
}
"""The settings that a remote configuration may contain: where a Rucio is and how to talk to it. It may name no file or
program of this machine, and nothing that gives away an existing credential. All other settings are refused."""

REMOTE_WAYS = ("userpass", "x509", "x509_proxy", "oidc", "gss")
"""Values of ``auth`` that a remote configuration may choose: those that use no token or key file of this machine."""

CREDENTIALS = ("token_file", "token_command", "wlcg_token", "hub_token", "ssh_private_key")
"""Settings that send an existing secret to the instance. Whatever file sets one must also set the address."""


def remote_source(layers: Sequence[Layer]) -> remote.Source | None:
    """Give the address of the remote configuration; the last file that names one decides."""
    layer = next((layer for layer in reversed(layers) if layer.remote), None)
    return remote.Source(layer.remote, layer.remote_ca) if layer else None


def remote_layer(layers: Sequence[Layer]) -> tuple[Layer, list[str]]:
    """Read the copy of the remote configuration. If there is none, say why."""
    source = remote_source(layers)
    if source is None:
        return Layer(), []
    copy = remote.copy_of(source, read_remote)
    return (Layer(), [copy.failure]) if copy.text is None else (read_remote(copy.text), [])


def read_remote(text: str) -> Layer:
    """Read a remote configuration.

    Raises
    ------
    ConfigurationError
        If it is not valid, or has forbidden settings.
    """
    remedy = "Ask its maintainer to correct it; docs/configuration.md lists what it may set."
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
    """Say which rule a remote configuration breaks for an instance; empty if it breaks none."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):  # the host of another instance would take its place
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
    if not is_address(address):
        return "has no usable address"
    if not address.startswith("https://"):
        return "has an address without https"
    return "has an address on the machine itself, or on its own link," if _is_local(address) else ""


def _is_local(url: str) -> bool:
    """Whether an address is on this machine or its own link, where services trust their callers."""
    host = host_of(url).rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:  # inet_aton reads every spelling that programs accept, such as 127.1 and 0x7f000001
        address = ipaddress.ip_address(host.partition("%")[0] if ":" in host else socket.inet_aton(host))
    except (ValueError, OSError):
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_link_local or address.is_unspecified


def _texts(value: Any) -> list[str]:
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]


# ------------------------------------------------------------------------------------------------ all layers merged


def merge(given: Layer, layers: Sequence[Layer]) -> dict[str, dict[str, Any]]:
    """Merge the files key by key; later ones override earlier ones. The remote layer fills in what no file sets."""
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
                f"{secret[0]} of instance {name!r} is set here, but its address only in the remote configuration.",
                f"Set its url beside {secret[0]}: secrets are sent only to addresses in files of this machine.",
            )
        keep = settings.keys() - ({"url", "auth_url", "auth"} if own else set())
        merged[name] = {**{key: settings[key] for key in keep}, **mine}
    return merged
