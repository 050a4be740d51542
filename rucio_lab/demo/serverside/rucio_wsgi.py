"""The Rucio REST server for gunicorn; adds to each request what Apache's mod_ssl and mod_wsgi would add."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterable
from typing import Any

from rucio.web.rest.flaskapi.v1.main import application as rucio_application

_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "domainComponent": "DC",
    "userId": "UID",
}
_SPECIAL = re.compile(r'([,+"\\<>;])|(^[ #])|( $)')


def _escaped(value: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", value)


def rfc2253(subject: Iterable[Iterable[tuple[str, str]]]) -> str:
    """Format the subject of a certificate as mod_ssl does: in reverse order, separated by commas.

    Parameters
    ----------
    subject
        The subject from ``ssl.SSLSocket.getpeercert``.
    """
    parts = ["+".join(f"{_SHORT.get(key, key)}={_escaped(value)}" for key, value in rdn) for rdn in subject]
    return ",".join(reversed(parts))


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Serve one request."""
    environ.setdefault("REQUEST_URI", environ.get("RAW_URI", ""))  # without it /redirect answers 500
    connection = environ.get("gunicorn.socket")
    if isinstance(connection, ssl.SSLSocket) and (certificate := connection.getpeercert()):
        environ["SSL_CLIENT_S_DN"] = rfc2253(certificate["subject"])  # type: ignore[arg-type] # typeshed has one type for all fields
    answer: Iterable[bytes] = rucio_application(environ, start_response)
    return answer
