"""The issuer of the tokens that the storages accept: two files on a web server, and a key to sign with."""

from __future__ import annotations

import base64
import json
import secrets
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.leaks import SECRETS

AUDIENCE = "https://storage.example"
"""The audience that the storages require."""

BAD_TOKENS: dict[str, dict[str, Any]] = {
    "expired": {"seconds": -60},
    "other audience": {"audience": "https://other.example"},
    "no scope for storages": {"scope": "openid offline_access"},
    "another path": {"scope": "storage.read:/elsewhere"},
    "forged signature": {"forged": True},
    "other issuer": {"issuer": "https://nobody.example"},
}
"""What is wrong with a token -> arguments of `Issuer.token`."""


class Issuer:
    """An issuer of WLCG tokens.

    Parameters
    ----------
    url
        Its address, where a web server serves the folder.
    folder
        Folder for its public files; it is created.

    Attributes
    ----------
    header
        The header of every token, encoded.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._key = ec.generate_private_key(ec.SECP256R1())
        known = self._key.public_key().public_numbers()
        key = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": secrets.token_hex(8)}
        key |= {"x": _base64(known.x.to_bytes(32, "big")), "y": _base64(known.y.to_bytes(32, "big"))}
        self.header = _json({"alg": "ES256", "typ": "JWT", "kid": key["kid"]})
        (folder / ".well-known").mkdir(parents=True)
        discovery = {"issuer": url, "jwks_uri": f"{url}/jwks"}
        (folder / ".well-known" / "openid-configuration").write_text(json.dumps(discovery))
        (folder / "jwks").write_text(json.dumps({"keys": [key]}))

    def token(
        self,
        *,
        audience: str = AUDIENCE,
        seconds: int = 3600,
        scope: str = "storage.read:/",
        issuer: str = "",
        forged: bool = False,
    ) -> str:
        """Issue a token for the storages.

        Parameters
        ----------
        audience
            Its audience.
        seconds
            Validity from now; negative for an expired token.
        scope
            Its scopes.
        issuer
            Another issuer for the token to name.
        forged
            Whether it is signed with a key that is not the issuer's.
        """
        now = int(time.time())  # SciTokens accepts only whole numbers
        claims: dict[str, Any] = {"iss": issuer or self.url, "sub": "alice", "aud": audience, "scope": scope}
        claims |= {"iat": now - 90, "nbf": now - 90, "exp": now + seconds, "jti": secrets.token_hex(8)}
        signed = f"{self.header}.{_json({**claims, 'wlcg.ver': '1.0'})}"
        key = ec.generate_private_key(ec.SECP256R1()) if forged else self._key
        r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = _base64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return SECRETS.add(f"{signed}.{signature}", "a storage token")


def _json(part: dict[str, Any]) -> str:
    return _base64(json.dumps(part).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
