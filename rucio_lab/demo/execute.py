"""Execute one notebook with the Python of this environment: ``python -m rucio_lab.demo.execute NOTEBOOK OUTPUT``.

The kernel is always this very Python, whatever kernels are installed for the user. Its working directory is this
process's. The executed notebook is written also when a cell fails; the status is then 1, and the error is printed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class _ThisPython(KernelSpecManager):
    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the kernel of this interpreter under any name."""
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


def execute(notebook: Path, output: Path) -> bool:
    """Execute a notebook and write what came of it.

    Parameters
    ----------
    notebook
        What to execute.
    output
        Where the executed notebook goes.

    Returns
    -------
    bool
        Whether all cells went well; what did not is printed.
    """
    try:
        content = nbformat.read(notebook, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError, UnicodeDecodeError) as error:
        print(f"{notebook} is no Jupyter notebook: {error}".splitlines()[0], flush=True)
        return False
    total = len(content.cells)

    def say(cell: Any, cell_index: int) -> None:
        print(f"cell {cell_index + 1} of {total}", flush=True)

    manager = AsyncKernelManager(kernel_spec_manager=_ThisPython())
    client = NotebookClient(content, timeout=None, km=manager, on_cell_start=say)
    try:
        client.execute(cleanup_kc=True)  # or it would leave a kernel running whose manager is not its own
    except (CellExecutionError, DeadKernelError) as error:
        print(f"\n{_COLOURS.sub('', str(error)).strip()}", flush=True)
        return False
    finally:
        nbformat.write(content, output)
    return True


if __name__ == "__main__":
    sys.exit(0 if execute(Path(sys.argv[1]), Path(sys.argv[2])) else 1)
