"""A JupyterHub that keeps its users signed in to Rucio while their servers run.

It needs ``pip install jupyterhub oauthenticator``. The environment variables of the hub describe a client of an OpenID
Connect provider whose tokens Rucio accepts (OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET, OAUTH_CALLBACK_URL,
OAUTH2_AUTHORIZE_URL, OAUTH2_TOKEN_URL, OAUTH2_USERDATA_URL). JUPYTERHUB_CRYPT_KEY (``openssl rand -hex 32``) encrypts
the tokens that the hub stores. In the users' rucio_lab.toml, set ``hub_token = "access_token"``.
"""

from __future__ import annotations

import time
from typing import Any

import jwt

c = get_config()  # type: ignore[name-defined] # noqa: F821 - JupyterHub provides it


async def renew_early(authenticator: Any, user: Any, auth_state: dict[str, Any] | None) -> dict[str, Any] | bool | None:
    """Renew a token after half of its lifetime; on its own, OAuthenticator waits until it has expired."""
    if not auth_state or not auth_state.get("refresh_token"):
        return None
    claims = jwt.decode(auth_state["access_token"], options={"verify_signature": False})
    if time.time() < (claims["iat"] + claims["exp"]) / 2:
        return True
    asked = authenticator.build_refresh_token_request_params(auth_state["refresh_token"])
    try:
        renewed = await authenticator.get_token_info(None, asked)
    except Exception as error:  # noqa: BLE001 - whatever happened, the current token may still be valid
        authenticator.log.warning("The token of %s could not be renewed: %s", user.name, error)
        return True if time.time() < claims["exp"] else None
    renewed.setdefault("refresh_token", auth_state["refresh_token"])
    about_user = auth_state[authenticator.user_auth_state_key]
    return {"name": user.name, "auth_state": authenticator.build_auth_state_dict(renewed, about_user)}


c.JupyterHub.authenticator_class = "generic-oauth"
c.GenericOAuthenticator.scope = ["openid", "profile", "offline_access"]
c.GenericOAuthenticator.username_claim = "preferred_username"
c.GenericOAuthenticator.refresh_user_hook = renew_early
c.Authenticator.allow_all = True

# The hub stores the tokens, and checks them when a user or a user's server makes a request, at most once in this many
# seconds. This must be shorter than half of a token's lifetime, or a token can expire between two checks.
c.Authenticator.enable_auth_state = True
c.Authenticator.auth_refresh_age = 60
c.Authenticator.refresh_pre_spawn = True

# Only a user's own server can read the user's tokens.
c.JupyterHub.load_roles = [
    {"name": "user", "scopes": ["self", "admin:auth_state!user"]},
    {
        "name": "server",
        "scopes": ["users:activity!user", "access:servers!server", "read:users:name!user", "admin:auth_state!user"],
    },
]

# Each user needs a separate home folder and separate processes: choose a spawner that fits your site.
# c.JupyterHub.spawner_class = "..."
