"""Execute one notebook with the Python of this environment: ``python -m rucio_lab.demo.execute NOTEBOOK OUTPUT``.

The kernel always runs in this Python, whatever kernels the user has installed, and in the working directory of this
process. If a cell fails, the executed notebook is still written, the error is printed, and the exit status is 1.
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
        """Return the kernel of this interpreter for any name."""
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


def execute(notebook: Path, output: Path) -> bool:
    """Execute a notebook and write the executed notebook.

    Parameters
    ----------
    notebook
        The notebook to execute.
    output
        Path of the executed notebook.

    Returns
    -------
    bool
        Whether all cells succeeded; an error is printed.
    """
    try:
        content = nbformat.read(notebook, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError, UnicodeDecodeError) as error:
        print(f"{notebook} is not a Jupyter notebook: {error}".splitlines()[0], flush=True)
        return False
    total = len(content.cells)

    def say(cell: Any, cell_index: int) -> None:
        print(f"cell {cell_index + 1} of {total}", flush=True)

    manager = AsyncKernelManager(kernel_spec_manager=_ThisPython())
    client = NotebookClient(content, timeout=None, km=manager, on_cell_start=say)
    try:
        client.execute(cleanup_kc=True)  # nbclient stops only kernels of its own manager unless told to
    except (CellExecutionError, DeadKernelError) as error:
        print(f"\n{_COLOURS.sub('', str(error)).strip()}", flush=True)
        return False
    finally:
        nbformat.write(content, output)
    return True


if __name__ == "__main__":
    sys.exit(0 if execute(Path(sys.argv[1]), Path(sys.argv[2])) else 1)
