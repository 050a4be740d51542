"""The magics in a real interactive shell: lines, names, help, and errors that stop a cell with one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from rucio_lab.core.errors import BadRequest, ConfigurationError, RucioLabError
from rucio_lab.kernel.parsers import PARSERS

Run = Callable[[str], Any]


def words(line: str) -> list[str]:
    return PARSERS["rucio_attach"].parse_line(line).words


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("s:n as files", ["s:n", "as", "files"]),
        ("s:n --limit 5 as files", ["s:n", "as", "files"]),
        ("--limit 5 s:n as files --allow-missing", ["s:n", "as", "files"]),
        ("s:a s:b* as files", ["s:a", "s:b*", "as", "files"]),
        ("'s:a name with blanks' as files", ["s:a name with blanks", "as", "files"]),
        (""""s:it's" 's:say "x"' """, ["s:it's", 's:say "x"']),
        ("s:a{b}c$d#e%f", ["s:a{b}c$d#e%f"]),
        ("s:/a/b:c..d/é", ["s:/a/b:c..d/é"]),
    ],
)
def test_reads_a_line(line: str, expected: list[str]) -> None:
    assert words(line) == expected


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%rucio_attach nocolon as x", "'nocolon' is not a DID: it has no colon"),
        ("%rucio_attach a: as x", "'a:' is not a DID: its name is empty"),
        ("%rucio_attach a/b:c as x", "the scope 'a/b' contains a slash"),
        ("%rucio_attach 's:a\x07b' as x", "control characters"),
        ("%rucio_attach", "No DID was given."),
        ("%rucio_attach as files", "No DID was given."),
        ("%rucio_attach 's:open as x", "a quote is not closed"),
        ("%rucio_attach s:n --limit many", "argument --limit: invalid int value: 'many'"),
        ("%rucio_attach s:n --limit 0", "A limit of 0 leaves no file."),
        ("%rucio_attach s:n --access teleport", "argument --access: invalid choice: 'teleport'"),
        ("%rucio_attach s:n --lim 3", "unrecognized arguments: --lim 3"),
        ("%rucio_search", "required: PATTERN"),
        ("%rucio_search s:n --limit 0", "A limit of 0 leaves no DID."),
        ("%rucio_ls s:a*", "s:a* is a pattern"),
    ],
)
def test_bad_input_is_answered_in_one_sentence(run: Run, unconfigured: None, cell: str, says: str) -> None:
    result = run(cell)
    assert isinstance(result.error, BadRequest)
    assert says in result.text
    assert result.error.remedy in result.text
    assert len(result.text.strip().splitlines()) == 1


@pytest.mark.parametrize("magic", ["attach s:n", "search s:n*", "ls s:n", "login", "logout"])
def test_without_configuration_says_how_to_get_one(run: Run, unconfigured: None, magic: str) -> None:
    result = run(f"%rucio_{magic}")
    assert isinstance(result.error, ConfigurationError)
    assert "No Rucio instance is configured." in result.text
    assert "rucio-lab demo" in result.text
    assert len(result.text.strip().splitlines()) == 1


def test_code_after_a_failed_magic_does_not_run(run: Run, shell: InteractiveShell) -> None:
    run("%rucio_attach nocolon\nwent_on = True")
    assert "went_on" not in shell.user_ns


def test_an_error_of_the_api_keeps_its_traceback(run: Run) -> None:
    result = run("import rucio_lab; rucio_lab.attach('nocolon')")
    assert isinstance(result.error, BadRequest)
    assert "Traceback" in result.text


def test_a_caller_can_catch_the_error_of_a_magic(run: Run) -> None:
    code = "import rucio_lab\ntry:\n    %rucio_attach nocolon\nexcept rucio_lab.BadRequest:\n    caught = True\ncaught"
    assert run(code).value is True


@pytest.mark.parametrize("name", PARSERS)
def test_help_is_the_docstring(shell: InteractiveShell, capsys: pytest.CaptureFixture[str], name: str) -> None:
    parser = PARSERS[name]
    for ask in (f"%{name}?", f"%{name} --help"):
        capsys.readouterr()
        assert shell.run_cell(ask).success
        shown = capsys.readouterr().out
        assert parser.description in shown
        assert all(option in shown for option in parser.options())


def test_loading_twice_changes_nothing(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    import rucio_lab

    before = len(shell.Completer.custom_matchers)
    rucio_lab.load_ipython_extension(shell)
    assert len(shell.Completer.custom_matchers) == before
    assert capsys.readouterr().out == ""


def test_every_error_is_public() -> None:
    import rucio_lab
    from rucio_lab.core import errors

    names = {
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, RucioLabError)
    }
    assert names <= set(rucio_lab.__all__)
    assert all(getattr(rucio_lab, name) for name in rucio_lab.__all__)


def test_ipython_expands_no_variables_in_a_line(run: Run, shell: InteractiveShell, unconfigured: None) -> None:
    shell.user_ns.update(x="1", y="2")
    result = run("%rucio_attach {x}$y as z")
    assert "'{x}$y' is not a DID" in result.text
