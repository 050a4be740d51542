"""Rucio's generic permissions, except that an account that can register a file on an RSE can also set its state.

Without this, only administrators could upload with Rucio's own client. The policies of the experiments do the same.
"""

from __future__ import annotations

from typing import Any

from rucio.core.permission import generic


def has_permission(issuer: Any, action: str, kwargs: dict[str, Any], *, session: Any) -> Any:
    """Return whether an account may do something; called by Rucio."""
    asked = "add_replicas" if action == "update_replicas_states" else action
    return generic.has_permission(issuer, asked, kwargs, session=session)
