"""The Rucio REST server as gunicorn serves it, with what Apache's mod_ssl and mod_wsgi would add to a request."""

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
    """Write the subject of a certificate as mod_ssl does: the last part first, joined by commas.

    Parameters
    ----------
    subject
        As ``ssl.SSLSocket.getpeercert`` gives it.
    """
    parts = ["+".join(f"{_SHORT.get(key, key)}={_escaped(value)}" for key, value in rdn) for rdn in subject]
    return ",".join(reversed(parts))


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Serve one request."""
    environ.setdefault("REQUEST_URI", environ.get("RAW_URI", ""))  # /redirect answers 500 without it
    connection = environ.get("gunicorn.socket")
    if isinstance(connection, ssl.SSLSocket) and (certificate := connection.getpeercert()):
        environ["SSL_CLIENT_S_DN"] = rfc2253(certificate["subject"])  # type: ignore[arg-type] # typeshed mixes the fields
    answer: Iterable[bytes] = rucio_application(environ, start_response)
    return answer
