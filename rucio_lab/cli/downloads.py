"""``rucio-lab downloads``: show the download folder and its size, or empty it."""

from __future__ import annotations

import argparse

from rucio_lab.core.config.instances import load_downloads
from rucio_lab.core.copies.base_folder import checked_base, empty, usage
from rucio_lab.core.text import printable
from rucio_lab.core.words import count, size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option of the verb."""
    parser.add_argument("--empty", action="store_true", help="remove everything that was downloaded there")


def run(options: argparse.Namespace) -> int:
    """Show the folder and its size, or empty it.

    Returns
    -------
    int
        0; errors are exceptions.
    """
    base = checked_base(load_downloads().folder)
    used = empty(base) if options.empty else usage(base)
    files = f"{count(used.files, 'file')}, {size(used.bytes)}"
    if used.partial:
        files += f", and parts of {count(used.partial, 'file')}, {size(used.partial_bytes)}"
    print(printable(f"{base}: {files}{' removed' if options.empty else ''}; {size(used.free)} free."))
    return 0
