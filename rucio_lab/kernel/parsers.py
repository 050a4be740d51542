"""How the lines of the magics are read: a parser each, whose help is the magic's own."""

from __future__ import annotations

import argparse
import shlex
from typing import NoReturn

from rucio_lab.api.options import add_attach_options, add_choice_options
from rucio_lab.core.errors import BadRequest


class MagicParser(argparse.ArgumentParser):
    """The parser of one magic's line; its errors are exceptions, since a notebook must not exit."""

    def __init__(self, name: str, takes: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=f"%{name}",
            usage=f"%(prog)s {takes} [options]",
            description=description,
            epilog=epilog,
            add_help=False,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.name = name
        self.color = False  # from Python 3.14 on, help is coloured; this one becomes a docstring
        self.add_argument("-h", "--help", action="store_true", help="show this help")

    def error(self, message: str) -> NoReturn:
        """Refuse a line."""
        raise BadRequest(f"{self.prog}: {message}.", f"{self.prog}? shows how it is used.")

    def parse_line(self, line: str) -> argparse.Namespace:
        """Read a line as a shell would, quotes and all, but without expanding anything."""
        try:
            words = shlex.split(line)
        except ValueError:
            self.error("a quote is not closed; a name with a quote in it goes into quotes of the other kind")
        return self.parse_intermixed_args(words)

    def options(self) -> dict[str, argparse.Action]:
        """Give the options that can be written, each with what it takes."""
        return {flag: action for action in self._actions for flag in action.option_strings if flag.startswith("--")}


def _parser(name: str, takes: str, description: str, epilog: str = "") -> MagicParser:
    parser = MagicParser(name, takes, description, epilog)
    parser.add_argument(
        "--instance", metavar="NAME", help="name or host of a Rucio instance (default: the default one)"
    )
    return parser


def _attach_parser() -> MagicParser:
    parser = _parser(
        "rucio_attach",
        "DID [DID ...] [as NAME]",
        "Attach the files of DIDs to a variable, without downloading them.",
        "examples:\n"
        "  %rucio_attach opendata13TeV:GamGam as files\n"
        "  %rucio_attach opendata13TeV:data_* 'user.me:a name with blanks' as files --scheme https --limit 10\n"
        "\nWith no name given, one is derived from the DID (scope:GamGam.Data -> GamGam_Data).",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="DID",
        help="scope:name of files, datasets, containers; * is a wildcard; last: as NAME",
    )
    add_attach_options(parser)
    return parser


def _download_parser() -> MagicParser:
    parser = _parser(
        "rucio_download",
        "DID [DID ...]",
        "Bring the files of DIDs to this machine, each checked against the checksum that Rucio has of it.",
        "examples:\n"
        "  files = %rucio_download opendata13TeV:GamGam\n"
        "  %rucio_download opendata13TeV:GamGam.Data --to ~/journey\n"
        "\nWhat is there is not fetched again, and what was interrupted goes on where it stopped.\n"
        "`rucio-lab downloads` shows where they are and how much, and removes them.",
    )
    parser.add_argument("dids", nargs="+", metavar="DID", help="scope:name of files, datasets, containers")
    parser.add_argument("--to", metavar="FOLDER", help="download into this folder, as DATASET/NAME")
    add_choice_options(parser)
    parser.set_defaults(access="download")
    return parser


def _search_parser() -> MagicParser:
    parser = _parser(
        "rucio_search",
        "PATTERN",
        "Find DIDs by name.",
        "example:\n  %rucio_search opendata13TeV:*GamGam* --type dataset",
    )
    parser.add_argument("pattern", metavar="PATTERN", help="scope:name, where * in the name is a wildcard")
    kinds = ("all", "collection", "container", "dataset", "file")
    parser.add_argument(
        "--type", choices=kinds, default="collection", help="what to find (collection: container or dataset)"
    )
    parser.add_argument(
        "--filter", action="append", default=[], metavar="CONDITION", help="condition on metadata: 'events>=1000'"
    )
    parser.add_argument("--limit", type=int, default=1000, metavar="N", help="find at most N (default: 1000)")
    return parser


def _ls_parser() -> MagicParser:
    parser = _parser("rucio_ls", "DID", "List what a container or dataset holds, one level down.")
    parser.add_argument("did", metavar="DID", help="scope:name")
    return parser


def _login_parser() -> MagicParser:
    parser = _parser(
        "rucio_login",
        "[INSTANCE]",
        "Sign in to a Rucio instance anew; asks for user name and password, or shows a link, where it needs them.",
    )
    parser.add_argument("name", nargs="?", metavar="INSTANCE", help="the same as --instance INSTANCE")
    parser.add_argument("--username", metavar="NAME", help="user name")
    parser.add_argument("--proxy", action="store_true", help="first make an X.509 proxy with voms-proxy-init")
    parser.add_argument("--voms", metavar="VO", default="", help="the same, with the attributes of a VO")
    parser.add_argument("--code", action="store_true", help="identity provider: ask for the code that its page shows")
    parser.add_argument(
        "--timeout", type=float, default=300.0, metavar="SECONDS", help="identity provider: how long to wait (300)"
    )
    return parser


def _logout_parser() -> MagicParser:
    parser = _parser("rucio_logout", "[INSTANCE]", "Forget the sign-in to a Rucio instance.")
    parser.add_argument("name", nargs="?", metavar="INSTANCE", help="the same as --instance INSTANCE")
    return parser


PARSERS = {
    parser.name: parser
    for parser in (
        _attach_parser(),
        _download_parser(),
        _search_parser(),
        _ls_parser(),
        _login_parser(),
        _logout_parser(),
    )
}
"""Name of each magic -> its parser."""
