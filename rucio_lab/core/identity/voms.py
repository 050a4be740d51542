"""X.509 proxies: the VOMS attributes in one, and making one with ``voms-proxy-init``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rucio_lab.core.config.settings import Instance, path_variable
from rucio_lab.core.errors import ConfigurationError, LakeTooSlow, SignInNeeded

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_PROGRAM = "voms-proxy-init"
_SECONDS = 60.0
_EXTENSION = "1.3.6.1.4.1.8005.100.100.5"  # contains attribute certificates (VOMS; GFD.182)
_ATTRIBUTES = bytes.fromhex("2b06010401be45646404")  # OID 1.3.6.1.4.1.8005.100.100.4: the names in such a certificate
_SEQUENCE, _OID, _OCTETS, _CONSTRUCTED = 0x30, 0x06, 0x04, 0x20


def attributes(chain: list[Certificate]) -> tuple[str, ...]:
    """Read the VOMS attributes (FQANs) of a proxy, for example ``/escape/Role=NULL/Capability=NULL``, unverified."""
    for certificate in chain:
        for extension in certificate.extensions:
            if extension.oid.dotted_string == _EXTENSION:
                return tuple(_names(extension.value.value))
    return ()


def _names(content: bytes) -> Iterator[str]:
    """Find the names in DER: octet strings in the sequence that starts with the OID of VOMS attributes."""
    parts = list(_parts(content))
    if parts and parts[0] == (_OID, _ATTRIBUTES):
        yield from (name.decode(errors="replace") for _, value in parts[1:] for name in _octets(value))
        return
    for tag, value in parts:
        if tag & _CONSTRUCTED:
            yield from _names(value)


def _octets(content: bytes) -> Iterator[bytes]:
    for tag, value in _parts(content):
        if tag == _OCTETS:
            yield value
        elif tag & _CONSTRUCTED:
            yield from _octets(value)


def _parts(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Split DER (X.690) into its tags and values; stop where it is truncated or invalid."""
    while len(content) >= 2:
        tag, size, begin = content[0], content[1], 2
        if size & 0x80:
            begin += size & 0x7F
            size = int.from_bytes(content[2:begin])
        if len(content) < begin + size:
            return
        yield tag, content[begin : begin + size]
        content = content[begin + size :]


def wants_passphrase(instance: Instance) -> bool:
    """Whether the user's key is encrypted."""
    try:
        return b"ENCRYPTED" in _certificate(instance)[1].read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"The key of your certificate cannot be read from {error.filename}: {error.strerror}.",
            "Set client_cert and client_key in rucio_lab.toml, or put them into ~/.globus.",
        ) from error


def make_proxy(instance: Instance, target: str, *, voms: str = "", passphrase: str = "") -> None:
    """Make an X.509 proxy from the user's certificate, with ``voms-proxy-init``.

    Parameters
    ----------
    instance
        Its ``client_cert`` and ``client_key`` are used, by default those in ``~/.globus``.
    target
        Path of the proxy; replaced atomically.
    voms
        The VO to get attributes of, as for ``voms-proxy-init -voms``.
    passphrase
        Passphrase of the key. It is passed only on the program's standard input.

    Raises
    ------
    RucioLabError
        If it cannot be made.
    """
    program = shutil.which(_PROGRAM)
    if program is None:
        raise ConfigurationError(
            f"{_PROGRAM} is not installed here.",
            "Install it (on Debian: voms-clients), or copy a proxy here and set X509_USER_PROXY to its path.",
        )
    if voms.startswith("-"):
        raise ConfigurationError(f"{voms!r} is not a VO.", "Give its name, for example escape.")
    certificate, key = _certificate(instance)
    try:
        with tempfile.TemporaryDirectory(dir=Path(target).parent, prefix=".rucio-lab-") as folder:  # mode 0700
            made = Path(folder) / "proxy"
            command = [program, "-rfc", "-pwstdin", "-cert", str(certificate), "-key", str(key), "-out", str(made)]
            _run([*command, *(["-voms", voms] if voms else [])], passphrase)
            made.chmod(0o600)
            made.replace(target)
    except OSError as error:
        raise ConfigurationError(
            f"The proxy cannot be written to {target}: {error.strerror}.", "Set X509_USER_PROXY to another path."
        ) from error


def _run(command: list[str], passphrase: str) -> None:
    try:
        done = subprocess.run(
            command,
            input=f"{passphrase}\n".encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LakeTooSlow(f"{_PROGRAM} did not end within {_SECONDS:g} s.", "Try again later.") from None
    if done.returncode:
        raise SignInNeeded(
            f"{_PROGRAM} made no proxy: {_reason(done.stdout.decode(errors='replace'))}.",
            f"Run {_PROGRAM} in a terminal to see its whole output.",
        )


def _reason(said: str) -> str:
    """Find the most telling line in the output of the program."""
    if "maybe wrong password" in said or "bad decrypt" in said or "bad password" in said:
        return "the passphrase is wrong"
    lines = [line.strip() for line in re.split(r"[\r\n]+", said)]
    signs = re.compile(r"error|not known|couldn't|unable|failed|expired|cannot(?!.*\.rnd)", re.IGNORECASE)
    telling = [line for line in lines if signs.search(line)]
    words = (telling or ["it does not say why"])[-1][:200].rstrip(".!: ")
    return words if words.isprintable() else "it does not say why"


def _certificate(instance: Instance) -> tuple[Path, Path]:
    """Give the files of the user's certificate and key."""
    globus = Path(os.environ.get("HOME", "/")) / ".globus"
    certificate = instance.client_cert or path_variable("X509_USER_CERT") or str(globus / "usercert.pem")
    key = instance.client_key or instance.client_cert or path_variable("X509_USER_KEY") or str(globus / "userkey.pem")
    return Path(certificate), Path(key)
