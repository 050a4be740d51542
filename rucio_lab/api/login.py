"""Sign in to an instance, sign out, and make an X.509 proxy."""

from __future__ import annotations

from contextlib import suppress

from rucio_lab.api.sign_in_page import ask_secret, sign_in_at_page
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import SignInNeeded
from rucio_lab.core.identity import oidc
from rucio_lab.core.identity.signing_in import can_renew, sign_in, sign_out
from rucio_lab.core.identity.token_store import SignIn
from rucio_lab.core.identity.voms import make_proxy as new_proxy
from rucio_lab.core.identity.voms import wants_passphrase
from rucio_lab.core.identity.x509 import proxy_path
from rucio_lab.core.storage.shown import StorageFacts, describe


def login(
    instance: str | None = None,
    *,
    username: str | None = None,
    password: str | None = None,
    code: bool = False,
    timeout: float = oidc.SECONDS,
) -> SignIn:
    """Sign in to a Rucio instance, even if you are signed in already. Asks for what is missing.

    With an identity provider (``auth = "oidc"``) it shows a link to the provider's page and waits until you have signed
    in there. You can interrupt it.

    Parameters
    ----------
    instance
        Name or host, if not the default one.
    username, password
        For an instance with user names and passwords. The password is not stored.
    code
        With an identity provider: ask for the code that its page shows at the end, instead of polling Rucio.
    timeout
        With an identity provider: how long to wait for the sign-in, in seconds; 300 at most.

    Raises
    ------
    SignInNeeded
        If the credentials are refused, nobody signs in in time, or nobody can be asked.
    """
    where = load_instances().get(instance)
    if where.auth == "oidc":
        return sign_in_at_page(oidc.begin(where, code=code), timeout)
    if where.auth != "userpass" or password is not None:
        return sign_in(where, username=username, password=password)
    if can_renew(where) and not username:
        try:
            return sign_in(where)
        except SignInNeeded as error:
            refused = error  # the password in rucio.cfg is wrong: ask for another
    else:
        refused = None
    username, password = _ask(where, username or where.username, refused)
    return sign_in(where, username=username, password=password)


def make_proxy(instance: str | None = None, *, voms: str = "") -> StorageFacts:
    """Make an X.509 proxy for storages with ``voms-proxy-init``. Asks for the passphrase of the key.

    Parameters
    ----------
    instance
        Name or host, if not the default one.
    voms
        VO whose attributes the proxy gets.

    Raises
    ------
    RucioLabError
        If it fails: the program is not installed, the passphrase is wrong, or the VO does not answer.
    """
    where = load_instances().get(instance)
    wants = wants_passphrase(where)
    passphrase = ask_secret(where, "passphrase", "Passphrase of the key of your certificate: ") if wants else ""
    new_proxy(where, proxy_path(where), voms=voms, passphrase=passphrase)
    return describe(where)


def logout(instance: str | None = None) -> None:
    """Sign out of a Rucio instance.

    Parameters
    ----------
    instance
        Name or host, if not the default one.
    """
    sign_out(load_instances().get(instance))


def _ask(instance: Instance, username: str, refused: SignInNeeded | None) -> tuple[str, str]:
    """Ask the user for the password, and for the user name if it is not known."""
    from IPython.core.error import StdinNotImplementedError

    with suppress(StdinNotImplementedError, EOFError):
        username = username or input(f"User name for {instance.name}: ").strip()
    try:
        return username, ask_secret(instance, "password", f"Password of {username} for {instance.name}: ")
    except SignInNeeded as error:
        if refused:
            raise SignInNeeded(refused.message, f"Correct the password in {instance.rucio_cfg}.") from error
        raise
