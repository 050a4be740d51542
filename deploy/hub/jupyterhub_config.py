"""A JupyterHub whose users are signed in to Rucio for as long as their servers run.

It needs ``pip install jupyterhub oauthenticator``. In the hub's environment: a client of an OpenID Connect provider
that Rucio knows too, whose tokens Rucio accepts (OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET, OAUTH_CALLBACK_URL,
OAUTH2_AUTHORIZE_URL, OAUTH2_TOKEN_URL, OAUTH2_USERDATA_URL), and JUPYTERHUB_CRYPT_KEY (``openssl rand -hex 32``),
with which the hub encrypts what it keeps. On the users' side rucio_lab.toml says ``hub_token = "access_token"``.
"""

from __future__ import annotations

import time
from typing import Any

import jwt

c = get_config()  # type: ignore[name-defined] # noqa: F821 - JupyterHub gives it


async def renew_early(authenticator: Any, user: Any, auth_state: dict[str, Any] | None) -> dict[str, Any] | bool | None:
    """Renew a token when half of its life is over; by itself OAuthenticator waits until it has ended."""
    if not auth_state or not auth_state.get("refresh_token"):
        return None
    claims = jwt.decode(auth_state["access_token"], options={"verify_signature": False})
    if time.time() < (claims["iat"] + claims["exp"]) / 2:
        return True
    asked = authenticator.build_refresh_token_request_params(auth_state["refresh_token"])
    try:
        renewed = await authenticator.get_token_info(None, asked)
    except Exception as error:  # noqa: BLE001 - whatever it is, the token that is there may still serve
        authenticator.log.warning("The token of %s cannot be renewed: %s", user.name, error)
        return True if time.time() < claims["exp"] else None
    renewed.setdefault("refresh_token", auth_state["refresh_token"])
    about_user = auth_state[authenticator.user_auth_state_key]
    return {"name": user.name, "auth_state": authenticator.build_auth_state_dict(renewed, about_user)}


c.JupyterHub.authenticator_class = "generic-oauth"
c.GenericOAuthenticator.scope = ["openid", "profile", "offline_access"]
c.GenericOAuthenticator.username_claim = "preferred_username"
c.GenericOAuthenticator.refresh_user_hook = renew_early
c.Authenticator.allow_all = True

# The hub keeps the tokens, and looks after them whenever a user or a user's server asks it for something, at most this
# often (in seconds): shorter than half of a token's life, or it ends in between.
c.Authenticator.enable_auth_state = True
c.Authenticator.auth_refresh_age = 60
c.Authenticator.refresh_pre_spawn = True

# A user's own server, and nobody else's, may read the user's tokens.
c.JupyterHub.load_roles = [
    {"name": "user", "scopes": ["self", "admin:auth_state!user"]},
    {
        "name": "server",
        "scopes": ["users:activity!user", "access:servers!server", "read:users:name!user", "admin:auth_state!user"],
    },
]

# Each user has a home and processes of their own: take the spawner that fits the site.
# c.JupyterHub.spawner_class = "..."
