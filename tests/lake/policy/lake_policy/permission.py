"""Rucio's generic permissions; but who may register a file on an RSE may also say that it has arrived.

Without it only administrators could upload with Rucio's own client. The policies of the experiments say the same.
"""

from __future__ import annotations

from typing import Any

from rucio.core.permission import generic


def has_permission(issuer: Any, action: str, kwargs: dict[str, Any], *, session: Any) -> Any:
    """Return whether an account may do something; what Rucio calls."""
    asked = "add_replicas" if action == "update_replicas_states" else action
    return generic.has_permission(issuer, asked, kwargs, session=session)
