"""Rucio's generic schema, with any name allowed in the scope ``hostile``.

Some real schemas are nearly as permissive, and names from a server cannot be trusted under any schema.
"""

from __future__ import annotations

from typing import Any

from rucio.common.schema import generic

_ANYTHING = {"type": "string", "minLength": 1, "maxLength": generic.NAME_LENGTH}


def _or_hostile(schema: dict[str, Any]) -> dict[str, Any]:
    hostile = {**schema["properties"], "scope": {"const": "hostile"}, "name": _ANYTHING}
    return {"anyOf": [schema, {**schema, "properties": hostile}]}


# Rucio takes everything else from its generic schema, whose references to these names resolve to those here.
DID = _or_hostile(generic.DID)
R_DID = _or_hostile(generic.R_DID)
ATTACHMENT = _or_hostile(generic.ATTACHMENT)
SCHEMAS = {"did": DID, "r_did": R_DID, "attachment": ATTACHMENT}
SCOPE_NAME_REGEXP = r"(?s)/([^/]+)/(.*)"  # the generic one, but a name may have a line break
