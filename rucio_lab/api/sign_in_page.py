"""Sign-in at the page of an identity provider: show a link, and wait visibly until the user has signed in."""

from __future__ import annotations

import getpass
import html
from urllib.parse import urlsplit

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import BadRequest, SignInNeeded
from rucio_lab.core.identity.oidc import PendingSignIn
from rucio_lab.core.identity.token_store import SignIn
from rucio_lab.core.private import Secret
from rucio_lab.core.text import printable

_ATTEMPTS = 3


def sign_in_at_page(sign_in: PendingSignIn, timeout: float) -> SignIn:
    """Show a link to the page, and wait for the sign-in or ask for the code that the page shows at the end.

    Parameters
    ----------
    sign_in
        The sign-in that was started.
    timeout
        How long to wait, in seconds.

    Raises
    ------
    SignInNeeded
        If nobody signs in, or nobody can be asked for the code.
    """
    from IPython.display import display

    if not timeout > 0:
        raise BadRequest(f"The timeout of {timeout:g} s is too short.", "Give a positive number of seconds.")
    words = "and paste the code that it shows at the end" if sign_in.wants_code else "and come back"
    shown = display(
        _Link(sign_in, f"{words}; this waits for {min(timeout, sign_in.seconds_left):.0f} s"), display_id=True
    )
    ended = "nobody signed in"
    try:
        known = _ask_for_code(sign_in) if sign_in.wants_code else sign_in.wait(timeout)
        ended = "done"
        return known
    finally:
        sign_in.cancel()
        if shown is not None:  # do not keep a dead link in the notebook
            shown.update(_Ended(sign_in, ended))


def ask_secret(instance: Instance, what: str, words: str) -> Secret:
    """Ask the user for a secret, without showing it.

    Raises
    ------
    SignInNeeded
        If nobody can be asked.
    """
    from IPython.core.error import StdinNotImplementedError

    try:
        return Secret(getpass.getpass(words))
    except (StdinNotImplementedError, EOFError) as error:
        raise SignInNeeded(
            f"{instance.name} wants a {what}, and nobody can be asked for it here.",
            "Run %rucio_login in JupyterLab or ipython first: later runs use that sign-in.",
        ) from error


class _Link:
    """What the user sees during the wait."""

    def __init__(self, sign_in: PendingSignIn, words: str) -> None:
        self._what = f"Sign in to {printable(sign_in.instance.name)} at"
        self._url = sign_in.url
        self._words = words

    def __repr__(self) -> str:
        return f"{self._what}\n    {self._url}\n{self._words}."

    def _repr_html_(self) -> str:
        target = 'target="_blank" rel="noopener noreferrer"'
        link = f'<a href="{html.escape(self._url)}" {target}>{html.escape(urlsplit(self._url).netloc)}</a>'
        return f"<p>{html.escape(self._what)} {link}, {html.escape(self._words)}.</p>"


class _Ended:
    """What replaces the link afterwards."""

    def __init__(self, sign_in: PendingSignIn, how: str) -> None:
        self._text = f"Sign-in to {printable(sign_in.instance.name)} at {urlsplit(sign_in.url).netloc}: {how}."

    def __repr__(self) -> str:
        return self._text


def _ask_for_code(sign_in: PendingSignIn) -> SignIn:
    refused: BadRequest | None = None
    for _ in range(_ATTEMPTS):
        try:
            words = f"{refused.message} Code: " if refused else "Code: "
            return sign_in.enter(ask_secret(sign_in.instance, "code", words))
        except BadRequest as error:
            refused = error
    raise SignInNeeded(
        f"{_ATTEMPTS} codes for {sign_in.instance.name} were wrong.", "Start the sign-in again."
    ) from refused
