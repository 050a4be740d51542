"""What the line magics do: one call each, and printed output."""

# ruff: noqa: T201 - magics print their output

from __future__ import annotations

import argparse
import dis
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rucio_lab.api.options import options_of
from rucio_lab.core.errors import RucioLabError
from rucio_lab.core.text import printable
from rucio_lab.kernel.names import variable_name
from rucio_lab.kernel.parsers import PARSERS


def _attach(shell: Any, args: argparse.Namespace) -> Any:
    dids, asked = args.words, None
    if dids[-2:-1] == ["as"]:
        *dids, _, asked = dids
    assigned = _is_assigned()
    name = None if assigned and asked is None else variable_name(asked, dids, shell.user_ns)
    from rucio_lab.api.attach import find_files

    files = find_files(dids, **options_of(args))
    if name is not None:
        shell.push({name: files})
        print(f"{name}: {files!r}")
    for note in files.notes:
        print(f"Warning: {note}", file=sys.stderr)
    return files if assigned else None


def _is_assigned() -> bool:
    """Whether the cell uses the value of its magic, as in ``files = %rucio_attach DID``, and does not only show it."""
    frame = inspect.currentframe()
    while frame and frame.f_code.co_name != "run_line_magic":
        frame = frame.f_back
    caller = frame.f_back if frame else None
    if caller is None:
        return False
    after = next((each for each in dis.get_instructions(caller.f_code) if each.offset > caller.f_lasti), None)
    printed = ("PRINT_EXPR", "CALL_INTRINSIC_1")  # until Python 3.11, and from then on
    return after is not None and after.opname not in ("POP_TOP", *printed)


def _download(_shell: Any, args: argparse.Namespace) -> Any:
    from rucio_lab.api.attach import find_files

    files = find_files(args.dids, **options_of(args))
    for note in files.notes:
        print(f"Warning: {note}", file=sys.stderr)
    return files


def _search(_shell: Any, args: argparse.Namespace) -> Any:
    from rucio_lab.api.search import search

    return search(args.pattern, type=args.type, filters=args.filter, limit=args.limit, instance=args.instance)


def _ls(_shell: Any, args: argparse.Namespace) -> Any:
    from rucio_lab.api.search import ls

    return ls(args.did, instance=args.instance)


def _login(_shell: Any, args: argparse.Namespace) -> None:
    from rucio_lab.api.login import login, make_proxy
    from rucio_lab.core.config.instances import load_instances
    from rucio_lab.core.identity.signing_in import can_renew
    from rucio_lab.core.storage.shown import describe, in_words
    from rucio_lab.core.words import until

    instance = load_instances().get(args.name or args.instance)
    if args.proxy or args.voms:
        make_proxy(instance.name, voms=args.voms)
    sign_in = login(instance.name, username=args.username, code=args.code, timeout=args.timeout)
    who = f" as {sign_in.account}" if sign_in.account else ""
    renewed = ", renewed before it ends" if can_renew(instance) else ""
    print(printable(f"Signed in to {instance.name}{who}{until(sign_in.expires)}{renewed}."))
    facts = describe(instance)
    for line in (*in_words(facts), *facts.problems):
        print(f"  {printable(line)}")


def _logout(_shell: Any, args: argparse.Namespace) -> None:
    from rucio_lab.api.login import logout
    from rucio_lab.core.config.instances import load_instances

    instance = load_instances().get(args.name or args.instance).name
    logout(instance)
    print(printable(f"Signed out of {instance}."))


_COMMANDS: dict[str, Callable[[Any, argparse.Namespace], Any]] = {
    "rucio_attach": _attach,
    "rucio_download": _download,
    "rucio_search": _search,
    "rucio_ls": _ls,
    "rucio_login": _login,
    "rucio_logout": _logout,
}


def help_of(name: str) -> str:
    """Give the help of a magic."""
    return PARSERS[name].format_help()


def run(shell: Any, name: str, line: str, variables: Mapping[str, Any] | None = None) -> Any:
    """Run a magic.

    Parameters
    ----------
    shell
        The interactive shell. Attach creates its variable in it.
    name
        Name of the magic.
    line
        The arguments of the magic.
    variables
        The local variables of the function that uses the magic; those of the user count, too.
    """
    parser = PARSERS[name]
    with _one_line_errors(parser.prog):
        if {"-h", "--help"} & set(line.split()):  # before the parser complains about missing arguments
            print(parser.format_help())
            return None
        return _COMMANDS[name](shell, parser.parse_line(line, {**shell.user_ns, **(variables or {})}))


@contextmanager
def _one_line_errors(prog: str) -> Iterator[None]:
    """Make IPython show one sentence instead of a traceback. The cell still fails."""
    try:
        yield
    except RucioLabError as error:
        _show_as(error, f"{type(error).__name__}: {error}")
        raise
    except KeyboardInterrupt as error:
        left = "finished and partial files are kept" if prog == "%rucio_download" else "no variable was changed"
        _show_as(error, f"KeyboardInterrupt: {prog} was interrupted; {left}.")
        raise


def _show_as(error: BaseException, text: str) -> None:
    # IPython looks for this method in an exception before it formats a traceback.
    error._render_traceback_ = lambda: [printable(text)]  # type: ignore[attr-defined]
