"""Signing in and out, who is signed in, and whether that can be renewed without the user."""

from __future__ import annotations

from dataclasses import replace

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import RucioLabError, SignInNeeded
from rucio_lab.core.identity import oidc
from rucio_lab.core.identity.client import RucioClient, keep_renewed
from rucio_lab.core.identity.credentials import credentials
from rucio_lab.core.identity.renewal import lock_of, usable_token
from rucio_lab.core.identity.token_store import SignIn, TokenStore
from rucio_lab.core.private import Secret
from rucio_lab.core.upstream.faults import how_to_sign_in, speaking_to


def sign_in(instance: Instance, *, username: str | None = None, password: str | None = None) -> SignIn:
    """Sign in again, even if there is a valid token.

    Parameters
    ----------
    instance
        Where to sign in. With ``oidc`` the user has to open a page: see `rucio_lab.core.identity.oidc.begin`.
    username, password
        For ``userpass``; by default those of the instance's rucio.cfg. The password is sent to the instance's
        authentication server, and not stored.

    Raises
    ------
    SignInNeeded
        If the credentials are missing or refused. This also removes the token of an earlier sign-in.
    """
    if instance.auth == "oidc":
        raise SignInNeeded(f"To sign in to {instance.name}, you have to open a page.", how_to_sign_in(instance))
    if username and password is None and username != instance.username:
        raise SignInNeeded(f"There is no password for {username} at {instance.name}.", how_to_sign_in(instance))
    password = Secret(password) if password is not None else None
    given = {"username": username or instance.username, "password": password} if password is not None else None
    client = RucioClient(instance, given, anew=True)
    if instance.auth != "token":
        return client.token.sign_in
    with speaking_to(instance):  # this token has not been checked yet
        return replace(client.token.sign_in, account=str(client.whoami()["account"]))


def sign_out(instance: Instance) -> None:
    """Forget the token of an instance, and cancel a pending sign-in.

    Tokens from outside, such as in a file, are left alone. Rucio has no way to revoke a token.
    """
    if (waiting := oidc.pending(instance)) is not None:
        waiting.cancel()
    store = TokenStore(instance)
    with lock_of(instance), store.alone():
        store.drop()


def signed_in(instance: Instance) -> SignIn | None:
    """Say who is signed in, from the stored token alone, without asking Rucio.

    Returns
    -------
    SignIn or None
        None if there is no token, or if it has expired.
    """
    token = usable_token(instance)
    if token is None:
        return None
    keep_renewed(instance, token)
    return token.sign_in


def can_renew(instance: Instance) -> bool:
    """Whether signing in, or staying signed in, works without the user."""
    if instance.auth == "oidc":
        token = usable_token(instance)
        return token is not None and token.renewable
    if instance.auth == "token":
        return bool(instance.token_command)
    try:
        credentials(instance)
    except RucioLabError:
        return False
    return True
