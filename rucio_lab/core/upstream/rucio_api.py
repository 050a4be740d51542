"""The one place where rucio is imported.

Rucio decides by its rucio.cfg whether it is a client or a server, and a client that thinks it is a server fails in
odd ways. So an environment variable says it while rucio is imported.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rucio_lab.core.config.rucio_cfg import readable_rucio_cfg, rucio_cfg_path
from rucio_lab.core.errors import ConfigurationError
from rucio_lab.core.text import printable


@contextmanager
def _client_mode() -> Iterator[None]:
    before = os.environ.get("RUCIO_CLIENT_MODE")
    os.environ["RUCIO_CLIENT_MODE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["RUCIO_CLIENT_MODE"]
        else:
            os.environ["RUCIO_CLIENT_MODE"] = before


def _make_configuration_readable() -> None:
    """Give Rucio our reading of its rucio.cfg where its own fails, which every import of Rucio would.

    It fails if RUCIO_CONFIG is empty, contains ``~``, or names a file that cannot be read, and if the file is not in
    the encoding of the locale. Settings of instances do not come from there.
    """
    from rucio.common import config

    class Config(config.Config):  # type: ignore[misc]
        def __init__(self) -> None:
            try:
                super().__init__()
            except (exception.ConfigLoadingError, configparser.Error, UnicodeError):
                self.parser = readable_rucio_cfg()

    config.Config = Config


try:
    with _client_mode():
        from rucio.common import exception

        _make_configuration_readable()
        from rucio.client import Client
        from rucio.common.constants import HTTPMethod
        from rucio.common.utils import build_url, chunks, parse_response
        from rucio.common.utils import parse_did_filter_from_string_fe as parse_filters
        from rucio.rse.translation import RSEDeterministicTranslation
except Exception as error:
    raise ConfigurationError(
        f"Rucio's client library cannot be imported: {printable(str(error))[:300].rstrip('. ')}.",
        "Check the sections other than [client] in rucio.cfg, or run: pip install --force-reinstall rucio-clients.",
    ) from error

__all__ = [
    "Client",
    "HTTPMethod",
    "RSEDeterministicTranslation",
    "build_url",
    "chunks",
    "download_client",
    "exception",
    "parse_filters",
    "parse_response",
    "reading_rucio_cfg",
]


@contextmanager
def reading_rucio_cfg() -> Iterator[None]:
    """Turn what rucio.client raises for wrong values in its rucio.cfg into an error of ours.

    It always reads some options of ``[client]``, also for an instance that is configured elsewhere.

    Raises
    ------
    ConfigurationError
        If a value is not valid, such as one that should be a number.
    """
    try:
        yield
    except (configparser.InterpolationError, ValueError) as error:
        raise ConfigurationError(
            f"The section [client] of {rucio_cfg_path()} is not valid: {printable(str(error)).splitlines()[0]}.",
            "auth_oidc_refresh_active is true or false, auth_oidc_refresh_before_exp a number; %% means a single %.",
        ) from error


_CLASSES = ("rucio.rse.protocols.gfal.Default", "rucio.rse.protocols.gfal.NoRename")
"""The classes of rucio-clients that may read files: both use gfal2 and run no program."""


def download_client(client: Client, scheme: str) -> Any:
    """Give rucio-clients' DownloadClient, for a process of its own. It is slow to import.

    By itself it makes clients to ask about RSEs, which sign in again, and leave a token in a file that all Rucio
    servers share. It also imports any class that Rucio names for a protocol, and passes hosts from Rucio to programs.
    So this function supplies what it knows about an RSE, and lets Rucio choose only between two classes.

    Parameters
    ----------
    client
        The client to ask Rucio with.
    scheme
        The only scheme to use.
    """

    def settings(rse: str, **_: Any) -> dict[str, Any]:
        named = {protocol.get("impl") for protocol in client.get_rse(rse)["protocols"]}
        its = next((each for each in reversed(_CLASSES) if each in named), _CLASSES[0])
        protocol = {"scheme": scheme, "impl": its, "domains": {"wan": {"read": 1}}, "extended_attributes": None}
        return {"rse": rse, "deterministic": False, "protocols": [protocol]}

    with _client_mode():
        from rucio.client.downloadclient import DownloadClient
        from rucio.rse import rsemanager
    setattr(rsemanager, "__request_rse_info", settings)
    setattr(
        rsemanager, "__get_signed_url", lambda rse, service, op, url, *_: client.get_signed_url(rse, service, op, url)
    )
    return DownloadClient
