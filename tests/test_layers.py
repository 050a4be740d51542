"""Who may import whom: the core nothing of Jupyter, the kernel nothing of the server, and rucio through one door."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rucio_lab"
FACES = {"tornado", "IPython", "jupyter_server", "traitlets", "ipykernel", "notebook", "jupyterlab"}

FORBIDDEN = {
    "core": FACES | {"rucio_lab.kernel", "rucio_lab.server", "rucio_lab.cli", "rucio_lab.demo"},
    "kernel": {"rucio_lab.server", "jupyter_server", "tornado"},
    "server": {"rucio_lab.kernel", "IPython"},
}
"""Layer -> what its source may not name in an import, at whatever depth."""

RUCIO_DOOR = {"rucio_api.py"}
"""The only module of the core that imports rucio."""


def modules(layer: str) -> list[Path]:
    return sorted((PACKAGE / layer).glob("**/*.py"))


def imports(path: Path) -> Iterator[str]:
    """Give the full name of whatever a module imports, at its top or inside a function."""
    package = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            source = ".".join(filter(None, (base, node.module)))
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


def reaches(name: str, forbidden: set[str]) -> bool:
    return any(name == other or name.startswith(f"{other}.") for other in forbidden)


@pytest.mark.parametrize("layer", [layer for layer in FORBIDDEN if modules(layer)])
def test_source_of_a_layer_keeps_to_its_side(layer: str) -> None:
    wrong = {
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in modules(layer)
        for name in imports(path)
        if reaches(name, FORBIDDEN[layer])
    }
    assert not wrong


def test_the_core_has_one_door_to_rucio() -> None:
    doors = {path.name for path in modules("core") if any(reaches(name, {"rucio"}) for name in imports(path))}
    assert doors == RUCIO_DOOR


@pytest.mark.parametrize("module", [f"rucio_lab.core.{path.stem}" for path in modules("core")])
def test_importing_the_core_loads_nothing_of_jupyter(module: str) -> None:
    """By what is really loaded, since a library in between could do it; jupyter_core is no face, only paths."""
    code = f"import sys, {module}; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert module in loaded
    assert not [name for name in loaded if reaches(name, FORBIDDEN["core"])]


def test_resolving_loads_no_reader() -> None:
    """uproot and XRootD take long to load, and are for whoever reads."""
    code = "import sys, rucio_lab.core.resolve; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not [name for name in loaded if reaches(name, {"uproot", "XRootD", "awkward", "aiohttp", "numpy"})]
