"""The parsers for the lines of the magics. The help of a parser is the help of its magic."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, NoReturn

from rucio_lab.api.options import add_attach_options, add_choice_options
from rucio_lab.core.errors import BadRequest
from rucio_lab.kernel.lines import dids_of, words_of


class MagicParser(argparse.ArgumentParser):
    """The parser of one magic's line. Errors raise an exception, because a notebook must not exit."""

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
        self.color = False  # Python 3.14 and newer colour the help, but this one becomes a docstring
        self.add_argument("-h", "--help", action="store_true", help="show this help")

    def error(self, message: str) -> NoReturn:
        """Refuse a line."""
        raise BadRequest(f"{self.prog}: {message}.", f"{self.prog}? shows how to use it.")

    def parse_line(self, line: str, variables: Mapping[str, Any] | None = None) -> argparse.Namespace:
        """Split a line into words, fill in the variables of the user, and read it."""
        try:
            words = words_of(line, variables or {})
        except ValueError:
            self.error("a quote is not closed; put a name that contains a quote into quotes of the other kind")
        parsed = self.parse_intermixed_args(words)
        for name in {"words", "dids"} & vars(parsed).keys():
            setattr(parsed, name, dids_of(getattr(parsed, name)))
        return parsed

    def options(self) -> dict[str, argparse.Action]:
        """Give the long options with their argparse actions."""
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
        "  files = %rucio_attach {did}\n"
        "\nWithout a name, the variable is named after the DID (scope:GamGam.Data -> GamGam_Data).\n"
        "{name} and $name are filled in, and # begins a comment, but not in quotes.",
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
        "Download the files of DIDs, and compare each with its checksum in Rucio.",
        "examples:\n"
        "  files = %rucio_download opendata13TeV:GamGam\n"
        "  %rucio_download opendata13TeV:GamGam.Data --to ~/journey\n"
        "\nComplete files are not downloaded again, and interrupted downloads resume.\n"
        "`rucio-lab downloads` shows the folder and its size, or empties it.",
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
        "Sign in to a Rucio instance again. Asks for user name and password, or shows a link, if needed.",
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
    parser = _parser("rucio_logout", "[INSTANCE]", "Sign out of a Rucio instance.")
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
