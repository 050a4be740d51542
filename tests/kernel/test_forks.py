"""Forks while threads read over root://: commands of a notebook, and pools of processes. None may freeze the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.lake.content import SCOPE
from tests.lake.lake import FullLake
from tests.support.lake_files import FAULTY, configure

_IMPORTS = {
    "XRootD imported after us": "",
    "XRootD used before us": "import fsspec\nfsspec.open('{direct}').open().close()",
}
_READ = """
import faulthandler, os, threading
{first}
import uproot
from rucio_lab import attach
files = attach('{did}', access='{access}')
done, failed = [], []
def read_on(thread):
    own = '?thread=%s' % thread if '{access}' == 'stream' else ''  # fsspec-xrootd has one connection for an address
    while True:
        try:
            with uproot.open({{str(files[0]) + own: 'mini'}}, num_workers=1) as tree:
                for branch in tree.keys()[:20]:
                    done.append(len(tree[branch].array(entry_stop=1000, library='np')))
                    threading.Event().wait(0.02)
        except Exception as error:
            failed.append(repr(error))
for thread in range(8):
    threading.Thread(target=read_on, args=(thread,), daemon=True).start()
while len(done) < 8 and not failed:
    threading.Event().wait(0.1)
done.clear()
def read_once():
    with uproot.open({{files[0]: 'mini'}}) as tree:
        return tree.num_entries
"""
_POOLS = """
import multiprocessing
if __name__ == '__main__':
    faulthandler.dump_traceback_later(100, exit=True)
    for method in ('fork', 'forkserver'):
        for _ in range(5):
            with multiprocessing.get_context(method).Pool(2) as pool:
                assert pool.apply(len, ([1, 2],)) == 2
    with multiprocessing.get_context('fork').Pool(2) as pool:
        assert pool.apply(read_once) == read_once()
    print(len(done) > 0, failed)
    os._exit(0)
"""


@pytest.fixture
def reading(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Give code that reads all the time, in eight threads."""
    configure(lake, monkeypatch, schemes=["root"], rse="FAULTY-ROOT", storage={"timeout": 10, "patience": 20})
    path = lake.path("FAULTY-ROOT", SCOPE, FAULTY).relative_to(lake.store)
    direct = f"root://127.0.0.1:{lake.faulty['root'].port}//{path}"

    def code(access: str, first: str) -> str:
        return _READ.format(first=_IMPORTS[first].format(direct=direct), did=f"{SCOPE}:{FAULTY}", access=access)

    return code


@pytest.mark.parametrize("commands", [40, pytest.param(200, marks=pytest.mark.soak)])
@pytest.mark.parametrize("first", _IMPORTS)
@pytest.mark.parametrize("access", ["lake", "stream"])
def test_commands_do_not_freeze_the_kernel(
    start_kernel: Any, reading: Any, access: str, first: str, commands: int
) -> None:
    kernel = start_kernel()
    kernel.run(reading(access, first))
    for _ in range(commands):
        assert kernel.run("!echo on")[0]["status"] == "ok"
    assert kernel.run("print(len(done) > 0, failed)")[1] == "True []\n"


@pytest.mark.parametrize("access", ["lake", "stream"])
def test_pools_do_not_freeze_and_their_processes_can_read(
    python: Any, reading: Any, tmp_path: Any, access: str
) -> None:
    script = tmp_path / "pools.py"
    script.write_text(reading(access, "XRootD imported after us") + _POOLS)
    done = python(str(script))
    assert done.stdout == "True []\n", done.stderr[-3000:]
