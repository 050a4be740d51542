"""The name of the variable that attach creates. Attach never overwrites anything else."""

from __future__ import annotations

import builtins
import keyword
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from rucio_lab.core.address import PREFIX
from rucio_lab.core.errors import BadRequest
from rucio_lab.core.text import is_printable

_IPYTHONS = re.compile(r"_+|_\d+|_i+\d*|_[dios]h|_exit_code|__\w+__|In|Out|get_ipython|exit|quit|open|display")
_REMEDY = "Choose another name: ... as NAME."


def variable_name(asked: str | None, dids: Sequence[str], variables: Mapping[str, Any]) -> str:
    """Choose the name of the variable that an attach creates.

    Parameters
    ----------
    asked
        The name that the user wrote after ``as``; None to derive it from the DID.
    dids
        The DIDs to attach.
    variables
        The existing variables.

    Raises
    ------
    BadRequest
        If it is not a valid name or already used: by a keyword, a builtin, IPython, or a variable that attach did
        not create.
    """
    name = unicodedata.normalize("NFKC", asked if asked is not None else _derived(dids))
    taken = _taken(name)
    if taken and asked is None:
        name += "_files"
    elif taken:
        raise BadRequest(f"{asked!r} cannot be the variable: it is {taken}.", _REMEDY)
    if name in variables and not _is_ours(variables[name]):
        kind = type(variables[name]).__name__
        raise BadRequest(
            f"There is already a variable {name} ({kind}), and attach did not create it.",
            f"Choose another name (... as NAME), or run this first: del {name}.",
        )
    return name


def _derived(dids: Sequence[str]) -> str:
    """Derive a name from a DID; for several DIDs it is just ``files``."""
    if len(dids) != 1:
        return "files"
    name = re.sub(r"\W+", "_", dids[0].removeprefix(PREFIX).partition(":")[2]).strip("_")
    return name if name.isidentifier() else f"files_{name}".rstrip("_")


def _taken(name: str) -> str:
    """Say what a name is already, if it cannot be used for a variable."""
    if not name.isidentifier() or not is_printable(name):
        return "not a Python name"
    if keyword.iskeyword(name):
        return "a Python keyword"
    if _IPYTHONS.fullmatch(name):
        return "IPython's own"
    return "a Python builtin" if hasattr(builtins, name) else ""


def _is_ours(value: object) -> bool:
    """Whether attach created a value. If its class is not imported yet, it created none."""
    files = sys.modules.get("rucio_lab.api.files")
    return files is not None and isinstance(value, files.FileList)
