"""The command ``rucio-lab demo``."""

from __future__ import annotations

import argparse
import importlib.resources
import json
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources.abc import Traversable
from pathlib import Path
from types import FrameType

from rucio_lab.core.errors import RucioLabError
from rucio_lab.demo.lake import DemoLake, answers
from rucio_lab.demo.processes import Child, free_port
from rucio_lab.demo.progress import Progress

RESULTS = "rucio-lab-demo"
"""Folder for the results, in the current directory."""

_NOTEBOOK = "hyy.ipynb"
_DAY = 86400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``rucio-lab demo``.

    Parameters
    ----------
    parser
        The parser of this subcommand.
    """
    parser.description = (
        "Start a real Rucio server and a storage with synthetic H->yy events on this machine, run the H->yy "
        f"notebook on them, and open JupyterLab. Results go to ./{RESULTS}/. Ctrl-C stops everything."
    )
    parser.add_argument(
        "--execute",
        metavar="NOTEBOOK",
        type=Path,
        help="only run this notebook on the lake, in the notebook's own folder; write NAME.executed.ipynb beside it, "
        "and exit with status 1 if a cell fails",
    )
    parser.add_argument(
        "--open-data",
        action="store_true",
        help="also register the public ATLAS Open Data files (opendata:GamGam.2020), which are read from CERN",
    )
    parser.add_argument("--no-browser", action="store_true", help="start JupyterLab without opening a browser")


def run(args: argparse.Namespace) -> int:
    """Run ``rucio-lab demo``.

    Parameters
    ----------
    args
        The options from :func:`add_arguments`.

    Returns
    -------
    int
        Exit status: 0, 1 if a step or a cell failed, or 128 + the signal that stopped it.
    """
    progress = Progress()
    stop = _Stop()
    try:
        with stop.installed():
            notebook = _existing(args.execute) if args.execute else None
            _check_writable(notebook.parent if notebook else Path.cwd())
            with DemoLake(progress=progress, open_data=args.open_data) as lake:
                progress.say(f"The lake is up: Rucio at {lake.url}, {_size(lake.storage.size())} of files.")
                if notebook:
                    return _execute(lake, notebook, notebook.with_suffix(".executed.ipynb"), progress)
                return _demo(lake, progress, browser=not args.no_browser)
    except KeyboardInterrupt:
        progress.say("Stopped; nothing is left running.")
        return 128 + (stop.signum or signal.SIGINT)
    except RucioLabError as error:
        progress.say(f"rucio-lab demo: {error}")
    except OSError as error:
        progress.say(f"rucio-lab demo: {error}. Is the disk full, or is the folder not writable?")
    return 1


class _Stop:
    """Turns the first Ctrl-C, SIGTERM or SIGHUP into KeyboardInterrupt; later ones do not interrupt the clean-up."""

    def __init__(self) -> None:
        self.signum: int | None = None

    def __call__(self, signum: int, _frame: FrameType | None) -> None:
        if self.signum is None:
            self.signum = signum
            raise KeyboardInterrupt

    @contextmanager
    def installed(self) -> Iterator[None]:
        before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        # a signal that was ignored before, for example by nohup, stays ignored
        before = {signum: handler for signum, handler in before.items() if handler is not signal.SIG_IGN}
        for signum in before:
            signal.signal(signum, self)
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)


def _existing(notebook: Path) -> Path:
    if not notebook.is_file():
        raise RucioLabError(f"The notebook {notebook} does not exist.", "Give the path of an .ipynb file.")
    return notebook.resolve()


def _check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        raise RucioLabError(f"The results go to {folder}, which is not writable.", "Run it in another folder.")


def _execute(lake: DemoLake, notebook: Path, output: Path, progress: Progress) -> int:
    """Execute a notebook in the folder of its output, and print what failed."""
    begin = time.monotonic()
    command: list[str | Path] = [sys.executable, "-m", "rucio_lab.demo.execute", notebook, output]
    child = lake.children.start("the notebook", command, env=lake.env, cwd=output.parent, grace=10)

    def tick() -> None:
        done = [line for line in child.output().splitlines() if line.startswith("cell ")]
        progress.update(f"  {time.monotonic() - begin:4.0f} s  {notebook.name}: {done[-1] if done else 'starting'}")

    with suppress(RucioLabError):  # the exit status and the output say more
        child.wait_end(seconds=_DAY, tick=tick)
    progress.done()
    if child.poll():
        print(re.split(r"^cell \d+ of \d+$", child.output(), flags=re.MULTILINE)[-1].strip(), flush=True)
        progress.say(f"{notebook.name} failed. The cells that ran are saved in {output}.")
        return 1
    progress.say(f"{notebook.name} ran without errors ({time.monotonic() - begin:.0f} s): {output}")
    return 0


def _demo(lake: DemoLake, progress: Progress, *, browser: bool) -> int:
    """Run the packaged notebook, report, and open JupyterLab if this is an interactive terminal."""
    results = Path(RESULTS).absolute()
    results.mkdir(exist_ok=True)
    for stale in ("hyy.png", "hyy.json"):
        (results / stale).unlink(missing_ok=True)
    notebook = lake.folder / _NOTEBOOK
    notebook.write_text(_packaged_notebook().read_text(encoding="utf-8"), encoding="utf-8")
    _keep_edited(results / _NOTEBOOK, notebook, progress)
    status = _execute(lake, notebook, results / _NOTEBOOK, progress)
    if status == 0:
        _report(lake, results)
    if sys.stdin.isatty() and sys.stdout.isatty():
        _jupyterlab(lake, results, progress, browser=browser)
    return status


def _packaged_notebook() -> Traversable:
    packaged = importlib.resources.files("rucio_lab.demo") / _NOTEBOOK
    if packaged.is_file():
        return packaged
    return Path(__file__).parents[2] / "examples" / _NOTEBOOK  # an editable installation


def _keep_edited(mine: Path, packaged: Path, progress: Progress) -> None:
    """If the user changed the notebook of an earlier demo, rename it so that it is not overwritten."""
    if not mine.exists():
        return
    if _sources(mine) != _sources(packaged):
        kept = mine.with_name(f"hyy-{time.strftime('%Y%m%d-%H%M%S')}.ipynb")
        mine.rename(kept)
        progress.say(f"You changed this notebook, so your version was kept as {kept}.")


def _sources(notebook: Path) -> list[str] | None:
    """Return the source of each cell, or None if this is not a notebook."""  # importing nbformat would take 2 s
    try:
        return ["".join(cell["source"]) for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]]
    except (ValueError, KeyError, TypeError):
        return None


def _report(lake: DemoLake, results: Path) -> None:
    summary = results / "hyy.json"
    found = json.loads(summary.read_text()) if summary.exists() else {}
    traffic, total = lake.storage.traffic(), lake.storage.size()
    rows = {
        "Events read": f"{found['events']:,}" if "events" in found else "(the notebook did not say)",
        "m(yy) peak": f"{found['peak_gev']:.1f} GeV" if "peak_gev" in found else "(the notebook did not say)",
        "Bytes moved": f"{_size(traffic.sent)} of {_size(total)} in the lake ({100 * traffic.sent / total:.0f} %)",
        "Files": f"{traffic.touched} read in place, {traffic.whole} downloaded",
        "Plot": str(results / "hyy.png") if (results / "hyy.png").exists() else "(none)",
        "Notebook": str(results / _NOTEBOOK),
    }
    print("\nH->yy on SYNTHETIC events")
    for name, value in rows.items():
        print(f"  {name:12} {value}")
    sys.stdout.flush()


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def _jupyterlab(lake: DemoLake, results: Path, progress: Progress, *, browser: bool) -> None:
    """Run JupyterLab until Ctrl-C, or until the user shuts it down from its menu."""
    port, token = free_port(), secrets.token_urlsafe()
    command = [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    command += [f"--ServerApp.root_dir={results}", f"--LabApp.default_url=/lab/tree/{_NOTEBOOK}"]
    command += [] if browser else ["--no-browser"]
    command += ["--allow-root"] if os.geteuid() == 0 else []
    # prefer the kernels of this environment to the user's own of the same name
    env = {**lake.env, "JUPYTER_TOKEN": token, "JUPYTER_PREFER_ENV_PATH": "1"}
    server = lake.children.start("JupyterLab", command, env=env, cwd=results, grace=10)
    server.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/api"), seconds=60)
    progress.say(f"\nJupyterLab: http://127.0.0.1:{port}/lab/tree/{_NOTEBOOK}?token={token}")
    progress.say("To browse the lake, click the drop in the left sidebar. Ctrl-C stops JupyterLab and the lake.")
    with suppress(KeyboardInterrupt):
        _until_end(server)
    progress.say("Stopping JupyterLab and the lake...")


def _until_end(child: Child) -> None:
    while child.poll() is None:
        time.sleep(0.2)
