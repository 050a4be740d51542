"""Whatever can go wrong when talking to Rucio, as errors of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
import urllib3

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import (
    BadRequest,
    ConfigurationError,
    Conflict,
    LakeBroken,
    LakeTooSlow,
    LakeUnreachable,
    NotFound,
    Refused,
    RucioLabError,
    SignInNeeded,
)
from rucio_lab.core.proxies import REMEDY, proxy_for, shown
from rucio_lab.core.text import printable
from rucio_lab.core.upstream.rucio_api import exception

_KINDS: tuple[tuple[type[RucioLabError], str, tuple[str, ...]], ...] = (
    (Refused, "Ask the owner of the scope, or the operators of the instance.", ("CannotAuthorize", "AccessDenied")),
    (
        ConfigurationError,
        "Correct it, or use another auth; `rucio-lab doctor` shows the configuration.",
        ("MissingModuleException", "MissingClientParameter", "ConfigNotFound", "ConfigLoadingError"),
    ),
    (
        NotFound,
        "Look for it with %rucio_search.",
        (
            "DataIdentifierNotFound",
            "ScopeNotFound",
            "RSENotFound",
            "ReplicaNotFound",
            "RuleNotFound",
            "AccountNotFound",
        ),
    ),
    (
        BadRequest,
        "Correct the request.",
        (
            "InvalidRSEExpression",
            "InvalidObject",
            "InputValidationError",
            "InvalidMetadata",
            "InvalidType",
            "InvalidPath",
            "KeyNotFound",
            "UnsupportedOperation",
            "UnsupportedMetadataPlugin",
            "DIDFilterSyntaxError",
            "DuplicateCriteriaInDIDFilter",
        ),
    ),
    (
        Conflict,
        "Check what exists already, or how much of your quota is left.",
        (
            "Duplicate",
            "DataIdentifierAlreadyExists",
            "DuplicateContent",
            "DuplicateRule",
            "InsufficientAccountLimit",
            "RSEOverQuota",
        ),
    ),
)


_ODD = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What an unexpected answer leads to."""


@contextmanager
def speaking_to(instance: Instance) -> Iterator[None]:
    """Turn whatever goes wrong when talking to Rucio into one of our errors.

    Parameters
    ----------
    instance
        The Rucio that is asked.

    Raises
    ------
    RucioLabError
        Instead of the exceptions of rucio.client and requests.
    """
    # Without the causes: a verbose traceback shows the headers of a request, including the token.
    try:
        yield
    except RucioLabError:
        raise
    except (requests.exceptions.ConnectionError, exception.ServerConnectionException) as error:
        raise _unconnected(error, instance) from None
    except urllib3.exceptions.ReadTimeoutError:
        raise _stopped(instance) from None
    except requests.exceptions.ReadTimeout:
        raise LakeTooSlow(
            f"Rucio ({instance.name}) did not answer within {instance.timeout:g} s.",
            "Try again, ask for less, or raise timeout in rucio_lab.toml.",
        ) from None
    except (requests.exceptions.ChunkedEncodingError, urllib3.exceptions.ProtocolError):
        raise LakeBroken(f"The answer of Rucio ({instance.name}) was cut off.", "Try again.") from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise ConfigurationError(f"The address of {instance.name} is not valid: {error}.", "Correct it.") from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, *_ODD) as error:
        raise LakeBroken(
            f"Rucio ({instance.name}) sent an answer that cannot be read: {first_line(error)}.",
            "Check the address of the instance, or try again later.",
        ) from None
    except OSError as error:  # requests raises it for the files in ca and client_cert
        raise ConfigurationError(
            f"A file needed for signing in to {instance.name} cannot be used: {first_line(error)}.",
            "Correct its path in rucio_lab.toml or rucio.cfg.",
        ) from None
    except exception.RucioException as error:
        raise _translate(error, instance) from None


def _unconnected(error: Exception, instance: Instance) -> RucioLabError:
    """Say why there is no connection. requests uses one class for very different reasons."""
    text, reason = str(error), _reason(error)
    if "certificate verify failed" in text:
        return LakeUnreachable(
            f"The certificate of {instance.url} is not trusted: {reason}.",
            "Set ca in rucio_lab.toml (ca_cert in rucio.cfg) to the CA that signed it.",
        )
    if isinstance(error, requests.exceptions.SSLError):
        return LakeUnreachable(
            f"There is no TLS connection to {instance.url}: {reason}.",
            "Check the address, and the files of ca, client_cert and client_key.",
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return LakeUnreachable(
            f"Rucio ({instance.name}) cannot be reached through the proxy {shown(proxy_for(instance.url))}: {reason}.",
            REMEDY,
        )
    if "Read timed out" in text:  # in the middle of a stream, requests raises a ConnectionError
        return _stopped(instance)
    return LakeUnreachable(
        f"Rucio ({instance.name}) cannot be reached at {instance.url}: {reason}.",
        "Check the address and the network, or try again later.",
    )


def _stopped(instance: Instance) -> LakeTooSlow:
    return LakeTooSlow(f"Rucio ({instance.name}) stopped in the middle of its answer.", "Try again.")


def _translate(error: Exception, instance: Instance) -> RucioLabError:
    name = type(error).__name__
    said = first_line(error)
    if name == "CannotAuthenticate":
        who = f" as {instance.username}" if instance.username else ""
        return SignInNeeded(f"{instance.name} refused the sign-in{who}: {said}.", how_to_sign_in(instance), rucio=name)
    for kind, remedy, names in _KINDS:
        if name in names:
            return kind(f"{said}.", remedy, rucio=name)
    return LakeBroken(
        f"Rucio ({instance.name}) failed with {name}: {said}.", "Try again, or tell its operators.", rucio=name
    )


def first_line(error: Exception) -> str:
    """Give the readable part of a Rucio error: its details, at most one line."""
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    details = [line.removeprefix("Details:").strip() for line in lines if line.startswith("Details:")]
    text = (details or lines or [type(error).__name__])[0]
    return printable(text.removeprefix(f"{type(error).__name__}: "))[:300].rstrip(". ")


def _reason(error: Exception) -> str:
    """Find the operating system's message in an error of requests, which nests it deeply."""
    text = str(error)
    if "407" in text and "prox" in text.lower():
        return "the proxy asks for credentials (HTTP 407)"
    for words in ("Connection refused", "Name or service not known", "No route to host", "timed out", "reset by peer"):
        if words in text:
            return {"timed out": "no connection within the time limit"}.get(words, words[0].lower() + words[1:])
    if "certificate verify failed" in text:
        return text.rpartition("certificate verify failed: ")[2].partition(" (_ssl")[0]
    return "the connection failed"


def not_signed_in(instance: Instance) -> SignInNeeded:
    """Make the error for a user who is not signed in."""
    return SignInNeeded(f"You are not signed in to {instance.name}.", how_to_sign_in(instance))


def how_to_sign_in(instance: Instance) -> str:
    """Say how to sign in."""
    return {
        "userpass": f"Sign in with %rucio_login {instance.name}, or rucio_lab.login({instance.name!r}).",
        "x509": "Set client_cert and client_key in rucio_lab.toml or rucio.cfg.",
        "x509_proxy": "Make a proxy with voms-proxy-init, and set X509_USER_PROXY to its path.",
        "ssh": "Set ssh_private_key in rucio_lab.toml or rucio.cfg.",
        "gss": "Run kinit.",
        "oidc": f"Sign in with %rucio_login {instance.name}, or rucio_lab.login({instance.name!r}).",
        "token": "Set token_file or token_command in rucio_lab.toml.",
    }[instance.auth]
