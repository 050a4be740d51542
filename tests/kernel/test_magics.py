"""The magics in a real interactive shell: lines, names, help, and errors that stop a cell with one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from rucio_lab import DID, DidInfo, attach
from rucio_lab.core.errors import BadRequest, ConfigurationError, RucioLabError
from rucio_lab.kernel.parsers import PARSERS
from tests.lake.lake import FullLake

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
        ("s:n as f  # what it is", ["s:n", "as", "f"]),
        ("s:n as f # it's mine", ["s:n", "as", "f"]),
        ("s:n#1 's:# 2'", ["s:n#1", "s:# 2"]),
        ("s:a, s:b , s:c,s:d as f", ["s:a", "s:b", "s:c", "s:d", "as", "f"]),
        ("s:a,b 's:c,s:d' 's:e,'", ["s:a,b", "s:c,s:d", "s:e,"]),
        ("s:a\u00a0s:b\u3000as f ", ["s:a", "s:b", "as", "f"]),
        ("'s:a\u3000b'", ["s:a\u3000b"]),
        (r"s:a\ b", ["s:a b"]),
        ("s:n as f;", ["s:n", "as", "f"]),
        ("'s:a b' ; # not shown", ["s:a b"]),
        (r"s:a;b 's:c;' s:d\;", ["s:a;b", "s:c;", "s:d;"]),
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


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{did} as f", ["s:a b, c", "as", "f"]),
        ("$did, as f", ["s:a b, c", "as", "f"]),
        ("{scope}:{name}.$number", ["s:n.7"]),
        ("$dids {found}", ["s:1", "s:2", "s:3"]),
        ("'{did}' \"$did\" s:{other}", ["{did}", "$did", "s:{other}"]),
        ("{scope}:{dids}", ["s:{dids}"]),
    ],
)
def test_variables_are_filled_in_but_not_in_quotes(line: str, expected: list[str]) -> None:
    known = {"did": "s:a b, c", "scope": "s", "name": "n", "number": 7}
    known |= {"dids": ["s:1", DID("s", "2")], "found": DidInfo(DID("s", "3"), "dataset", 1, 1)}
    assert PARSERS["rucio_attach"].parse_line(line, known).words == expected


def test_a_variable_of_the_cell_or_of_its_function(run: Run, shell: InteractiveShell, unconfigured: None) -> None:
    shell.user_ns.update(did="nocolon")
    assert "'nocolon' is not a DID" in run("%rucio_attach {did} as z").text
    assert "'inner' is not a DID" in run("def f(did):\n    %rucio_attach $did as z\nf('inner')").text


def test_a_variable_that_does_not_exist(run: Run, unconfigured: None) -> None:
    result = run("%rucio_attach {did} as z")
    assert isinstance(result.error, BadRequest)
    assert "There is no variable did for {did}. Define it, or write the DID itself." in result.text


@pytest.mark.parametrize("word", ["{did[0]}", "{did['k']}", "{{did}}", "{ did }"])
def test_an_expression_in_braces(run: Run, shell: InteractiveShell, unconfigured: None, word: str) -> None:
    shell.user_ns.update(did={"k": "s:n"})
    result = run(f"%rucio_attach {word} as z")
    assert isinstance(result.error, BadRequest)
    assert f"{word.split(maxsplit=1)[0]} cannot be filled in: only the name of a variable" in result.text


@pytest.mark.parametrize(
    ("did", "says"),
    [
        ("scope:Gam\u200bGam", "(U+200B after 'Gam')"),
        ("\ufeffscope:n", "(U+FEFF at the beginning)"),
        ("scope\uff1aname", "'\uff1a' (U+FF1A) only looks like a colon"),
        ("\u201cscope:name\u201d", "it begins with \u201c"),
        ("['s:n']", "it begins with ["),
        ("{scope}:name", "it begins with {"),
        ("https://rucio-ui.example.org/did?scope=s&name=n", "is a URL, not a DID. Write s:n."),
        ("https://x/[y?scope=s", "is a URL, not a DID."),
    ],
)
def test_what_only_looks_like_a_did(run: Run, unconfigured: None, did: str, says: str) -> None:
    result = run(f"%rucio_attach {did} as x")
    assert isinstance(result.error, BadRequest)
    assert says in result.text


def test_the_list_can_be_assigned(run: Run, shell: InteractiveShell, lake: FullLake) -> None:
    did = "opendata13TeV:GamGam.Data"
    shell.user_ns["did"] = did
    assigned = run("files = %rucio_attach {did}")
    assert (assigned.error, assigned.text, assigned.value) == (None, "", None)
    assert shell.user_ns["files"] == attach(did)
    assert "GamGam_Data" not in shell.user_ns
    shown = run("%rucio_attach $did as shown")
    assert (shown.text.count("shown: "), shown.value) == (1, None)
    assert run("%rucio_attach $did\n1").value == 1
    assert shell.user_ns["shown"] == shell.user_ns["GamGam_Data"] == shell.user_ns["files"]
    assert run("def f():\n    x = %rucio_attach $did as y\n    return x\nf()").value == attach(did)
