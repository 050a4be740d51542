"""Files whose replicas fail in every way, also in threads and forked processes."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import uproot

from rucio_lab.core.catalogue import read_ahead
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import RucioLabError
from rucio_lab.core.filesystem import lake_file
from rucio_lab.core.filesystem.lake_filesystem import LakeFileSystem
from rucio_lab.core.reading import probe
from tests.lake.content import SCOPE
from tests.lake.lake import FullLake
from tests.support.checks import assert_clear, within
from tests.support.lake_files import FAULTY, LARGE, configure, content_of, forget, read_branches, url


def on_faulty(lake: FullLake, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """Make the faulty server of a scheme the first choice, and another storage the second."""
    configure(lake, monkeypatch, schemes=[scheme, "http"], rse=f"FAULTY-{scheme.upper()}|WEB-DISK")


def break_it(lake: FullLake, scheme: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lake.path("FAULTY-ROOT", SCOPE, FAULTY)
    if how == "gone":
        path.rename(path.with_suffix(".away"))
    elif how == "short":
        path.with_suffix(".away").write_bytes(path.read_bytes())
        os.truncate(path, 1_000_000)
    elif how.isdigit():
        lake.faulty[scheme].answer_http(int(how))
    elif how == "cut":
        lake.faulty[scheme].cut(10_000)
    else:
        getattr(lake.faulty[scheme], how)()


WAYS = [
    *((scheme, how) for scheme in ("root", "https") for how in ("refuse", "silent", "reset", "gone", "short", "cut")),
    ("https", "401"),
    ("https", "403"),
    ("https", "500"),
    ("https", "200"),
]


@pytest.mark.usefixtures("mended")
@pytest.mark.parametrize("when", ["before", "during"])
@pytest.mark.parametrize(("scheme", "how"), WAYS)
def test_the_next_replica_takes_over(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, scheme: str, how: str, when: str
) -> None:
    on_faulty(lake, monkeypatch, scheme)
    content = content_of(lake)
    if when == "during":
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert fs.cat_file(url(FAULTY), 0, 50_000) == content[:50_000]
        if scheme == "root" and how in ("gone", "short"):
            pytest.skip("an open file stays whole")
    break_it(lake, scheme, how, monkeypatch)
    starts = list(range(1_100_000, 1_900_000, 40_000))
    with warnings.catch_warnings(record=True) as caught, within(3):
        warnings.simplefilter("always")
        parts = fs.cat_ranges([url(FAULTY)] * len(starts), starts, [start + 20_000 for start in starts])
        assert parts == [content[start : start + 20_000] for start in starts]
        assert fs.cat_file(url(FAULTY), 5, 500) == content[5:500]
    (warning,) = [each for each in caught if "large.faulty" in str(each.message)]
    assert str(warning.message).startswith(f"{SCOPE}:{FAULTY}: FAULTY-{scheme.upper()} ({scheme}://127.0.0.1:")
    assert "Reading continues from WEB-DISK (http://127.0.0.1:" in str(warning.message)


@pytest.mark.usefixtures("mended")
def test_each_failed_replica_is_named(lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(lake, monkeypatch, rse="FAULTY-ROOT|FAULTY-HTTPS")
    lake.faulty["root"].refuse()
    lake.faulty["https"].answer_http(403)
    with within(4), pytest.raises(OSError, match="cannot be read from any of its replicas") as caught:
        fs.cat_file(url(FAULTY))
    said = str(caught.value)
    assert "FAULTY-ROOT (root://127.0.0.1:" in said
    assert "FAULTY-HTTPS (https://127.0.0.1:" in said
    assert "HTTP 403" in said
    assert isinstance(caught.value, RucioLabError)
    assert_clear(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == said
    with pytest.raises(OSError, match="any of its replicas"):
        uproot.open(url(FAULTY))


def test_the_only_replica_gets_more_time(lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(lake, monkeypatch, rse="FAULTY-HTTP", storage={"timeout": 0.5, "patience": 5})
    lake.faulty["http"].delay(1)
    assert fs.cat_file(url("faulty.http._0001.root"), 0, 4) == b"root"


def test_a_slow_replica_is_the_last_resort(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, mended: None
) -> None:
    configure(lake, monkeypatch, rse="FAULTY-ROOT|FAULTY-HTTPS", storage={"timeout": 0.5, "patience": 8})
    lake.faulty["root"].refuse()
    lake.faulty["https"].delay(0.7)
    assert fs.cat_file(url(FAULTY), 0, 4) == b"root"


def test_a_replica_that_failed_is_not_tried_first_again(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_faulty(lake, monkeypatch, "https")
    lake.faulty["https"].silent()
    with pytest.warns(UserWarning, match="did not answer"):
        fs.cat_file(url(FAULTY), 0, 10)
    with within(0.3), warnings.catch_warnings():
        warnings.simplefilter("error")
        lake_file._files.clear()
        fs.cat_file(url(FAULTY), 0, 10)
    where = ("FAULTY-HTTPS", f"https://127.0.0.1:{lake.faulty['https'].port}")
    with within(5):
        while not probe.fault_of(where):  # by the probe that the failure has started
            time.sleep(0.1)


def test_the_next_replica_replaces_a_dead_mount(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / lake.path("CERN-EOS", SCOPE, LARGE).relative_to(lake.store / "eos")
    path.parent.mkdir(parents=True)
    os.mkfifo(path)  # opening it blocks, like a dead network mount
    configure(lake, monkeypatch, mounts={"CERN-EOS": {"prefix": "/eos/", "folder": str(tmp_path)}})
    with within(2), pytest.warns(UserWarning, match="did not answer within 1 s. Reading continues from CERN-EOS"):
        assert fs.cat_file(url(LARGE), 0, 4) == b"root"
    with within(0.5):
        assert fs.cat_file(url(LARGE), 4, 9) == content_of(lake)[4:9]
    path.unlink()
    path.symlink_to(lake.path("CERN-EOS", SCOPE, LARGE))
    forget()
    sent = lake.storages["root"].sent()
    assert fs.cat_file(url(LARGE), 100, 900) == content_of(lake)[100:900]
    assert lake.storages["root"].sent() == sent


def test_threads_warn_once_about_a_dead_storage(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_faulty(lake, monkeypatch, "https")
    lake.faulty["https"].refuse()
    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(12) as pool:
        warnings.simplefilter("always")
        assert set(pool.map(lambda start: fs.cat_file(url(FAULTY), start, start + 4), [0] * 24)) == {b"root"}
    assert len([each for each in caught if "Reading continues" in str(each.message)]) == 1


@pytest.mark.parametrize("scheme", ["root", "https"])
def test_threads_continue_when_their_storage_dies(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    on_faulty(lake, monkeypatch, scheme)
    content = content_of(lake)

    def part(number: int) -> bool:
        if number == 40:
            lake.faulty[scheme].reset()
        start = number * 10_007
        return fs.cat_file(url(FAULTY), start, start + 5000) == content[start : start + 5000]

    with pytest.warns(UserWarning, match="Reading continues from WEB-DISK"), ThreadPoolExecutor(8) as pool:
        assert all(list(pool.map(part, range(120))))


def test_the_replica_in_use_stays_in_use(lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """A better replica that failed is not tried again in the middle of a file, even when its failure is forgotten."""
    on_faulty(lake, monkeypatch, "https")
    lake.faulty["https"].refuse()
    with fs.open(url(FAULTY)) as file:
        with pytest.warns(UserWarning, match="Reading continues from WEB-DISK"):
            assert file.read(4) == b"root"
        probe.forget()
        lake_file.known_file(load_instances().get(), DID(SCOPE, FAULTY))._bad.clear()  # type: ignore[union-attr]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert fs.cat_file(url(FAULTY), 0, 4) == b"root"


@pytest.mark.usefixtures("mended")
def test_rucio_is_asked_again_when_replicas_have_moved(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(lake, monkeypatch, schemes=["http"], rse="WEB-DISK")
    assert fs.cat_file(url(FAULTY), 0, 4) == b"root"
    path = lake.path("WEB-DISK", SCOPE, FAULTY)
    file = lake_file.known_file(load_instances().get(), DID(SCOPE, FAULTY))
    assert file is not None
    file._asked -= 10  # as if asked some time ago
    path.rename(path.with_suffix(".away"))
    try:
        with pytest.raises(OSError, match="has no such file"):
            fs.cat_file(url(FAULTY), 0, 4)
        asked: list[Any] = []
        real = read_ahead._rows_of
        monkeypatch.setattr(read_ahead, "_rows_of", lambda *args: asked.append(args) or real(*args))
        file._asked -= 10
        with pytest.raises(OSError, match="has no such file"):
            fs.cat_file(url(FAULTY), 0, 4)
        assert len(asked) == 1
    finally:
        path.with_suffix(".away").rename(path)


@pytest.mark.parametrize("scheme", ["root", "https"])
def test_an_interrupt_takes_effect_at_once(lake: FullLake, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    configure(lake, monkeypatch, schemes=[scheme], rse=f"FAULTY-{scheme.upper()}", storage={"patience": 60})
    lake.faulty[scheme].silent()
    code = (
        "import fsspec, os, signal, sys, threading; fs = fsspec.filesystem('rucio'); fs.info(sys.argv[1]);"
        "threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start(); fs.cat_file(sys.argv[1])"
    )
    with within(8):
        done = subprocess.run([sys.executable, "-c", code, url(FAULTY)], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "\nKeyboardInterrupt\n" in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_file_without_replicas(lake: FullLake, fs: LakeFileSystem) -> None:
    with pytest.raises(OSError, match="Rucio has no replica of it"):
        fs.cat_file(url("no.replica._0001.root"))
    with pytest.raises(OSError, match="it is on tape"):
        fs.cat_file(url("on.tape._0001.root"))
    assert fs.exists(url("no.replica._0001.root"))


def test_rucio_is_asked_once(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    rucio = lake.faulty["rucio"]
    configure(lake, monkeypatch, url=f"https://127.0.0.1:{rucio.port}", auth_url=lake.url)
    read_branches(url(LARGE))
    rucio.forget()
    read_branches(url(LARGE))
    assert rucio.received == 0


def test_storages_that_require_credentials(
    lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(lake.issuer.token())
    token.chmod(0o600)
    configure(lake, monkeypatch, storage={"token_file": str(token), "proxy": str(lake.users["alice"].pem)})
    for name in ("token", "door", "roots", "certificate"):
        with uproot.open({url(f"{name}._0001.root"): "mini"}) as tree:
            assert tree.num_entries > 0
    lake_file._files.clear()
    configure(lake, monkeypatch)
    with pytest.raises(
        OSError, match=r"TOKEN-DISK .* asks for credentials \(HTTP 403\); no storage token is configured"
    ):
        fs.cat_file(url("token._0001.root"))


def test_many_threads(lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    content = content_of(lake)
    asked: list[Any] = []
    real = read_ahead._rows_of
    monkeypatch.setattr(read_ahead, "_rows_of", lambda *args: asked.append(args) or real(*args))

    def part(number: int) -> bool:
        start = number * 10_007
        return fs.cat_file(url(LARGE), start, start + 5000) == content[start : start + 5000]

    with ThreadPoolExecutor(24) as pool:
        assert all(pool.map(part, range(150)))
    assert len(asked) == 1


@pytest.mark.parametrize("scheme", ["root", "https"])
def test_after_a_fork(lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    configure(lake, monkeypatch, schemes=[scheme, "http"], rse="FAULTY-ROOT|FAULTY-HTTPS|WEB-DISK")
    content = content_of(lake)
    file = fs.open(url(FAULTY))
    assert file.read(10) == content[:10]
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            good = fs.cat_file(url(FAULTY), 6_000, 9_000) == content[6_000:9_000]
            file.seek(3_000_000)
            good = good and file.read(100) == content[3_000_000:3_000_100]
            os._exit(0 if good else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert fs.cat_file(url(FAULTY), 20, 30) == content[20:30]
    file.close()
