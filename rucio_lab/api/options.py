"""The options of an attach: their types, and how a command line writes them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from typing import TypedDict, cast, get_args

from rucio_lab.core.model import Access


class AttachOptions(TypedDict, total=False):
    """The options of `attach` and `download`. The magics and the command line use the same names."""

    access: Access | None
    scheme: str | Iterable[str] | None
    rse: str | None
    instance: str | None
    limit: int | None
    allow_missing: bool
    to: str | os.PathLike[str] | None


def add_attach_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``%rucio_attach`` and ``rucio-lab resolve``."""
    parser.add_argument(
        "--access",
        choices=get_args(Access),
        help="URLs, paths on mounted RSEs, rucio:// addresses that survive a dead replica, or verified copies on this "
        "machine (default: the instance's)",
    )
    add_choice_options(parser)


def add_choice_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose replicas and files."""
    parser.add_argument("--scheme", metavar="SCHEMES", help="the only schemes to use, best first: root,https")
    parser.add_argument("--rse", metavar="EXPRESSION", help="RSE expression that limits the replicas")
    parser.add_argument("--limit", type=int, metavar="N", help="attach the first N files only")
    parser.add_argument(
        "--allow-missing", action="store_true", help="leave out files that cannot be read, with a warning"
    )


def options_of(arguments: argparse.Namespace) -> AttachOptions:
    """Give the options that a command line contains."""
    known = AttachOptions.__annotations__
    return cast("AttachOptions", {name: value for name, value in vars(arguments).items() if name in known})
