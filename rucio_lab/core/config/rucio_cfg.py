"""Rucio's own ``rucio.cfg``: where it is, and its ``[client]`` section as our settings."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rucio_lab.core.config.settings import expand
from rucio_lab.core.errors import ConfigurationError


def rucio_cfg_path() -> Path | None:
    """Give the rucio.cfg that Rucio's own clients would use; None if there is none."""
    if explicit := os.environ.get("RUCIO_CONFIG"):
        return Path(expand(explicit))
    homes = [os.environ[name] for name in ("RUCIO_HOME", "VIRTUAL_ENV", "CONDA_PREFIX") if os.environ.get(name)]
    candidates = [Path(home) / "etc" / "rucio.cfg" for home in [*homes, "/opt/rucio"]]
    return next((path for path in candidates if path.is_file()), None)


def read_rucio_cfg(path: str | Path) -> Mapping[str, str]:
    """Read the ``[client]`` section of a rucio.cfg.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or has no such section.
    """
    parser = _parse_rucio_cfg(Path(path))
    try:
        return dict(parser.items("client"))
    except configparser.NoSectionError as error:
        raise ConfigurationError(f"{path} has no section [client].", "It looks like a server's rucio.cfg.") from error
    except configparser.InterpolationError:
        raise ConfigurationError(  # without the cause: it quotes the value, which may be the password
            f"{path} is not a valid rucio.cfg: there is a single % in the section [client].", "Write %% for each %."
        ) from None


def check_rucio_cfg() -> None:
    """Check the rucio.cfg that rucio reads when it is imported, whether we use it or not.

    Raises
    ------
    ConfigurationError
        If it cannot be read.
    """
    if path := rucio_cfg_path():
        _parse_rucio_cfg(path)


def _parse_rucio_cfg(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    try:
        parser.read_string(path.read_text())
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}.", "Correct the file or its path."
        ) from error
    except (configparser.Error, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise ConfigurationError(f"{path} is not a valid rucio.cfg: {first}.", "Correct it.") from error
    return parser


def settings_of(client: Mapping[str, str]) -> dict[str, Any]:
    """Translate the ``[client]`` section of a rucio.cfg into our settings, without the password."""
    names = {
        "rucio_host": "url",
        "auth_host": "auth_url",
        "auth_type": "auth",
        "account": "account",
        "vo": "vo",
        "username": "username",
        "ca_cert": "ca",
        "client_cert": "client_cert",
        "client_key": "client_key",
        "client_x509_proxy": "client_proxy",
        "ssh_private_key": "ssh_private_key",
        "oidc_issuer": "oidc_issuer",
        "oidc_audience": "oidc_audience",
        "oidc_scope": "oidc_scope",
        "oidc_refresh_lifetime": "oidc_refresh_lifetime",
        "auth_token_file_path": "token_file",
    }
    settings: dict[str, Any] = {ours: client[theirs] for theirs, ours in names.items() if client.get(theirs)}
    if (hours := settings.get("oidc_refresh_lifetime", "")).isdecimal():
        settings["oidc_refresh_lifetime"] = int(hours)
    return settings
