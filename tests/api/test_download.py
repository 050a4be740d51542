"""Downloads from a notebook: the variable, the magics, the progress bar, and the interrupt key."""

from __future__ import annotations

import os
import pickle
import pty
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uproot

from rucio_lab import FileList, FilesUnavailable, attach, download
from rucio_lab.demo.samples import file_names
from tests.lake.files import LARGE
from tests.lake.lake import FullLake
from tests.support.checks import assert_clear

SCOPE = "opendata13TeV"
Run = Callable[[str], Any]


@pytest.fixture
def base(lake: FullLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is configured for downloads."""
    path = lake.config()
    path.write_text(path.read_text() + f'\n[downloads]\nfolder = "{tmp_path / "downloads"}"\n')
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(path))
    return tmp_path / "downloads"


def test_attach_downloads_if_asked_to(base: Path, run: Run) -> None:
    cell = run(f"%rucio_attach {SCOPE}:GamGam.MC as files --access download")
    assert cell.error is None, cell.text
    assert f"downloaded to {base}/test/{SCOPE}" in cell.text
    value = run("[(str(f.did), f.dataset.name, f.bytes, f.adler32, f.scheme) for f in files]").value
    streamed = attach(f"{SCOPE}:GamGam.MC")
    assert [(did, size) for did, _, size, _, _ in value] == [(str(f.did), f.bytes) for f in streamed]
    assert {scheme for *_, scheme in value} == {"file"}
    assert all(Path(path).stat().st_size == f.bytes for path, f in zip(run("files").value, streamed, strict=True))
    assert run("len(list(__import__('uproot').iterate(files.uproot('mini'), ['photon_pt']))) > 0").value is True


def test_the_download_magic_gives_the_files(base: Path, run: Run, tmp_path: Path) -> None:
    target = tmp_path / "with blanks"
    cell = run(f"files = %rucio_download {SCOPE}:GamGam.Data --limit 1 --scheme https --to '{target}'")
    assert cell.error is None, cell.text
    (path,) = run("files.urls").value
    assert Path(path).parent == target / "data_A.GamGam"
    assert run("files").value.__class__ is FileList
    assert "1 of " in repr(run("files").value)
    assert "DATASET/NAME" in run("%rucio_download --help").text


def test_files_that_are_attached_can_be_downloaded(base: Path, lake: FullLake) -> None:
    streamed = attach(f"{SCOPE}:GamGam.Data", scheme="https")
    some = streamed[2:0:-1].download()
    assert [entry.did for entry in some] == [entry.did for entry in streamed[2:0:-1]]
    assert all(Path(path).is_file() for path in some)
    assert sorted(base.rglob("*.root")) == sorted(map(Path, some.urls))
    mixed = streamed[:1].copy()
    mixed.append("/my/own.root")
    assert mixed.download().urls[1] == "/my/own.root"
    lake_files = attach(f"{SCOPE}:GamGam.Data", access="lake")
    assert lake_files.download().urls == streamed.download().urls
    whole = streamed.download()
    sent = lake.storages["https"].sent()
    assert whole.refresh().urls == streamed.download().urls
    assert lake.storages["https"].sent() - sent < 100  # probes
    assert pickle.loads(pickle.dumps(whole)).urls == whole.urls
    assert [replica.scheme for replica in whole[0].replicas[:2]] == ["file", "https"]
    assert "downloaded" in repr(whole.explain())


def test_missing_files_are_one_error_and_the_rest_is_downloaded(base: Path) -> None:
    with pytest.raises(FilesUnavailable) as caught:
        download(f"{SCOPE}:partly")
    assert_clear(caught.value)
    assert "1 of 2 files could not be downloaded" in caught.value.message
    assert "tape" in caught.value.message
    assert [path.name for path in base.rglob("*.root")] == ["partly._0001.root"]
    with pytest.warns(UserWarning, match=r"partly\._0002"):
        assert len(download(f"{SCOPE}:partly", allow_missing=True)) == 1


@pytest.mark.parametrize("to", ["", "a\0b", "~nobody-of-this-name/x"])
def test_a_folder_that_is_not_allowed(base: Path, run: Run, to: str) -> None:
    cell = run(f"import rucio_lab; rucio_lab.download('{SCOPE}:web', to={to!r})")
    assert type(cell.error).__name__ == "BadRequest"
    assert_clear(cell.error)


def test_a_folder_that_is_a_file(base: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").write_text("")
    cell = run(f"%rucio_download {SCOPE}:web --to {tmp_path}/file")
    assert type(cell.error).__name__ in ("ConfigurationError", "FilesUnavailable")
    assert "not a folder" in str(cell.error)
    assert_clear(cell.error)


_SLOW = f"""
import rucio_lab.api.progress as progress
progress._DELAY = 0
%rucio_download {SCOPE}:large
"""


@pytest.mark.parametrize("widgets", [True, False])
def test_a_bar_in_a_notebook_with_and_without_widgets(
    base: Path, start_kernel: Callable[[], Any], widgets: bool
) -> None:
    kernel = start_kernel()
    shown: list[Any] = []
    hide = "" if widgets else "import sys; sys.modules['ipywidgets'] = None\n"
    reply = kernel.client.execute_interactive(
        hide + _SLOW, output_hook=lambda message: shown.append(message["content"]), timeout=60, allow_stdin=False
    )
    assert reply["content"]["status"] == "ok"
    text = str(shown)
    assert ("application/vnd.jupyter.widget-view+json" in text) is widgets
    assert "IProgress not found" not in text
    assert "1/1 files" in text or widgets


def test_no_bar_if_nobody_can_see_it(base: Path, python: Callable[..., Any]) -> None:
    done = python("-c", f"import rucio_lab; print(rucio_lab.download('{SCOPE}:large').urls[0])")
    assert done.stderr == ""
    with uproot.open(done.stdout.strip()) as file:
        assert "mini" in file


def test_a_bar_in_a_terminal(base: Path) -> None:
    code = "import rucio_lab.api.progress as p; p._DELAY = 0; import rucio_lab; "
    code += f"rucio_lab.download('{SCOPE}:large')"
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 100))
    with subprocess.Popen([sys.executable, "-c", code], stdout=its, stderr=its) as child:
        assert child.wait(60) == 0
    seen = os.read(ours, 10_000)
    assert b"Downloading: 100%" in seen
    assert b"1/1 files" in seen


def test_an_interrupted_download_can_be_resumed(base: Path, lake: FullLake, start_kernel: Callable[[], Any]) -> None:
    name = file_names(LARGE)[0]
    kernel = start_kernel()
    kernel.run("%load_ext rucio_lab\nimport signal; before = signal.getsignal(signal.SIGINT)")
    proxy = lake.faulty["http"]
    proxy.silent()
    kernel.client.execute(f"%rucio_download {SCOPE}:faulty.http", stop_on_error=False)
    until = time.monotonic() + 30
    while proxy.connections < 2 and time.monotonic() < until:  # the probe's, then the download's own
        time.sleep(0.05)
    time.sleep(0.3)
    start = time.monotonic()
    kernel.manager.interrupt_kernel()
    content = kernel.client.get_shell_msg(timeout=30)["content"]
    assert time.monotonic() - start < 4
    assert content["traceback"] == [
        "KeyboardInterrupt: %rucio_download was interrupted; finished and partial files are kept."
    ]
    proxy.forward()
    reply, text = kernel.run(f"%rucio_download {SCOPE}:faulty.http {SCOPE}:large\nsignal.getsignal(2) is before or 1/0")
    assert reply["status"] == "ok", text
    assert (base / "test" / SCOPE / "large" / name).is_file()
