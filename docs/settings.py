"""Writes what ``configuration.md`` takes from the code: ``python docs/settings.py``; a test holds the page to it.

Between ``<!-- NAME ... -->`` and ``<!-- end -->`` stands what `BLOCKS` gives for that name.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from rucio_lab.core.config import presets, settings
from rucio_lab.core.config.layers import REMOTE_SETTINGS, REMOTE_WAYS, Layer
from rucio_lab.core.config.settings import Instance

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "configuration.md"
STRUCTS: dict[str, type[msgspec.Struct]] = {
    value.__name__: value
    for value in (Layer, *vars(settings).values())
    if isinstance(value, type) and issubclass(value, msgspec.Struct)
}


def table(struct: type[msgspec.Struct]) -> Iterator[str]:
    """Give the lines of a table of all settings of a struct, in the words of its docstring."""
    hints = get_type_hints(struct)
    defaults = {field.name: field.default for field in msgspec.structs.fields(struct)}
    yield "| setting | default | meaning |"
    yield "| --- | --- | --- |"
    for names, meaning in described(struct):
        known = [name for name in names if name != "name"]
        if known:
            settings = ", ".join(f"`{name}`" for name in known)
            yield f"| {settings} | {shown(defaults[known[0]])} | {meaning}{choices(hints[known[0]])} |"


def described(struct: type[msgspec.Struct]) -> Iterator[tuple[list[str], str]]:
    """Give the settings of a struct and their meanings, from the section Attributes of its docstring.

    Raises
    ------
    LookupError
        If a setting has none, or one is described that does not exist.
    """
    text = (inspect.getdoc(struct) or "").partition("Attributes\n----------\n")[2]
    found = []
    for entry in re.findall(r"^(\S.*)\n((?:[ ]{4}.*\n?|\n)+)", text + "\n", re.MULTILINE):
        meaning = " ".join(entry[1].split()).replace("``", "`").rstrip(".")
        found.append((entry[0].split(", "), meaning))
    names = [name for names, _ in found for name in names]
    if names != list(struct.__struct_fields__):
        raise LookupError(f"{struct.__name__} has {struct.__struct_fields__}, and its docstring {names}")
    yield from found


def shown(default: Any) -> str:
    """Give a default as TOML has it; nothing for what is empty."""
    if default in ("", None, (), {}) or default is msgspec.NODEFAULT or isinstance(default, msgspec.Struct):
        return ""
    if isinstance(default, float):
        return f"`{default:g}`"
    if isinstance(default, tuple):
        return f"`{list(default)}`".replace("'", '"')
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def choices(kind: Any) -> str:
    """Say which words a setting may be, where they are given."""
    if get_origin(kind) is not Literal:
        return ""
    return ": " + ", ".join(f"`{word}`" for word in get_args(kind) if word is not NoneType)


def example(path: str) -> Iterator[str]:
    """Give a file of ``deploy`` as a block of code."""
    yield f"```{'toml' if path.endswith('.toml') else 'python'}"
    yield (ROOT / "deploy" / path).read_text().rstrip()
    yield "```"


def all_presets() -> Iterator[str]:
    """Give a table of the presets."""
    yield "| preset | server | sign-in |"
    yield "| --- | --- | --- |"
    for name in presets.names():
        settings = presets.settings(name)
        yield f"| `{name}` | {settings['url']} | `{settings['auth']}` |"


def remote_settings() -> Iterator[str]:
    """Say what a remote configuration may set."""
    ordered = [name for name in Instance.__struct_fields__ if name in REMOTE_SETTINGS]
    yield f"It may set {', '.join(f'`{name}`' for name in ordered)} of an instance,"
    yield f"with `auth` one of {', '.join(f'`{way}`' for way in REMOTE_WAYS)}, and `default`."


BLOCKS: dict[str, Callable[[str], Iterator[str]]] = {
    "settings": lambda name: table(STRUCTS[name]),
    "example": example,
    "presets": lambda _: all_presets(),
    "remote": lambda _: remote_settings(),
}


def filled(page: str) -> str:
    """Give the page with all its blocks written anew."""

    def fill(found: re.Match[str]) -> str:
        name, _, argument = found[1].partition(" ")
        return "\n".join([f"<!-- {found[1]} -->", *BLOCKS[name](argument), "<!-- end -->"])

    return re.sub(r"<!-- (?!end)(.+?) -->\n.*?<!-- end -->", fill, page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
