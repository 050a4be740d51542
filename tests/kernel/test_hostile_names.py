"""Names of a hostile Rucio on their way into code: one statement with one DID, or none at all."""

from __future__ import annotations

import ast
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from IPython.core.inputtransformer2 import TransformerManager
from IPython.core.interactiveshell import InteractiveShell

from rucio_lab.core.text import is_printable
from rucio_lab.kernel import completer
from rucio_lab.kernel.parsers import PARSERS
from tests.support.names import alike, names
from tests.support.shells import Kernel
from tests.support.typescript import TypeScript

TRANSFORMER = TransformerManager()


def magic_in(cell: str) -> tuple[str, list[str]]:
    """Read a cell as IPython does, which must be one magic; give its name, and the words behind it."""
    (statement,) = ast.parse(TRANSFORMER.transform_cell(cell)).body
    assert isinstance(statement, ast.Expr)
    call = statement.value
    assert isinstance(call, ast.Call)
    assert ast.unparse(call.func) == "get_ipython().run_line_magic"
    name, line = (ast.literal_eval(each) for each in call.args)
    parsed = vars(PARSERS[name].parse_line(line))
    assert not [key for key, value in parsed.items() if value and key not in ("words", "did", "access")]
    return name, parsed["words"] if name == "rucio_attach" else [parsed["did"]]


# ------------------------------------------------------------------------------------------------ cells of the sidebar


@pytest.fixture(scope="module")
def sidebar() -> Iterator[TypeScript]:
    with TypeScript() as sidebar:
        yield sidebar


@alike
@given(name=names)
def test_the_line_of_the_sidebar_is_one_statement(sidebar: TypeScript, name: str) -> None:
    did = f"s:{name}"
    if sidebar.call("code.isWritable", did):
        line = sidebar.call("code.attachLine", did, "files", None)
        assert magic_in(line) == ("rucio_attach", [did, "as", "files"])
    assert not sidebar.call("code.isWritable", f"-{did}")


@pytest.mark.parametrize("did", ["s:a,b:c", "s:a,", "s:{x}", "s:$x", "s:a #b"])
def test_names_that_mean_something_else_without_quotes(sidebar: TypeScript, did: str) -> None:
    line = sidebar.call("code.attachLine", did, "files", None).removeprefix("%rucio_attach ")
    assert PARSERS["rucio_attach"].parse_line(line, {"x": "secret"}).words == [did, "as", "files"]
    line = completer._quoted(did, "")
    assert PARSERS["rucio_attach"].parse_line(line, {"x": "secret"}).words == [did]


@alike
@given(name=names)
def test_the_addresses_of_the_sidebar_are_one_list(sidebar: TypeScript, name: str) -> None:
    urls = [f"root://a//{name}", name]
    files = [{"did": name, "url": url, "rse": name, "replicas": [], "left_out": []} for url in urls]
    listing = {"files": files, "missing": {f"s:{name}": name}, "notes": [name], "total": 3}
    code = sidebar.call("code.inlineCode", "files", listing)
    (statement,) = ast.parse(TRANSFORMER.transform_cell(code)).body
    assert isinstance(statement, ast.Assign)
    assert ast.literal_eval(statement.value) == urls


# ------------------------------------------------------------------------------------------------ Tab


class EvilRucio:
    """A Rucio whose names are what a test makes of them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.scopes = ["s"]
        evil = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                rows: list[Any] = [{"scope": "s", "name": name, "did_type": "FILE"} for name in evil.names]
                if "search" not in self.path:
                    rows = [evil.scopes]
                self.send_response(200)
                self.send_header("Content-Type", "application/x-json-stream")
                self.end_headers()
                self.wfile.write("".join(f"{json.dumps(row)}\n" for row in rows).encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def evil(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EvilRucio]:
    """An instance that is signed in to."""
    evil = EvilRucio()
    (home / "token").write_text("a-token")
    (home / "token").chmod(0o600)
    config = home / "evil.toml"
    config.write_text(
        f'[instances.evil]\nurl = "http://127.0.0.1:{evil.port}"\nauth = "token"\ntoken_file = "{home / "token"}"\n'
    )
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(config))
    yield evil
    evil.close()


@alike
@given(name=names.filter(bool))  # an answer with an empty name is refused as a whole
def test_what_tab_offers_is_one_word(evil: EvilRucio, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    evil.names = [name, "good"]
    monkeypatch.setattr(completer, "DEADLINE", 5)
    monkeypatch.setattr(completer, "_complete", completer.Completion())
    for quote in ("", "'", '"'):
        found = completer.matches(f"%rucio_ls {quote}s:")
        assert found["matched_fragment"] == f"{quote}s:"
        offered = [magic_in(f"%rucio_ls {each.text}") for each in list(found["completions"])]
        assert ("rucio_ls", ["s:good"]) in offered
        assert {words[0] for _, words in offered} <= {f"s:{name}", "s:good"}
        assert is_printable(name) or len(offered) == 1


@alike
@given(name=names)
def test_the_scopes_that_tab_offers_are_words(evil: EvilRucio, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    evil.scopes = [name, "s"]
    monkeypatch.setattr(completer, "DEADLINE", 5)
    monkeypatch.setattr(completer, "_complete", completer.Completion())
    offered = [magic_in(f"%rucio_ls {each.text}n") for each in list(completer.matches("%rucio_ls ")["completions"])]
    assert ("rucio_ls", ["s:n"]) in offered
    assert {words[0] for _, words in offered} <= {f"{name}:n", "s:n"}
    assert is_printable(name) or len(offered) == 1


def test_tab_in_a_kernel_puts_no_command_into_the_cell(
    evil: EvilRucio, start_kernel: Callable[[], Kernel], home: Path
) -> None:
    evil.names = ["a\"\n!touch pwned #'", "b\u2028!touch pwned\u2028", "c\" --to '/tmp", "d'--instance evil\"", "good"]
    kernel = start_kernel()
    kernel.run("%load_ext rucio_lab\nimport rucio_lab.core.catalogue.lake")
    for code in ("%rucio_ls s:", "%rucio_ls 's:", '%rucio_ls "s:'):
        for _ in range(20):  # on a busy machine the answer can be too late for the first Tab
            found = kernel.complete(code)
            if found:
                break
        assert f"{code}good{code[10:-2]}" in found
        assert len(found) == (1 if '"' in code else 3)
        for line in found:
            assert len(line.splitlines()) == 1
            kernel.run(line)
    assert not (home / "pwned").exists()


# ------------------------------------------------------------------------------------------------ what is shown


def test_tables_show_what_is_hidden(evil: EvilRucio, shell: InteractiveShell, run: Callable[[str], Any]) -> None:
    evil.names = ["a\u202eb", "a\x1b[31mb", "<b>\u3164"]
    found = run("%rucio_search s:* --type all").value
    for shown in (repr(found), found._repr_html_()):
        assert all(text in shown for text in (r"a\u202eb", r"a\x1b[31mb", r"\u3164"))
        assert not {"\u202e", "\x1b", "\u3164"} & set(shown)
