"""The command ``rucio-lab`` and its verbs."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module

from rucio_lab._version import __version__
from rucio_lab.core.errors import RucioLabError

# verb: (module with add_arguments and run, imported only when the verb is used; what it does)
_VERBS = {
    "demo": ("rucio_lab.demo.command", "start a demo lake with a real Rucio, and run a notebook on it"),
    "doctor": ("rucio_lab.cli.doctor", "check the whole set-up and say what to fix"),
    "resolve": ("rucio_lab.cli.resolve", "print what %%rucio_attach would give, one address per line"),
    "downloads": ("rucio_lab.cli.downloads", "show the download folder and its size, or empty it"),
    "jobs": ("rucio_lab.cli.jobs", "list the downloads that run in the background"),
    "job": ("rucio_lab.cli.jobs", "show the log of one of them, cancel it, start it again or forget it"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments
        The default is those of the command line.

    Returns
    -------
    int
        Exit status: 0 for success, 1 for a failure, 130 if interrupted.
    """
    words = list(map(_readable, sys.argv[1:]) if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # in the locale of the terminal, print what can be printed
    parser = argparse.ArgumentParser("rucio-lab", description="The Rucio Data Lake inside the notebook.")
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="{" + ",".join(_VERBS) + "}")
    for verb, (module, purpose) in _VERBS.items():
        known = verbs.add_parser(verb, help=purpose, description=purpose.replace("%%", "%").capitalize() + ".")
        if words[:1] == [verb]:
            import_module(module).add_arguments(known)
    options = parser.parse_args(words)
    try:
        status: int = import_module(_VERBS[options.verb][0]).run(options)
    except RucioLabError as error:
        print(f"rucio-lab {options.verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _readable(word: str) -> str:
    """Read an argument as UTF-8 if it makes no sense in the locale."""
    if not re.search("[\udc80-\udcff]", word):
        return word
    try:
        return os.fsencode(word).decode()
    except UnicodeDecodeError:
        return word
