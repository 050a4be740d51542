"""The magics and the variable on the test lake: what a user types, and what happens."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import nbformat
import papermill
import pytest
import uproot
from nbclient import NotebookClient

import rucio_lab
from rucio_lab import BadRequest, FileList, FilesUnavailable, NotFound
from rucio_lab.core.text import is_printable
from tests.lake.content import HOSTILE_NAMES
from tests.lake.lake import FullLake

Run = Callable[[str], Any]
GAMGAM = "opendata13TeV:GamGam"


@pytest.fixture(autouse=True)
def _with_lake(lake: FullLake) -> None:
    """Every test here is on the lake; ``lake`` comes before ``home``, which takes the sign-in elsewhere."""


# ------------------------------------------------------------------------------------------------ attach


def test_attaches_a_nested_container(run: Run, shell: Any) -> None:
    result = run(f"%rucio_attach {GAMGAM} as files")
    files = shell.user_ns["files"]
    assert result.error is None
    assert result.value is None
    assert result.text.startswith(f"files: {files!r}")
    assert {entry.dataset.name for entry in files} > {"data_A.GamGam", "data_D.GamGam"}
    assert files == sorted(files, key=lambda entry: entry.did)
    assert {entry.rse for entry in files} <= {"CERN-EOS", "TRIUMF-DISK"}


@pytest.mark.parametrize(
    ("line", "name", "datasets"),
    [
        ("opendata13TeV:data_A.GamGam", "data_A_GamGam", {"data_A.GamGam"}),
        ("opendata13TeV:data_A.GamGam opendata13TeV:data_B.GamGam", "files", {"data_A.GamGam", "data_B.GamGam"}),
        ("opendata13TeV:data_[AB]* as none", None, set()),
        (
            "opendata13TeV:data_* as data",
            "data",
            {"data_A.GamGam", "data_B.GamGam", "data_C.GamGam", "data_D.GamGam"},
        ),
    ],
)
def test_attaches_datasets_and_patterns(run: Run, shell: Any, line: str, name: str | None, datasets: set[str]) -> None:
    result = run(f"%rucio_attach {line}")
    if name is None:
        assert isinstance(result.error, NotFound)
        return
    assert {str(entry.dataset) for entry in shell.user_ns[name] if entry.dataset} == {
        f"opendata13TeV:{dataset}" for dataset in datasets
    }


def test_attaches_a_single_file_as_a_list(run: Run, shell: Any) -> None:
    run(f"%rucio_attach {GAMGAM} as files")
    one = shell.user_ns["files"][0]
    run(f"%rucio_attach {one.did} as one")
    assert shell.user_ns["one"] == [one]
    assert shell.user_ns["one"][0].dataset is None


@pytest.mark.parametrize("scheme", ["root", "http"])
def test_uproot_reads_the_list_directly(run: Run, shell: Any, scheme: str) -> None:
    run(f"%rucio_attach opendata13TeV:data_A.GamGam as files --scheme {scheme}")
    files = shell.user_ns["files"]
    assert {entry.scheme for entry in files} == {scheme}
    with uproot.open({files[0]: "mini"}) as tree:
        events = tree.num_entries
    total = len(uproot.concatenate(files.uproot("mini"), ["photon_pt"]))
    by_steps = sum(len(chunk) for chunk in uproot.iterate(files.uproot("mini"), ["photon_pt"], step_size=10_000))
    assert total == by_steps >= events > 0
    assert len(uproot.concatenate([f"{file}:mini" for file in files], ["photon_pt"])) == total


def test_a_mounted_rse_gives_paths(lake: FullLake, run: Run, shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = lake.config("test", test={"mounts": {"NOTEBOOK-POSIX": lake.mount("NOTEBOOK-POSIX")}})
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(config))
    result = run("%rucio_attach opendata13TeV:posix as files --access mount")
    (path,) = shell.user_ns["files"]
    assert Path(path).stat().st_size == path.bytes
    assert "mounted" in result.text


def test_options_reach_rucio(run: Run, shell: Any) -> None:
    run("%rucio_attach opendata13TeV:data_A.GamGam as files --rse TRIUMF-DISK --instance test")
    assert {entry.rse for entry in shell.user_ns["files"]} == {"TRIUMF-DISK"}
    result = run(f"%rucio_attach {GAMGAM} as few --limit 2")
    total = len(rucio_lab.attach(GAMGAM))
    assert result.text.startswith(f"few: 2 of {total} files, ")


def test_files_that_cannot_be_read_are_an_error_or_a_warning(run: Run, shell: Any) -> None:
    result = run("%rucio_attach opendata13TeV:partly as files")
    assert isinstance(result.error, rucio_lab.FilesUnavailable)
    assert "partly._0002.root" in result.text
    assert "tape" in result.text
    assert "--allow-missing" in result.text
    assert len(result.text.strip().splitlines()) == 1
    assert "files" not in shell.user_ns
    result = run("%rucio_attach opendata13TeV:partly as files --allow-missing")
    assert result.error is None
    assert "1 missing" in result.text
    assert "Warning: Left out because it cannot be read from here: opendata13TeV:partly._0002.root." in result.text
    assert [did.name for did in shell.user_ns["files"].missing] == ["partly._0002.root"]


def test_attach_warns_in_python(run: Run) -> None:
    with pytest.warns(UserWarning, match=r"partly\._0002\.root"):
        files = rucio_lab.attach("opendata13TeV:partly", allow_missing=True)
    assert len(files) == 1


def test_a_file_in_two_datasets_is_listed_once_with_a_note(run: Run, shell: Any) -> None:
    result = run("%rucio_attach opendata13TeV:shared opendata13TeV:data_A.GamGam as files")
    files = shell.user_ns["files"]
    assert len({entry.did for entry in files}) == len(files)
    assert "1 in several datasets" in result.text
    assert "is in more than one of the datasets; it is here once" in result.text


def test_a_dataset_that_can_grow_says_so(run: Run) -> None:
    assert "dataset still open" in run("%rucio_attach opendata13TeV:open as files").text


@pytest.mark.parametrize(
    ("did", "says"),
    [
        ("opendata13TeV:empty", "is empty"),
        ("opendata13TeV:nothing", "has no DID opendata13TeV:nothing"),
        ("opendata13tev:GamGam", "has no scope 'opendata13tev'"),
        ("opendata13TeV:on.tape", "tape"),
        ("opendata13TeV:blocked", "blocked"),
        ("opendata13TeV:no.replica", "no replica"),
        ("opendata13TeV:dead", "DEAD-DISK"),
    ],
)
def test_says_why_nothing_can_be_attached(run: Run, shell: Any, did: str, says: str) -> None:
    result = run(f"%rucio_attach {did} as files")
    assert isinstance(result.error, rucio_lab.RucioLabError)
    assert says in result.text
    assert result.error.remedy in result.text
    assert len(result.text.strip().splitlines()) == 1
    assert "files" not in shell.user_ns


@pytest.mark.parametrize("name", [name for name in HOSTILE_NAMES if "\n" not in name])
def test_hostile_names_are_data(run: Run, shell: Any, name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    assert run(f'%rucio_attach "hostile:{quoted}" as files').error is None
    files = shell.user_ns["files"]
    assert [(entry.did.name, entry.dataset.name) for entry in files] == [(f"{name}.root", name)]
    html = files._repr_html_() + files.explain()._repr_html_()
    assert "<img" not in html
    assert "<script" not in html


def test_a_small_dataset_attaches_quickly(run: Run) -> None:
    run("%rucio_attach opendata13TeV:data_A.GamGam as files")
    start = time.monotonic()
    assert run("%rucio_attach opendata13TeV:data_A.GamGam as files").error is None
    assert time.monotonic() - start < 5


# ------------------------------------------------------------------------------------------------ the variable


def test_explains_which_replicas_it_took_and_left_out(run: Run, shell: Any) -> None:
    run("%rucio_attach opendata13TeV:tape.and.disk as files")
    rows = {(row.rse, row.state): row.why for row in shell.user_ns["files"].explain().rows}
    assert ("CERN-EOS", "taken") in rows
    assert "tape" in rows["CERN-TAPE", "left out"]
    assert "CERN-TAPE" in run("files.explain()").text


def test_refresh_asks_again_in_place(lake: FullLake, run: Run, shell: Any) -> None:
    name = f"growing.{time.monotonic_ns()}"
    old, new = ({"scope": "opendata13TeV", "name": f"{dataset}._0001.root"} for dataset in ("closed", "web"))
    dataset = {"scope": "opendata13TeV", "name": name, "type": "DATASET"}
    lake.rest("POST", "/dids", json=[{**dataset, "dids": [old]}])
    run(f"%rucio_attach opendata13TeV:{name} as files")
    files = shell.user_ns["files"]
    part = files[:]
    files.append("/tmp/mine.root")
    lake.rest("POST", f"/dids/opendata13TeV/{name}/dids", json={"dids": [new]})
    assert files.refresh() is files
    assert [getattr(entry, "did", entry) for entry in files] == [
        ("opendata13TeV", "closed._0001.root"),
        ("opendata13TeV", "web._0001.root"),
        "/tmp/mine.root",
    ]
    assert [entry.did.name for entry in part.refresh()] == ["closed._0001.root"]
    lake.rest("DELETE", f"/dids/opendata13TeV/{name}/dids", json={"dids": [old]})
    assert [entry.did.name for entry in files.refresh()[:1]] == ["web._0001.root"]
    with pytest.raises(
        rucio_lab.FilesUnavailable, match=r"1 file is no longer available: .*it is no longer in the attached DIDs"
    ) as caught:
        part.refresh()
    assert caught.value.reasons.keys() == {"opendata13TeV:closed._0001.root"}
    assert [entry.did.name for entry in part] == ["closed._0001.root"]


def test_a_failed_refresh_leaves_the_list_unchanged(
    run: Run, shell: Any, unconfigured_after: Callable[[], None]
) -> None:
    run("%rucio_attach opendata13TeV:web as files")
    before = list(shell.user_ns["files"])
    unconfigured_after()
    with pytest.raises(rucio_lab.ConfigurationError):
        shell.user_ns["files"].refresh()
    assert shell.user_ns["files"] == before


@pytest.fixture
def unconfigured_after(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    return lambda: monkeypatch.setenv("RUCIO_LAB_CONFIG", str(tmp_path / "gone.toml"))


def test_a_worker_without_configuration_can_read_it(
    run: Run, shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("%rucio_attach opendata13TeV:data_A.GamGam as files")
    pickled = pickle.dumps(shell.user_ns["files"])
    for secret in ("alice-pass", "token"):
        assert secret.encode() not in pickled
    (tmp_path / "files.pickle").write_bytes(pickled)
    code = (
        "import pickle, uproot; files = pickle.load(open('files.pickle', 'rb'));"
        "print(len(uproot.concatenate(files.uproot('mini'), ['photon_pt'])), files[0].did)"
    )
    monkeypatch.delenv("RUCIO_LAB_CONFIG")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == str(shell.user_ns["files"][0].did)


# ------------------------------------------------------------------------------------------------ hostile names


def test_files_with_hidden_names_are_shown_on_one_line(run: Run, shell: Any, unseen: str) -> None:
    rucio_lab.login()
    result = run(f"%rucio_attach {unseen} as files --allow-missing --scheme root")
    assert result.error is None
    files = shell.user_ns["files"]
    assert r"hostile:evil\u2028!x" in result.text
    for shown in (result.text, repr(list(files)), repr(files.explain()), files._repr_html_(), *files.notes):
        assert all(map(is_printable, shown.split("\n")))
    assert r"mirror\u202etoor.ataD" in files._repr_html_()


def test_an_error_with_escapes_of_terminals_is_one_line(run: Run, lake: FullLake, unseen: str) -> None:
    refused = run(f"%rucio_attach {unseen} as files")
    assert isinstance(refused.error, FilesUnavailable)
    asked = run("%rucio_ls 'hostile:clip\x1b]52;c;cm0gLXJmIC8=\x07'")
    assert isinstance(asked.error, BadRequest)
    for shown in (refused.text, asked.text):
        assert is_printable(shown.strip("\n"))


# ------------------------------------------------------------------------------------------------ everywhere the same

NOTEBOOK = (
    "%load_ext rucio_lab",
    "%rucio_attach opendata13TeV:data_A.GamGam as files",
    "import uproot\nprint(len(uproot.concatenate(files.uproot('mini'), ['photon_pt'])) > 0, len(files))",
)


def written(folder: Path) -> Path:
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in NOTEBOOK])
    content.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(content, folder / "in.ipynb")
    return folder / "in.ipynb"


def test_the_same_in_nbclient_papermill_and_ipython(home: Path, python: Any) -> None:
    files = rucio_lab.attach("opendata13TeV:data_A.GamGam")
    assert isinstance(files, FileList)
    expected = f"True {len(files)}\n"
    content = nbformat.read(written(home), as_version=4)
    NotebookClient(content, timeout=120).execute()
    assert content.cells[-1].outputs[0].text == expected
    papermill.execute_notebook(home / "in.ipynb", home / "out.ipynb", progress_bar=False)
    assert nbformat.read(home / "out.ipynb", as_version=4).cells[-1].outputs[0].text == expected
    (home / "script.ipy").write_text("\n".join(NOTEBOOK))
    assert python("-m", "IPython", str(home / "script.ipy")).stdout.endswith(expected)


def test_restart_and_run_all_works_and_so_does_running_a_cell_twice(start_kernel: Any) -> None:
    kernel = start_kernel()
    for _ in range(2):
        for cell in (*NOTEBOOK, NOTEBOOK[1], NOTEBOOK[2]):
            reply, text = kernel.run(cell)
            assert reply["status"] == "ok", text
        kernel.manager.restart_kernel(now=True)
        kernel.client.wait_for_ready(timeout=60)


# ------------------------------------------------------------------------------------------------ what takes long


def test_a_long_attach_shows_a_bar_and_can_be_interrupted(start_kernel: Any, lake: FullLake) -> None:
    name = f"many.{uuid4().hex[:8]}"
    names = [f"{name}._{number:04d}.root" for number in range(400)]
    files = [{"scope": "opendata13TeV", "name": file, "bytes": 1, "adler32": "00000001"} for file in names]
    lake.rest("POST", "/replicas", json={"rse": "WEB-DISK", "files": files})
    whole = {"scope": "opendata13TeV", "name": name, "type": "DATASET", "dids": files}
    lake.rest("POST", "/dids", json=[whole])
    kernel = start_kernel()
    kernel.run("import rucio_lab.core.catalogue.pfns, rucio_lab.api.progress, threading, time")
    kernel.run("rucio_lab.core.catalogue.pfns.AT_ONCE = 10")
    kernel.run("rucio_lab.api.progress._DELAY = 0.1; rucio_lab.attach('opendata13TeV:web')")
    asked = kernel.client.execute(f"files = rucio_lab.attach('opendata13TeV:{name}', limit=399)", stop_on_error=False)
    shown = ""
    while "Finding replicas" not in shown:
        message = kernel.client.get_iopub_msg(timeout=60)
        if message["parent_header"]["msg_id"] == asked:
            shown += json.dumps(message["content"])  # text, or a widget where ipywidgets is installed
    begin = time.monotonic()
    kernel.manager.interrupt_kernel()
    reply = kernel.client.get_shell_msg(timeout=60)
    while reply["parent_header"]["msg_id"] != asked:
        reply = kernel.client.get_shell_msg(timeout=60)
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert time.monotonic() - begin < 20  # to write the traceback takes a busy machine some of it
    left = "[thread for thread in threading.enumerate() if thread.name.startswith('rucio-lab')]"
    reply, text = kernel.run(
        f"end = time.monotonic() + 30\nwhile {left} and time.monotonic() < end: time.sleep(0.1)\n"
        f"assert not {left}, {left}\nprint(len(rucio_lab.attach('opendata13TeV:GamGam')))"
    )
    assert text == "17\n"
