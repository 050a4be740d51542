"""``rucio-lab resolve``: what ``%rucio_attach`` would give, without a notebook."""

from __future__ import annotations

import argparse
import sys
from urllib.parse import quote

from rucio_lab.api.options import add_attach_options, options_of
from rucio_lab.core.text import is_printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb: those of ``%rucio_attach``."""
    parser.add_argument("dids", nargs="+", metavar="DID", help="scope:name of files, datasets, containers")
    parser.add_argument("--instance", metavar="NAME", help="name or host of a Rucio instance")
    add_attach_options(parser)


def run(options: argparse.Namespace) -> int:
    """Print one address per line; everything else goes to standard error.

    Returns
    -------
    int
        0; errors are exceptions.
    """
    from rucio_lab.api.attach import find_files

    files = find_files(options.dids, **options_of(options))
    for address in files.urls:
        print(_on_one_line(address))
    for words in (repr(files), repr(files.explain()), *files.notes):
        print(words, file=sys.stderr)
    return 0


def _on_one_line(address: str) -> str:
    """Percent-encode the characters of an address that are invisible, or that the locale does not have.

    A path that contains some becomes a ``file://`` address.
    """
    if _can_be_shown(address):
        return address
    if "://" not in address:
        address = f"file://{quote(address, errors='surrogatepass')}"
    return "".join(each if _can_be_shown(each) else quote(each, errors="surrogatepass") for each in address)


def _can_be_shown(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return is_printable(text)
