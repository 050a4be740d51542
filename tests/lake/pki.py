"""The certificate authority of the lake, and the certificates of servers and users, and proxies (RFC 3820)."""

from __future__ import annotations

import datetime
import os
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

_Key = rsa.RSAPrivateKey  # as in the grid; gsi supports no others
_LIFE = datetime.timedelta(days=30)
# ProxyCertInfo with the policy language id-ppl-inheritAll (1.3.6.1.5.5.7.21.1) and no path length limit, in DER
_PROXY_INFO = x509.UnrecognizedExtension(
    ObjectIdentifier("1.3.6.1.5.5.7.1.14"), bytes.fromhex("300c300a06082b06010505071501")
)

VO = "lake"
"""The VO whose members can read from the storage that requires proxies."""


@dataclass(frozen=True)
class User:
    """A user with a certificate.

    Attributes
    ----------
    name
        Name of the user, and of the files.
    dn
        Subject in Rucio's format (RFC 2253).
    cert, key
        Separate PEM files.
    pem
        Both in one PEM file, which grid programs accept in place of a proxy.
    """

    name: str
    dn: str
    cert: Path
    key: Path
    pem: Path


class Authority:
    """A certificate authority in a folder.

    Parameters
    ----------
    folder
        Folder for the files; it is created, readable only by its owner.

    Attributes
    ----------
    ca
        PEM file with the certificate of the authority.
    bundle
        PEM file that also has the CAs that this machine trusts.
    certificates
        Folder with the CA in the format that grid programs expect.
    server_cert, server_key
        PEM files for servers on 127.0.0.1, localhost and ::1.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._name = _name(CN="Lake Test CA", O="Lake")
        self._key = _new_key()
        own = _builder(self._name, self._name, self._key, self._key, ca=True).sign(self._key, hashes.SHA256())
        self.ca = self._write("ca.pem", _pem(own))
        self.bundle = self._write("bundle.pem", _pem(own) + _system_authorities())
        self.certificates = self._write_certificates()
        self.server_cert, self.server_key = self._server()

    def user(self, name: str, common_name: str, unit: str) -> User:
        """Issue a user's certificate.

        Parameters
        ----------
        name
            Name of its files.
        common_name, unit
            CN and OU of its subject.
        """
        key = _new_key()
        builder = _builder(_name(CN=common_name, OU=unit, O="Lake"), self._name, key, self._key)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        cert = builder.add_extension(usage, critical=False).sign(self._key, hashes.SHA256())
        return User(
            name,
            f"CN={common_name},OU={unit},O=Lake",
            self._write(f"{name}.crt", _pem(cert)),
            self._write(f"{name}.key", _private_pem(key)),
            self._write(f"{name}.pem", _pem(cert) + _private_pem(key)),
        )

    def proxy(self, user: User, *, seconds: float = 12 * 3600, elliptic: bool = False) -> Path:
        """Issue a proxy certificate like ``voms-proxy-init -rfc``.

        Parameters
        ----------
        user
            The user it represents.
        seconds
            Validity from now; negative for an expired proxy.
        elliptic
            Whether to use an elliptic curve key.

        Returns
        -------
        Path
            PEM file with the proxy certificate, its key and the user's certificate.
        """
        issuer = x509.load_pem_x509_certificate(user.cert.read_bytes())
        issuer_key = _load_key(user.key)
        key = ec.generate_private_key(ec.SECP256R1()) if elliptic else _new_key()
        serial = x509.random_serial_number() >> 128  # the RFC requires CN=<a number>
        subject = x509.Name([*issuer.subject, x509.NameAttribute(NameOID.COMMON_NAME, str(serial))])
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        builder = _builder(subject, issuer.subject, key, issuer_key, end=end, proxy=True)
        cert = builder.add_extension(_PROXY_INFO, critical=True).sign(issuer_key, hashes.SHA256())
        return self._write(f"{user.name}-{serial}.proxy", _pem(cert) + _private_pem(key) + _pem(issuer))

    def voms_proxy(self, user: User, target: Path, *groups: str, vo: str = VO) -> None:
        """Issue a proxy with VO attributes, like ``voms-proxy-init`` with a VOMS server.

        Parameters
        ----------
        user
            The user it represents.
        target
            The file; like that of `proxy`, with the attributes in the proxy certificate.
        groups
            The attributes (FQANs); by default that of an ordinary member.
        vo
            The VO.
        """
        command: list[str | Path] = ["voms-proxy-fake", "-rfc", "-cert", user.cert, "-key", user.key, "-voms", vo]
        command += ["-hostcert", self.server_cert, "-hostkey", self.server_key, "-uri", "localhost:15000"]
        command += ["-bits", "2048", "-out", target]
        for group in groups or (f"/{vo}/Role=NULL/Capability=NULL",):
            command += ["-fqan", group]
        env = {**os.environ, "X509_CERT_DIR": str(self.certificates)}
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, env=env)

    def write_voms(self, folder: Path) -> None:
        """Write a vomsdir: the server certificate signs the attributes of `VO`."""
        (folder / VO).mkdir(parents=True)
        (folder / VO / "localhost.lsc").write_text("/O=Lake/CN=localhost\n/O=Lake/CN=Lake Test CA\n")

    def _write_certificates(self) -> Path:
        command: list[str | Path] = ["openssl", "x509", "-hash", "-noout", "-in", self.ca]
        name = subprocess.check_output(command, text=True).strip()
        return self._write(f"certificates/{name}.0", self.ca.read_bytes()).parent

    def _server(self) -> tuple[Path, Path]:
        import ipaddress

        key = _new_key()
        addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
        builder = _builder(_name(CN="localhost", O="Lake"), self._name, key, self._key)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]), critical=False
        ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        cert = builder.sign(self._key, hashes.SHA256())
        return self._write("server.crt", _pem(cert)), self._write("server.key", _private_pem(key))

    def _write(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(content)
        return path


def _name(**parts: str) -> x509.Name:
    """Return a name from its parts, in Rucio's order: the most specific first."""
    oids = {"CN": NameOID.COMMON_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME, "O": NameOID.ORGANIZATION_NAME}
    return x509.Name([x509.NameAttribute(oids[key], value) for key, value in reversed(parts.items())])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: _Key | ec.EllipticCurvePrivateKey,
    issuer_key: _Key,
    *,
    ca: bool = False,
    proxy: bool = False,
    end: datetime.datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(end or now + _LIFE)
        .add_extension(usage, critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder if proxy else builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)


def _new_key() -> _Key:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _load_key(path: Path) -> _Key:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(Encoding.PEM)


def _private_pem(key: _Key | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _system_authorities() -> bytes:
    known = ssl.get_default_verify_paths().cafile  # respects SSL_CERT_FILE
    return Path(known).read_bytes() if known else b""
