"""Which Rucio instances there are, from ``rucio_lab.toml``, ``rucio.cfg`` and the environment.

If there is a ``rucio.cfg``, nothing else is needed: it becomes one instance, named after its host. Further settings
are in ``rucio_lab.toml`` on Jupyter's configuration path (``jupyter --paths``: system, user and environment, merged key
by key in Jupyter's own order of precedence), or in the file that ``RUCIO_LAB_CONFIG`` names::

    default = "escape"

    [instances.escape]
    url = "https://vre-rucio.cern.ch"
    auth_url = "https://vre-rucio-auth.cern.ch"
    auth = "x509_proxy"
    account = "jdoe"

    [instances.escape.mounts.CERN-EOS]
    prefix = "/eos/"
    folder = "/mnt/eos"

Relative paths are relative to the file that contains them. The package brings presets for well-known instances
(`rucio_lab.core.config.presets`). ``remote`` names one more file, maintained by a site; local files override it
(`rucio_lab.core.config.remote`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote, urlsplit

import msgspec

from rucio_lab.core.config import presets, remote
from rucio_lab.core.config.layers import (
    FILE,
    existing_files,
    merge,
    read_remote,
    read_toml,
    remote_layer,
    remote_source,
)
from rucio_lab.core.config.rucio_cfg import ClientSection, rucio_cfg_path, settings_of
from rucio_lab.core.config.settings import Auth, Downloads, Instance, expand, is_address, path_variable, variable
from rucio_lab.core.errors import ConfigurationError
from rucio_lab.core.private import lab_folder
from rucio_lab.core.text import hidden_in, sendable

NO_INSTANCE_REMEDY = (
    "Set RUCIO_CONFIG to your rucio.cfg, or write rucio_lab.toml into ~/.jupyter "
    f'(default = "escape" is enough for a preset: {", ".join(presets.names())}); '
    "`rucio-lab demo` starts a small lake to try things on, and `rucio-lab doctor` shows where it looked."
)


class Instances:
    """The configured instances, by name.

    Parameters
    ----------
    instances
        All instances.
    default
        Name of the one to use when none is named; None if that is not clear.
    sources
        The files they come from; later ones override earlier ones.
    problems
        Sentences about what was found but could not be used.
    """

    def __init__(
        self,
        instances: tuple[Instance, ...],
        default: str | None = None,
        sources: tuple[Path, ...] = (),
        problems: tuple[str, ...] = (),
    ) -> None:
        self._instances = {instance.name: instance for instance in instances}
        self.default_name = default
        self.sources = sources
        self.problems = problems

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all instances."""
        return tuple(self._instances)

    def __iter__(self) -> Iterator[Instance]:
        return iter(self._instances.values())

    def get(self, name: str | None = None) -> Instance:
        """Find an instance.

        Parameters
        ----------
        name
            Its name or host; None for the default one.

        Raises
        ------
        ConfigurationError
            If there is no such instance, or no default.
        """
        if name is not None and (instance := self._find(name)) is not None:
            return instance
        if not self._instances:
            raise ConfigurationError(" ".join(["No Rucio instance is configured.", *self.problems]), NO_INSTANCE_REMEDY)
        known = "Known instances: " + ", ".join(self.names) + "."
        if name is not None:
            raise ConfigurationError(f"There is no Rucio instance {name!r}.", known)
        if self.default_name is None:
            raise ConfigurationError(
                f"Several Rucio instances are configured, and none is the default. {known}",
                f"Name one, or set default in {FILE}.",
            )
        return self._instances[self.default_name]

    def _find(self, name: str) -> Instance | None:
        """Find an instance by its name, or else by its host."""
        if name in self._instances:
            return self._instances[name]
        candidates = chain(self, self._presets())
        return next((one for one in candidates if name in (one.name, one.host, one.url)), None)

    def _presets(self) -> Iterator[Instance]:
        """Give the presets that are not configured. They are not listed, but can be named."""
        return (_complete(name, {}) for name in presets.names() if name not in self._instances)


def load_instances() -> Instances:
    """Read the current configuration.

    Raises
    ------
    ConfigurationError
        If a ``rucio_lab.toml`` cannot be read, or is not valid.
    """
    files = existing_files()
    explicit = variable("RUCIO_LAB_CONFIG")
    if explicit and not files:
        raise ConfigurationError(f"RUCIO_LAB_CONFIG names {explicit}, which is not a file.", "Correct or unset it.")
    layers = [read_toml(path) for path in files]
    given, missing = remote_layer(layers)
    default = next((layer.default for layer in reversed([given, *layers]) if layer.default), None)
    merged = merge(given, layers)
    if default in presets.names():
        merged.setdefault(default, {})
    instances = [_complete(name, settings) for name, settings in merged.items()]
    found, problems = (None, []) if explicit else _from_rucio_cfg()
    if found is not None and not any(instance.url == found.url for instance in instances):
        instances.append(found)
        default = default or found.name
    if default is None and len(instances) == 1:
        default = instances[0].name
    if default is not None and default not in {instance.name for instance in instances}:
        raise ConfigurationError(f"The default instance {default!r} of {FILE} is not configured.", "Correct default.")
    return Instances(tuple(instances), default, tuple(files), (*missing, *problems))


def check_remote() -> tuple[str, remote.Copy] | None:
    """Fetch the site's remote configuration now, if there is one.

    Returns
    -------
    tuple of str and Copy, or None
        Its address, and the last good copy with what has gone wrong since.

    Raises
    ------
    ConfigurationError
        If a file cannot be read.
    """
    source = remote_source([read_toml(path) for path in existing_files()])
    return (source.url, remote.refresh(source, read_remote)) if source else None


def load_downloads() -> Downloads:
    """Read the current settings of downloads.

    Raises
    ------
    ConfigurationError
        If a ``rucio_lab.toml`` cannot be read, or is not valid.
    """
    settings: dict[str, Any] = {}
    for path in existing_files():
        settings |= read_toml(path).downloads
    known = msgspec.convert(settings, Downloads)
    with suppress(ConfigurationError):  # whoever uses the folder reports it
        return msgspec.structs.replace(known, folder=expand(known.folder))
    return known


def _complete(name: str, settings: Mapping[str, Any]) -> Instance:
    """Take what ``rucio_lab.toml`` does not set from the instance's rucio.cfg or a preset, and check the result."""
    if cfg := settings.get("rucio_cfg"):
        known = settings_of(ClientSection(cfg), settings.get("auth", ""))
    else:
        known = {} if settings.get("url") else dict(presets.settings(name))
    if settings.get("hub_token"):
        known |= {"auth": "token", "token_file": _hub_file(name, "token")}
    known |= {**settings, "name": name}
    if known.get("storage", {}).get("hub_token"):
        known["storage"] = {"token_file": _hub_file(name, "storage"), **known["storage"]}
    for key in ("url", "auth_url"):
        if key in known:
            known[key] = known[key].rstrip("/")
    known["auth_url"] = known.get("auth_url") or known.get("url", "")
    try:
        instance = msgspec.convert(known, Instance)
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"Instance {name!r} is not valid: {error}.", "Correct it; docs/configuration.md has examples."
        ) from error
    _check(instance)
    return instance


def _check(instance: Instance) -> None:
    """Check what becomes part of a request to Rucio."""
    for key in ("url", "auth_url"):
        if not is_address(getattr(instance, key)):
            raise ConfigurationError(
                f"Instance {instance.name!r} has no usable {key}: {getattr(instance, key).rpartition('@')[2]!r}.",
                f'Set {key} = "https://..." in {FILE}, or rucio_host and auth_host in rucio.cfg.',
            )
    for key in ("account", "vo"):
        value = getattr(instance, key)
        if not sendable(value):
            hidden = f" (it contains {hidden_in(value)})" if hidden_in(value) else ""
            raise ConfigurationError(
                f"The {key} of instance {instance.name!r} cannot be sent to Rucio: {value!r}{hidden}.",
                f"Correct {key} in {FILE} or rucio.cfg, or RUCIO_{key.upper()} in the environment.",
            )


def _from_rucio_cfg() -> tuple[Instance | None, list[str]]:
    """Make an instance from the user's rucio.cfg and Rucio's environment variables; or say what is wrong with them."""
    path = rucio_cfg_path()
    if path is None:
        return None, []
    try:
        given = _from_environment()
        settings = {**settings_of(ClientSection(path), given.get("auth", "")), **given}
        name = _host_in(settings.get("url", "")) or str(path)
        return _complete(name, {**settings, "rucio_cfg": str(path)}), []
    except ConfigurationError as error:
        return None, [str(error)]


def _host_in(url: str) -> str:
    """Give host and port of an address, without a password; empty if it is not valid."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:  # such as http://[::1
        return ""


def _from_environment() -> dict[str, str]:
    """Read Rucio's environment variables. Rucio fails if one is empty; to us, it is not set then.

    Raises
    ------
    ConfigurationError
        If RUCIO_AUTH_TYPE names no way of signing in.
    """
    auth = variable("RUCIO_AUTH_TYPE").lower()
    if auth and auth not in get_args(Auth):
        raise ConfigurationError(
            f"RUCIO_AUTH_TYPE is {auth!r}, which is no way to sign in.", f"It is one of {', '.join(get_args(Auth))}."
        )
    given = {
        "account": variable("RUCIO_ACCOUNT"),
        "vo": variable("RUCIO_VO"),
        "auth": auth,
        "client_cert": path_variable("RUCIO_CLIENT_CERT"),
        "client_key": path_variable("RUCIO_CLIENT_KEY"),
        "client_proxy": path_variable("RUCIO_CLIENT_PROXY"),
    }
    return {name: value for name, value in given.items() if value}


def _hub_file(name: str, kind: str) -> str:
    """Give the default file for a token from JupyterHub."""
    return str(lab_folder("hub") / f"{quote(name, safe='')}.{kind}")
