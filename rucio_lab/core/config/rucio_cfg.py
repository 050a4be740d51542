"""Rucio's own ``rucio.cfg``: where it is, and its ``[client]`` section as our settings.

tests/core/config/test_as_rucio_reads.py compares all this with Rucio's own client.
"""

from __future__ import annotations

import configparser
import os
import re
from pathlib import Path
from typing import Any

from rucio_lab.core.config.settings import path_variable, variable, with_paths
from rucio_lab.core.errors import ConfigurationError

TRUSTED = "RUCIO_LAB_XROOTD_TRUSTS"
"""Environment variable for the value that we have given X509_CERT_DIR for XRootD; such a value is not the user's."""

_OPTIONS = {
    "rucio_host": ("url", ""),
    "auth_host": ("auth_url", ""),
    "auth_type": ("auth", ""),
    "account": ("account", ""),
    "vo": ("vo", ""),
    "username": ("username", "userpass"),
    "ca_cert": ("ca", ""),
    "client_cert": ("client_cert", "x509"),
    "client_key": ("client_key", "x509"),
    "client_x509_proxy": ("client_proxy", "x509_proxy"),
    "ssh_private_key": ("ssh_private_key", "ssh"),
    "oidc_issuer": ("oidc_issuer", "oidc"),
    "oidc_audience": ("oidc_audience", "oidc"),
    "oidc_scope": ("oidc_scope", "oidc"),
    "oidc_refresh_lifetime": ("oidc_refresh_lifetime", "oidc"),
    "auth_token_file_path": ("token_file", ""),
}
"""Option of rucio.cfg -> our setting, and the only way of signing in for which Rucio reads it; empty for all."""


def rucio_cfg_path() -> Path | None:
    """Give the rucio.cfg that Rucio's own clients would use; None if there is none."""
    if explicit := path_variable("RUCIO_CONFIG"):
        return Path(explicit)
    names = [name for name in ("RUCIO_HOME", "VIRTUAL_ENV", "CONDA_PREFIX") if variable(name)]
    homes = [*(os.environ[name] for name in names), "/opt/rucio"]
    homes += map(path_variable, names)  # Rucio does not expand these
    candidates = [Path(home) / "etc" / "rucio.cfg" for home in homes]
    return next((path for path in candidates if is_file(path)), None)


def is_file(path: Path) -> bool:
    """Whether a path is a file. Path.is_file() raises an error if a folder above it cannot be searched."""
    return os.path.isfile(path)  # noqa: PTH113


class ClientSection:
    """The section ``[client]`` of a rucio.cfg.

    A value is filled in when it is asked for, as Rucio does, so a mistake in another value does no harm.

    Parameters
    ----------
    path
        The rucio.cfg.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or has no such section.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self._parser = _parse(Path(path))
        if not self._parser.has_section("client"):
            raise ConfigurationError(f"{path} has no section [client].", "It looks like a server's rucio.cfg.")

    def get(self, option: str) -> str:
        """Give the value of an option; empty if it is not set.

        Raises
        ------
        ConfigurationError
            If there is a single ``%`` in it.
        """
        try:
            return self._parser.get("client", option, fallback="")
        except configparser.InterpolationError:
            raise ConfigurationError(  # without the cause: it quotes the value, which may be the password
                f"{self.path} is not a valid rucio.cfg: there is a single % in {option} in the section [client].",
                "Write %% for each %.",
            ) from None


def readable_rucio_cfg() -> configparser.ConfigParser:
    """Read the rucio.cfg that `rucio_cfg_path` gives; one that cannot be read, or does not exist, counts as empty."""
    path = rucio_cfg_path()
    try:
        return _parse(path) if path else configparser.ConfigParser()
    except ConfigurationError:  # load_instances reports it
        return configparser.ConfigParser()


def _parse(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    try:
        parser.read_string("\n".join(re.split("\r\n?|\n", read_utf8(path))))  # all line ends that Python's open() knows
    except configparser.Error as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise ConfigurationError(f"{path} is not a valid rucio.cfg: {first}.", "Correct it.") from error
    return parser


def read_utf8(path: Path) -> str:
    """Read a configuration file: UTF-8 in any locale, with or without a byte order mark.

    Raises
    ------
    ConfigurationError
        If it cannot be read.
    """
    try:
        if path.is_fifo():  # reading would wait for a writer
            raise ConfigurationError(f"{path} cannot be read: it is a pipe.", "Name a file.")
        return path.read_bytes().decode().removeprefix("\ufeff")
    except OSError as error:
        remedy = "Correct the file or its path."
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.", remedy) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not valid: it is not text in UTF-8.", "Save it as UTF-8.") from error


def settings_of(client: ClientSection, auth: str = "") -> dict[str, Any]:
    """Translate the ``[client]`` section of a rucio.cfg into our settings, without the password.

    Parameters
    ----------
    client
        The section.
    auth
        The way of signing in, if something else than the section decides it.

    Raises
    ------
    ConfigurationError
        If a value that is needed cannot be read.
    """
    auth = auth or client.get("auth_type").lower()
    settings: dict[str, Any] = {}
    for option, (ours, way) in _OPTIONS.items():
        try:
            value = client.get(option)
        except ConfigurationError:
            if way in ("", auth):
                raise
            continue
        if value:
            settings[ours] = value
    settings["auth"] = auth or "userpass"
    _take_number(settings, "oidc_refresh_lifetime", auth)
    folder = path_variable("X509_CERT_DIR")  # to Rucio's client, it counts more than ca_cert
    if os.path.isdir(folder) and folder != os.environ.get(TRUSTED):  # noqa: PTH112 - never raises
        settings["ca"] = folder
    return with_paths(settings)


def _take_number(settings: dict[str, Any], name: str, auth: str) -> None:
    """Make a setting of ``oidc`` a number; for other ways of signing in, Rucio accepts any text."""
    if settings.get(name, "").isdecimal():
        settings[name] = int(settings[name])
    elif auth != "oidc":
        settings.pop(name, None)
