"""Sign in to an instance, sign out, and make an X.509 proxy."""

from __future__ import annotations

from contextlib import suppress

from rucio_lab.api.sign_in_page import ask_secret, sign_in_at_page
from rucio_lab.core.config.instances import Instance, load_instances
from rucio_lab.core.errors import SignInNeeded
from rucio_lab.core.identity import oidc
from rucio_lab.core.identity.client import can_renew, sign_in, sign_out
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
    """Sign in to a Rucio instance anew, whatever sign-in there is; asks for what is missing.

    With an identity provider (``auth = "oidc"``) it shows a link to its page, and waits until somebody has signed in
    there; an interrupt ends that.

    Parameters
    ----------
    instance
        Name or host; by default the default one.
    username, password
        For an instance with user names and passwords. The password is kept nowhere.
    code
        With an identity provider: ask for the code that its page shows at the end, instead of asking Rucio meanwhile.
    timeout
        With an identity provider: how long to wait for somebody to sign in, in seconds; 300 at most.

    Raises
    ------
    SignInNeeded
        If the credentials are refused, or nobody signs in or is there to be asked.
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
            refused = error  # the password of rucio.cfg is wrong: ask for another
    else:
        refused = None
    username, password = _ask(where, username or where.username, refused)
    return sign_in(where, username=username, password=password)


def make_proxy(instance: str | None = None, *, voms: str = "") -> StorageFacts:
    """Make an X.509 proxy with ``voms-proxy-init``, where storages look for one; asks for the passphrase of the key.

    Parameters
    ----------
    instance
        Name or host; by default the default one.
    voms
        VO whose attributes the proxy is to have.

    Raises
    ------
    RucioLabError
        If it cannot be made: the program is not installed, the passphrase is wrong, or the VO does not answer.
    """
    where = load_instances().get(instance)
    wants = wants_passphrase(where)
    passphrase = ask_secret(where, "passphrase", "Passphrase of the key of your certificate: ") if wants else ""
    new_proxy(where, proxy_path(where), voms=voms, passphrase=passphrase)
    return describe(where)


def logout(instance: str | None = None) -> None:
    """Forget the sign-in to a Rucio instance.

    Parameters
    ----------
    instance
        Name or host; by default the default one.
    """
    sign_out(load_instances().get(instance))


def _ask(instance: Instance, username: str, refused: SignInNeeded | None) -> tuple[str, str]:
    """Ask the user for a name, where it is not known, and a password."""
    from IPython.core.error import StdinNotImplementedError

    with suppress(StdinNotImplementedError, EOFError):
        username = username or input(f"User name for {instance.name}: ").strip()
    try:
        return username, ask_secret(instance, "password", f"Password of {username} for {instance.name}: ")
    except SignInNeeded as error:
        if refused:
            raise SignInNeeded(refused.message, f"Mend the password in {instance.rucio_cfg}.") from error
        raise
