"""Which name a variable may have, so that attach never takes one that is not its own."""

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
_REMEDY = "Choose another: ... as NAME."


def variable_name(asked: str | None, dids: Sequence[str], variables: Mapping[str, Any]) -> str:
    """Settle the name of the variable that an attach makes.

    Parameters
    ----------
    asked
        What the user wrote after ``as``; None to derive it from the DID.
    dids
        The DIDs to attach.
    variables
        The variables there are.

    Raises
    ------
    BadRequest
        If it is no name, or the name of something else: a keyword, builtin, part of IPython, or a variable that
        attach did not make.
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
            f"There is a variable {name} already ({kind}), and attach did not make it.",
            f"Choose another (... as NAME), or first: del {name}.",
        )
    return name


def _derived(dids: Sequence[str]) -> str:
    """Make a name of a DID's; several DIDs are just ``files``."""
    if len(dids) != 1:
        return "files"
    name = re.sub(r"\W+", "_", dids[0].removeprefix(PREFIX).partition(":")[2]).strip("_")
    return name if name.isidentifier() else f"files_{name}".rstrip("_")


def _taken(name: str) -> str:
    """Say what a name is, where it is not free for a variable."""
    if not name.isidentifier() or not is_printable(name):
        return "no Python name"
    if keyword.iskeyword(name):
        return "a Python keyword"
    if _IPYTHONS.fullmatch(name):
        return "IPython's own"
    return "a Python builtin" if hasattr(builtins, name) else ""


def _is_ours(value: object) -> bool:
    """Whether attach made a value. Where its class is not yet imported, it made none."""
    files = sys.modules.get("rucio_lab.api.files")
    return files is not None and isinstance(value, files.FileList)
