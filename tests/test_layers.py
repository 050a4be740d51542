"""Who may import whom: a tower of rooms, each of which imports only from those below it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "rucio_lab"

FACES = {"tornado", "IPython", "jupyter_server", "traitlets", "ipykernel", "notebook", "jupyterlab"}

TOWER = (
    "rucio_lab.cli",
    "rucio_lab.demo",
    "rucio_lab.server",
    "rucio_lab.kernel",
    "rucio_lab.api",
    "rucio_lab.core.jobs",
    "rucio_lab.core.transfer",
    "rucio_lab.core.filesystem",
    "rucio_lab.core.resolve",
    "rucio_lab.core.reading",
    "rucio_lab.core.copies",
    "rucio_lab.core.catalogue",
    "rucio_lab.core.storage",
    "rucio_lab.core.identity",
    "rucio_lab.core.upstream",
    "rucio_lab.core.config",
    "rucio_lab.core",  # the modules that lie in it themselves
)
"""The rooms from the top down: none imports from one above it."""

APART = {
    "rucio_lab.cli": {"rucio_lab.kernel"},
    "rucio_lab.server": {"rucio_lab.kernel", "rucio_lab.api"},
    "rucio_lab.kernel": {"rucio_lab.server"},
}
"""Rooms that never meet, though one stands above the other."""

FORBIDDEN = {
    "rucio_lab.core": FACES,
    "rucio_lab.api": FACES - {"IPython"},
    "rucio_lab.kernel": {"jupyter_server", "tornado"},
    "rucio_lab.server": {"IPython"},
}
"""Room -> packages that its source may not name in an import, at whatever depth."""

RUCIO_DOOR = {"rucio_lab.core.upstream.rucio_api"}
"""The only module of the core that imports rucio."""

LIGHT = ROOT / "tests" / "light_imports.json"
"""Modules -> what of ours they import inside a function, to be light, or since it is needed at that moment only."""

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.glob("**/*.py"))
    if "labextension" not in path.parts
}


def room(module: str) -> str:
    """Give the room of a module: the longest name of the tower that it begins with."""
    return max((each for each in TOWER if module == each or module.startswith(f"{each}.")), key=len, default="")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Give the full name of whatever a module imports, and whether that is inside a function or for types only."""

    def walk(node: ast.AST, *, inside: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                yield from ((f"{child.module}.{alias.name}", inside) for alias in child.names)
            deeper = inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from walk(
                child, inside=deeper or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test))
            )

    yield from walk(ast.parse(path.read_text()), inside=False)


def own(path: Path) -> Iterator[tuple[str, bool]]:
    """Give the modules of ours that a module imports, and whether it does so at once."""
    for name, inside in imports(path):
        if module := module_of(name):
            yield module, not inside


def named(path: Path) -> set[str]:
    """Give the modules of ours that a module names in a string, to start them or to have them imported."""
    texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    words = {text for text in texts if isinstance(text, str) and text.startswith("rucio_lab.")}
    return {module for word in words if (module := module_of(word.replace(":", ".")))} - {module_of("rucio_lab")}


def module_of(name: str) -> str:
    """Give the module that a name is of, or in: empty if it is none of ours."""
    return name if name in MODULES else name.rpartition(".")[0] if name.rpartition(".")[0] in MODULES else ""


def reaches(name: str, others: set[str]) -> bool:
    return any(name == other or name.startswith(f"{other}.") for other in others)


def upward(module: str, other: str) -> bool:
    """Whether a module stands below what it imports, or apart from it."""
    here, there = room(module), room(other)
    if not here or not there:
        return False
    return TOWER.index(there) < TOWER.index(here) or there in APART.get(here, ())


def test_nothing_imports_upwards() -> None:
    """Nor names in a string, as ``python -m`` does, what stands above it."""
    wrong = [
        f"{module} {how} {other}"
        for module, path in MODULES.items()
        for how, others in (("imports", {other for other, _ in own(path)}), ("names", named(path)))
        for other in sorted(others)
        if upward(module, other)
    ]
    assert not wrong


def test_no_circle_of_modules() -> None:
    """Also not by imports inside of functions."""
    below = {module: {other for other, _ in own(path)} - {module} for module, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for other in sorted(below.get(module, ())):
                visit(other, (*way, module))
            done.add(module)

    for module in below:
        if module.startswith("rucio_lab.core"):
            visit(module, ())


def test_imports_inside_of_functions_are_known() -> None:
    found = {
        module: sorted(
            {other for other, at_once in own(path) if not at_once} - {other for other, at_once in own(path) if at_once}
        )
        for module, path in MODULES.items()
    }
    known = json.loads(LIGHT.read_text())
    assert {module: others for module, others in found.items() if others} == known


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_source_of_a_room_keeps_to_its_side(layer: str) -> None:
    wrong = {
        f"{module} imports {name}"
        for module, path in MODULES.items()
        if reaches(module, {layer})
        for name, _ in imports(path)
        if reaches(name, FORBIDDEN[layer])
    }
    assert not wrong


def test_the_core_has_one_door_to_rucio() -> None:
    doors = {
        module
        for module, path in MODULES.items()
        if reaches(module, {"rucio_lab.core"}) and any(reaches(name, {"rucio"}) for name, _ in imports(path))
    }
    assert doors == RUCIO_DOOR


def loaded_by(*modules: str) -> list[str]:
    code = f"import sys, {', '.join(modules)}; print(*sys.modules, sep='\\n')"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def test_importing_the_core_loads_nothing_of_jupyter() -> None:
    """By what is really loaded, since a library in between could do it; jupyter_core is no face, only paths."""
    core = [module for module in MODULES if reaches(module, {"rucio_lab.core"}) and not module.endswith("__main__")]
    assert not [name for name in loaded_by(*core) if reaches(name, FACES)]


def test_resolving_loads_no_reader() -> None:
    """uproot and XRootD take long to load, and are for whoever reads."""
    heavy = {"uproot", "XRootD", "awkward", "aiohttp", "numpy"}
    assert not [name for name in loaded_by("rucio_lab.core.resolve.resolution") if reaches(name, heavy)]


def test_each_room_says_what_it_is_for() -> None:
    for name in TOWER[:-1]:
        text = ast.get_docstring(ast.parse((PACKAGE.parent / name.replace(".", "/") / "__init__.py").read_text()))
        assert text, name
        assert text.splitlines()[0].endswith("."), name


def test_no_module_bears_the_name_of_its_room() -> None:
    assert not [module for module in MODULES if module.count(".") and len(set(module.split(".")[-2:])) == 1]
