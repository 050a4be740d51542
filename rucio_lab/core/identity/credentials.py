"""What signing in needs without asking the user: a password from rucio.cfg, certificates, keys."""

from __future__ import annotations

import os

from rucio_lab.core.config.rucio_cfg import ClientSection
from rucio_lab.core.config.settings import Instance, path_variable
from rucio_lab.core.errors import SignInNeeded
from rucio_lab.core.identity import x509
from rucio_lab.core.private import NotOwn, Secret, own_file
from rucio_lab.core.upstream.faults import how_to_sign_in, not_signed_in


def credentials(instance: Instance) -> dict[str, str]:
    """Look up what an instance needs for signing in, without asking the user.

    Raises
    ------
    SignInNeeded
        If something is missing; says what.
    """
    if instance.auth == "userpass":
        password = ClientSection(instance.rucio_cfg).get("password") if instance.rucio_cfg else ""
        if not password or not instance.username:
            raise not_signed_in(instance)
        return {"username": instance.username, "password": Secret(password)}
    if instance.auth == "x509":
        files = {"client_cert": instance.client_cert, "client_key": instance.client_key or instance.client_cert}
    elif instance.auth == "x509_proxy":
        default = path_variable("X509_USER_PROXY") or x509.usual_path()
        files = {"client_proxy": instance.client_proxy or default}
    elif instance.auth == "ssh":
        files = {"ssh_private_key": instance.ssh_private_key}
    elif instance.auth == "gss":
        files = {}
    else:
        raise not_signed_in(instance)
    for what, path in files.items():
        if not path or not os.access(path, os.R_OK):
            raise SignInNeeded(
                f"The {what} for {instance.name} cannot be read: {path or 'it is not configured'}.",
                how_to_sign_in(instance),
            )
    if instance.auth == "x509_proxy":
        _check_proxy(instance, files["client_proxy"])
    return files


def _check_proxy(instance: Instance, path: str) -> None:
    """Refuse a proxy that another user could have put there."""
    try:
        own_file(path, private=True)
    except NotOwn as error:
        raise SignInNeeded(
            f"The X.509 proxy {path} for {instance.name} is not used: {error.why}.", error.remedy
        ) from error
    except OSError as error:
        raise SignInNeeded(
            f"The X.509 proxy {path} for {instance.name} cannot be read: {error.strerror}.", how_to_sign_in(instance)
        ) from error
