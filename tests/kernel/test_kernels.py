"""The same in every kind of kernel: jupyter_client, nbclient, papermill, plain ipython, and the start-up file."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from papermill.exceptions import PapermillExecutionError

BAD = "%load_ext rucio_lab\n%rucio_attach nocolon as files"
SENTENCE = "BadRequest: 'nocolon' is not a DID: it has no colon between scope and name."

Python = Callable[..., "subprocess.CompletedProcess[str]"]
HEAVY = (
    "aiohttp",
    "awkward",
    "fsspec",
    "jupyter_server",
    "msgspec",
    "numpy",
    "requests",
    "rucio",
    "tornado",
    "uproot",
    "XRootD",
)


def notebook(home: Path, *cells: str) -> Path:
    path = home / "notebook.ipynb"
    kernelspec = {"name": "python3", "display_name": "Python 3"}
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    content.metadata["kernelspec"] = kernelspec
    nbformat.write(content, path)
    return path


def shown(path: Path, cell: int) -> str:
    """Give all that stands under a cell of an executed notebook."""
    text = []
    for output in json.loads(path.read_text())["cells"][cell]["outputs"]:
        text += output.get("traceback", []) + output.get("text", [])
    return "\n".join(text)


# ------------------------------------------------------------------------------------------------ errors


def test_a_failed_magic_is_a_failed_cell_with_one_line(start_kernel: Any, unconfigured: None) -> None:
    kernel = start_kernel()
    reply, text = kernel.run(BAD)
    assert reply["status"] == "error"
    assert reply["ename"] == "BadRequest"
    assert text.startswith(SENTENCE)
    assert len(text.strip().splitlines()) == 1
    assert len(reply["traceback"]) == 1


def test_what_was_queued_behind_a_failed_magic_is_dropped(start_kernel: Any, unconfigured: None) -> None:
    client = start_kernel().client
    failed, queued = client.execute(BAD), client.execute("went_on = True")
    status = {}
    while not {failed, queued} <= status.keys():
        message = client.get_shell_msg(timeout=60)
        status[message["parent_header"]["msg_id"]] = message["content"]["status"]
    assert status[failed] == "error"
    assert status[queued] == "aborted"


def test_nbclient_stops_and_shows_the_sentence(home: Path, unconfigured: None) -> None:
    content = nbformat.read(notebook(home, BAD, "went_on = True"), as_version=4)
    with pytest.raises(CellExecutionError, match="BadRequest"):
        NotebookClient(content, timeout=60).execute()
    (output,) = content.cells[0].outputs
    assert output.output_type == "error"
    assert "\n".join(output.traceback).startswith(SENTENCE)
    assert not content.cells[1].outputs
    assert content.cells[1].execution_count is None


def test_jupyter_execute_ends_with_an_error(home: Path, python: Python, unconfigured: None) -> None:
    done = python(str(Path(sys.executable).with_name("jupyter-execute")), str(notebook(home, BAD)))
    assert done.returncode != 0
    assert SENTENCE in done.stderr


def test_papermill_stops_and_shows_the_sentence(home: Path, unconfigured: None) -> None:
    path = notebook(home, BAD, "went_on = True")
    with pytest.raises(PapermillExecutionError, match="BadRequest"):
        papermill.execute_notebook(path, home / "out.ipynb", progress_bar=False)
    assert SENTENCE in (home / "out.ipynb").read_text()


def test_plain_ipython_shows_the_sentence(home: Path, python: Python, unconfigured: None) -> None:
    script = home / "script.ipy"
    script.write_text(BAD + "\nprint('went', 'on')\n")
    done = python("-m", "IPython", "--colors=NoColor", str(script))
    assert SENTENCE in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "went on" not in done.stdout


def test_login_without_anybody_to_ask_fails_plainly(home: Path, start_kernel: Any, monkeypatch: Any) -> None:
    config = home / "rucio_lab.toml"
    config.write_text('[instances.asking]\nurl = "http://127.0.0.1:9"\nauth = "userpass"\naccount = "alice"\n')
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(config))
    reply, text = start_kernel().run("%load_ext rucio_lab\n%rucio_login")
    assert reply["ename"] == "SignInNeeded"
    assert "nobody can be asked" in text
    assert len(text.strip().splitlines()) == 1


def test_login_asks_in_the_kernel_and_shows_no_password(home: Path, start_kernel: Any, monkeypatch: Any) -> None:
    config = home / "rucio_lab.toml"
    config.write_text('[instances.asking]\nurl = "http://127.0.0.1:9"\nauth = "userpass"\naccount = "alice"\n')
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(config))
    client = start_kernel().client
    asked: list[tuple[str, bool]] = []

    def answer(message: dict[str, Any]) -> None:
        asked.append((message["content"]["prompt"], message["content"]["password"]))
        client.input("s3cr3t" if message["content"]["password"] else "alice")

    seen: list[str] = []
    reply = client.execute_interactive(
        "%load_ext rucio_lab\n%rucio_login",
        allow_stdin=True,
        stdin_hook=answer,
        output_hook=lambda message: seen.append(json.dumps(message["content"])),
        timeout=60,
    )
    assert asked == [("User name for asking: ", False), ("Password of alice for asking: ", True)]
    assert reply["content"]["ename"] == "LakeUnreachable"
    assert "s3cr3t" not in "".join(seen)


# ------------------------------------------------------------------------------------------------ interrupts


def test_an_interrupt_ends_a_slow_attach(start_kernel: Any, silent: Any) -> None:
    kernel = start_kernel()
    kernel.run("%load_ext rucio_lab")
    kernel.client.execute("%rucio_attach scope:name as files", stop_on_error=False)
    assert silent.asked.wait(30)
    start = time.monotonic()
    kernel.manager.interrupt_kernel()
    content = kernel.client.get_shell_msg(timeout=30)["content"]
    assert time.monotonic() - start < 10
    assert content["ename"] == "KeyboardInterrupt"
    assert content["traceback"] == ["KeyboardInterrupt: %rucio_attach was interrupted; no variable was changed."]
    assert kernel.run("print('files' in globals())")[1] == "False\n"


# ------------------------------------------------------------------------------------------------ loading


def test_the_startup_file_loads_the_magics_and_leaves_no_trace(startup: Path, start_kernel: Any) -> None:
    kernel = start_kernel()
    _, text = kernel.run(
        "print(sorted(name for name in globals() if 'rucio' in name or name == 'annotations'), __doc__)"
    )
    assert text.startswith("[] Automatically created module for IPython")
    assert kernel.run("%rucio_attach nocolon")[1].startswith(SENTENCE)


def test_load_ext_after_the_startup_file_is_silent(startup: Path, start_kernel: Any) -> None:
    reply, text = start_kernel().run("%load_ext rucio_lab")
    assert reply["status"] == "ok"
    assert text == ""


def test_the_startup_file_prints_nothing_in_ipython(startup: Path, python: Python) -> None:
    done = python("-m", "IPython", "-c", "print(get_ipython().find_line_magic('rucio_attach').__name__)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "rucio_attach\n", "")


def test_the_startup_file_survives_a_missing_or_broken_package(
    startup: Path, home: Path, python: Python, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "broken").mkdir()
    (home / "broken" / "rucio_lab.py").write_text("raise SyntaxError('broken')")
    monkeypatch.setenv("PYTHONPATH", str(home / "broken"))
    (startup.parent / "60-later.py").write_text("later = True\n")
    done = python("-m", "IPython", "-c", "print(later)")
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize("path", ["", ":", "."])
def test_the_startup_file_imports_nothing_from_the_working_folder(
    startup: Path, home: Path, start_kernel: Any, python: Python, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Which may be anybody's: a notebook in it is opened, and no cell was run yet. Else all is as it was."""
    monkeypatch.setenv("PYTHONPATH", path)
    code = "import sys; print(get_ipython().find_line_magic('rucio_attach') is not None, sys.path)"
    before = [python("-m", "IPython", "-c", code).stdout, start_kernel().run(code)[1]]
    assert all(each.startswith("True [") and "''" in each for each in before)
    (home / "rucio_lab").mkdir()
    (home / "rucio_lab" / "__init__.py").write_text(f"open({str(home / 'ran')!r}, 'a').close()\n")
    assert [python("-m", "IPython", "-c", code).stdout, start_kernel().run(code)[1]] == before
    assert not (home / "ran").exists()


def test_the_startup_file_is_plain_python_too(startup: Path, python: Python) -> None:
    done = python(str(startup))  # no get_ipython here
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_loading_imports_next_to_nothing(python: Python) -> None:
    code = (
        "import sys, time\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell()\n"
        "shell.run_line_magic('load_ext', 'storemagic')\n"  # what the first load_ext of all costs is not ours
        "before, start = set(sys.modules), time.perf_counter()\n"
        "shell.run_line_magic('load_ext', 'rucio_lab')\n"
        "took = time.perf_counter() - start\n"
        "import json\n"
        "print(json.dumps([took, sorted(set(sys.modules) - before)]))"
    )
    runs = [json.loads(python("-c", code).stdout.splitlines()[-1]) for _ in range(3)]
    assert min(took for took, _ in runs) < 0.010
    assert runs[0][1] == ["rucio_lab", "rucio_lab._version", "rucio_lab.kernel"]


@pytest.mark.parametrize("code", ["import rucio_lab", "from rucio_lab import FileList, RucioLabError, DID"])
def test_importing_loads_nothing_heavy(python: Python, code: str) -> None:
    done = python("-c", f"import sys\n{code}\nprint([name for name in {HEAVY} if name in sys.modules])")
    assert done.stdout == "[]\n"


def test_an_unknown_name_is_an_ordinary_attribute_error(python: Python) -> None:
    done = python("-c", "import rucio_lab\nassert 'attach' in dir(rucio_lab)\nfrom rucio_lab import atach")
    assert "ImportError: cannot import name 'atach'" in done.stderr
