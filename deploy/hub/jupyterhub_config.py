"""A JupyterHub that keeps its users signed in to Rucio while their servers run.

It needs ``pip install jupyterhub oauthenticator``, and these variables in the hub's environment:

- OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET, OAUTH_CALLBACK_URL, OAUTH2_AUTHORIZE_URL, OAUTH2_TOKEN_URL and
  OAUTH2_USERDATA_URL describe a client of an OpenID Connect provider. Rucio must know the provider and accept the
  tokens of this client.
- JUPYTERHUB_CRYPT_KEY (``openssl rand -hex 32``) is the key that the hub encrypts the tokens with.

The users' rucio_lab.toml sets ``hub_token = "access_token"``.
"""

from __future__ import annotations

import time
from typing import Any

import jwt

c = get_config()  # type: ignore[name-defined] # noqa: F821 - JupyterHub defines it


async def renew_early(authenticator: Any, user: Any, auth_state: dict[str, Any] | None) -> dict[str, Any] | bool | None:
    """Renew a token after half of its life; OAuthenticator itself waits until the token has expired."""
    if not auth_state or not auth_state.get("refresh_token"):
        return None
    claims = jwt.decode(auth_state["access_token"], options={"verify_signature": False})
    if time.time() < (claims["iat"] + claims["exp"]) / 2:
        return True
    asked = authenticator.build_refresh_token_request_params(auth_state["refresh_token"])
    try:
        renewed = await authenticator.get_token_info(None, asked)
    except Exception as error:  # noqa: BLE001 - whatever failed, the current token may still be valid
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

# The hub keeps the tokens. It checks them when a user or a user's server sends a request, but at most once in this many
# seconds. Choose less than half of a token's life, or tokens expire in between.
c.Authenticator.enable_auth_state = True
c.Authenticator.auth_refresh_age = 60
c.Authenticator.refresh_pre_spawn = True

# Only a user's own server may read the user's tokens.
c.JupyterHub.load_roles = [
    {"name": "user", "scopes": ["self", "admin:auth_state!user"]},
    {
        "name": "server",
        "scopes": ["users:activity!user", "access:servers!server", "read:users:name!user", "admin:auth_state!user"],
    },
]

# Users need their own home folders and processes: choose the spawner that fits your site.
# c.JupyterHub.spawner_class = "..."
