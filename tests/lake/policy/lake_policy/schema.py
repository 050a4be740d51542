"""Rucio's generic schema, in which the names of the scope ``hostile`` may be anything.

Some real schemas are nearly as free, and whatever the schema is: what comes from a server is data.
"""

from __future__ import annotations

from typing import Any

from rucio.common.schema import generic

_ANYTHING = {"type": "string", "minLength": 1, "maxLength": generic.NAME_LENGTH}


def _or_hostile(schema: dict[str, Any]) -> dict[str, Any]:
    hostile = {**schema["properties"], "scope": {"const": "hostile"}, "name": _ANYTHING}
    return {"anyOf": [schema, {**schema, "properties": hostile}]}


# Rucio takes from its generic schema what is not here; its references to these names lead here.
DID = _or_hostile(generic.DID)
R_DID = _or_hostile(generic.R_DID)
ATTACHMENT = _or_hostile(generic.ATTACHMENT)
SCHEMAS = {"did": DID, "r_did": R_DID, "attachment": ATTACHMENT}
SCOPE_NAME_REGEXP = r"(?s)/([^/]+)/(.*)"  # generic, where a name may hold a line break
