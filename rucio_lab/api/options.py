"""The options of an attach, as arguments of a command line."""

from __future__ import annotations

import argparse
from typing import get_args

from rucio_lab.core.model import Access


def add_attach_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how files are to be read; those of ``%rucio_attach`` and ``rucio-lab resolve``."""
    parser.add_argument(
        "--access",
        choices=get_args(Access),
        help="URLs, paths on mounted RSEs, rucio:// addresses that survive a dead replica, or verified copies on this "
        "machine (default: the instance's)",
    )
    add_choice_options(parser)


def add_choice_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which replicas are used, and of which files."""
    parser.add_argument("--scheme", metavar="SCHEMES", help="the only schemes to use, best first: root,https")
    parser.add_argument("--rse", metavar="EXPRESSION", help="RSE expression that limits the replicas")
    parser.add_argument("--limit", type=int, metavar="N", help="attach the first N files only")
    parser.add_argument(
        "--allow-missing", action="store_true", help="leave out files that cannot be read, with a warning"
    )
