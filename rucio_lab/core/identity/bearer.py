"""Bearer tokens from outside: a file, a command, the WLCG discovery; and what is wrong with a refused one."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import ConfigurationError, LakeTooSlow, RucioLabError, SignInNeeded
from rucio_lab.core.identity import token_command
from rucio_lab.core.identity.token_store import Token, bearer_token
from rucio_lab.core.identity.token_text import discovered_token, is_token, jwt_claims, jwt_time
from rucio_lab.core.private import NotOwn, Secret, own_file
from rucio_lab.core.upstream import clock
from rucio_lab.core.upstream.rest import get, ping
from rucio_lab.core.words import span


def found(instance: Instance) -> Token | None:
    """Give the current token from the file or, for ``token``, from the WLCG discovery."""
    text, _ = _text(instance)
    return bearer_token(text) if is_token(text) else None


def _text(instance: Instance) -> tuple[str, NotOwn | None]:
    """Give the text of the current token, and what is wrong with a file that exists but is not used."""
    text, refused = "", None
    if instance.token_file:
        try:
            text = own_file(instance.token_file).decode().strip()
        except NotOwn as error:
            refused = error
        except (OSError, UnicodeDecodeError):
            pass  # counts as none
    if not text and instance.auth == "token" and instance.wlcg_token:
        text, other = discovered_token()
        refused = refused or other
    return text, refused


def by_command(instance: Instance) -> Token:
    """Run the token command of an instance.

    Raises
    ------
    RucioLabError
        If it fails, takes too long, or prints no token. Its output is never shown: it may be a secret.
    """
    program = Path(instance.token_command[0]).name
    what = f"The token command of {instance.name} ({program})"
    try:
        text = Secret(token_command.output_of(instance.token_command))
    except subprocess.TimeoutExpired:
        raise LakeTooSlow(
            f"{what} did not end within {token_command.SECONDS:g} s.",
            "Run it in a terminal: it may be waiting for input.",
        ) from None
    except subprocess.CalledProcessError as error:
        raise SignInNeeded(
            f"{what} failed with status {error.returncode}.", "Run it in a terminal: it may say why."
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{what} cannot be run: {getattr(error, 'strerror', None) or error}.",
            "Correct token_command in rucio_lab.toml.",
        ) from None
    if not is_token(text):
        raise SignInNeeded(
            f"{what} printed no token.", "Run it in a terminal: it must print the token and nothing else."
        )
    token = bearer_token(text)
    if not token.valid(clock.now(instance)):
        raise refused(
            instance, token, f"The token from {program} for {instance.name}", "Get a new one, then try again."
        )
    return token


def is_accepted(instance: Instance, token: Token) -> bool:
    """Ask Rucio once more whether it accepts a JSON web token that has not expired."""
    if not jwt_claims(token.text) or not token.valid(clock.now(instance)):
        return False
    headers = {"X-Rucio-Auth-Token": Secret(token.text)}
    with get(instance, f"{instance.auth_url}/auth/validate", headers, timeout=instance.timeout) as answer:
        return answer.ok


def missing(instance: Instance) -> SignInNeeded:
    """Make the error for an instance with ``token`` that has no token."""
    places = {instance.token_file: instance.token_file, "the WLCG bearer token discovery": instance.wlcg_token}
    where = " and ".join(place for place, asked in places.items() if asked)
    if not where:
        return SignInNeeded(
            f"No token is configured for {instance.name}.", "Set token_file or token_command in rucio_lab.toml."
        )
    if (not_own := _text(instance)[1]) is not None:
        return SignInNeeded(
            f"The token {not_own.filename} for {instance.name} is not used: {not_own.why}.", not_own.remedy
        )
    return SignInNeeded(f"There is no token for {instance.name}: {where} has none.", "Get one, then try again.")


def origin(instance: Instance) -> str:
    """Say where an instance with ``token`` gets its token from."""
    if instance.token_file:
        return instance.token_file
    return Path(instance.token_command[0]).name if instance.token_command else "the WLCG bearer token discovery"


def refused(instance: Instance, token: Token, what: str, remedy: str) -> SignInNeeded:
    """Say what is wrong with a token that expired, or that Rucio did not accept.

    Rucio gives the same answer for every reason. If the claims of the token show the reason, the error says it. They
    are read without checking the signature, and nothing but this message depends on them.

    Parameters
    ----------
    instance
        The instance that refused it.
    token
        The token; the error shows no secret part of it.
    what
        What users call it, as the beginning of a sentence.
    remedy
        What to do if it expired.
    """
    if not token.valid(clock.now(instance)):
        return SignInNeeded(f"{what} expired at {_date(token.expires)}{_clocks(instance)}.", remedy)
    claims = jwt_claims(token.text)
    if not claims:
        its = what[0].lower() + what[1:]
        return SignInNeeded(f"{instance.name} does not accept {its}: it expired or was revoked.", remedy)
    return (
        _too_early(instance, what, claims)
        or _meant_for_others(instance, what, claims)
        or _unknown(instance, what, claims)
    )


def _too_early(instance: Instance, what: str, claims: Mapping[str, Any]) -> SignInNeeded | None:
    begins = max(jwt_time(claims, name) or 0.0 for name in ("nbf", "iat"))
    if begins <= clock.now(instance) + clock.TOLERANCE:
        return None
    return SignInNeeded(
        f"{what} is not valid before {_date(begins)}{_clocks(instance)}.",
        "Correct the clocks of this machine and of the identity provider, or wait.",
    )


def _meant_for_others(instance: Instance, what: str, claims: Mapping[str, Any]) -> SignInNeeded | None:
    audience, scope = _words(claims.get("aud")), _words(claims.get("scope"))
    wanted = set(instance.oidc_audience.split()) or {"rucio"}
    lacking = [word for word in instance.oidc_scope.split() if word not in (*scope, "offline_access")]
    if wanted - set(audience):
        rucios = "" if instance.oidc_audience else ", unless its operators chose another"
        return SignInNeeded(
            f"{what} is for the audience {_listed(audience)}, but {instance.name} wants "
            f"{_listed(sorted(wanted))}{rucios}.",
            "Get a token with that audience, then try again.",
        )
    if lacking:
        return SignInNeeded(
            f"{what} has the scope {_listed(scope)}, but lacks {_listed(lacking)}.",
            "Get a token with that scope, then try again.",
        )
    return None


def _unknown(instance: Instance, what: str, claims: Mapping[str, Any]) -> SignInNeeded:
    who = f"{_plain(claims.get('sub'))} of {_plain(claims.get('iss'))}"
    account = f"the account {instance.account}" if instance.account else "any account"
    return SignInNeeded(
        f"{what} has not expired but was refused. Rucio does not say why: the identity {who} is not mapped to "
        f"{account}, its provider is not one that Rucio trusts, or the token was altered or revoked.",
        "Ask the operators of the instance to map this identity, or get a new token.",
    )


def _clocks(instance: Instance) -> str:
    """Say by how much the clock of this machine is wrong; empty if it is right."""
    ahead = clock.ahead(instance)
    if not ahead:
        return ""
    where = "behind" if ahead > 0 else "ahead of"
    return f" (the clock of this machine is {span(abs(ahead))} {where} that of Rucio)"


def ask_for_the_time(instance: Instance) -> None:
    """Learn Rucio's time, in case the clock here is wrong. It does not matter if Rucio is unreachable."""
    with suppress(RucioLabError):
        ping(instance, min(5.0, instance.timeout))


def _date(when: float | None) -> str:
    return f"{datetime.fromtimestamp(when or 0, UTC):%Y-%m-%d %H:%M} UTC"


def _words(claim: Any) -> list[str]:
    """Read a claim that is a string or a list of strings."""
    return claim.split() if isinstance(claim, str) else [str(word) for word in claim or ()]


def _listed(words: list[str]) -> str:
    return " ".join(map(_plain, words)) or "nobody"


def _plain(claim: Any) -> str:
    """Quote a claim, since a token can contain anything."""
    text = str(claim)
    return repr(text if len(text) <= 100 else f"{text[:97]}...")
