"""An interrupt stops resolving at once, whatever it is waiting for, and leaves nothing running."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4
from weakref import WeakSet

import pytest

from rucio_lab.core.catalogue import parallel, pfns
from rucio_lab.core.errors import RucioLabError
from rucio_lab.core.model import Request
from rucio_lab.core.resolve.resolution import resolve
from tests.lake.lake import FullLake
from tests.support.checks import within

SCOPE = "opendata13TeV"

FILES = 600


@pytest.fixture(scope="module")
def many(full_lake: FullLake) -> str:
    """The name of a dataset that takes a while to resolve."""
    name = f"many.{uuid4().hex[:8]}"
    names = [f"{name}._{number:04d}.root" for number in range(FILES)]
    files = [{"scope": SCOPE, "name": file, "bytes": 1, "adler32": "00000001"} for file in names]
    for start in range(0, FILES, 300):
        full_lake.rest("POST", "/replicas", json={"rse": "WEB-DISK", "files": files[start : start + 300]})
    full_lake.rest("POST", "/dids", json=[{"scope": SCOPE, "name": name, "type": "DATASET", "dids": files}])
    return name


@pytest.fixture
def held(lake: FullLake, monkeypatch: pytest.MonkeyPatch, many: str) -> Request:
    """A request for many files that sends many requests to a Rucio that can be made to hang."""
    monkeypatch.setattr(pfns, "AT_ONCE", 20)
    address = f"https://127.0.0.1:{lake.faulty['rucio'].port}"
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config(test={"url": address, "auth_url": address, "timeout": 20})))
    resolve(Request((f"{SCOPE}:web",), ""))  # signs in
    for crew in parallel._crews.values():  # idle threads of other tests
        crew.end()
    parallel._crews.clear()
    _OLD.update(threads())
    return Request((f"{SCOPE}:{many}",), "", limit=300)


def threads() -> list[threading.Thread]:
    """Give the threads that this test started, and not those of other tests."""
    all_ = (thread for thread in threading.enumerate() if thread.name.startswith("rucio-lab test"))
    return [thread for thread in all_ if thread not in _OLD]


_OLD: WeakSet[threading.Thread] = WeakSet()


@contextmanager
def interrupt(when: Callable[[], object]) -> Iterator[None]:
    """Press Ctrl-C as soon as a condition is true."""
    ended = threading.Event()

    def wait() -> None:
        while not when():
            if ended.wait(0.05):
                return
        if not ended.wait(0.3):
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        ended.set()


def assert_nothing_is_left(lake: FullLake) -> None:
    lake.faulty["rucio"].forward()
    deadline = time.monotonic() + 10
    while threads() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not threads()
    assert len(resolve(Request((f"{SCOPE}:GamGam",), "")).files) == 17


def test_an_interrupt_while_files_are_listed(lake: FullLake, held: Request) -> None:
    proxy = lake.faulty["rucio"]
    proxy.hold(30_000)
    begin = time.monotonic()
    with within(3), interrupt(lambda: time.monotonic() > begin + 1):
        resolve(held)
    assert_nothing_is_left(lake)


def test_an_interrupt_while_several_requests_wait(lake: FullLake, held: Request) -> None:
    """Threads that still wait for a hanging Rucio must not block the next request either."""
    hangs = threading.Event()

    def hang(what: str, *_: int) -> None:
        if what == "Finding replicas":
            lake.faulty["rucio"].silent()
            hangs.set()

    with interrupt(hangs.is_set):
        resolve(held, hang)
    begin = time.monotonic()
    with within(2), interrupt(lambda: time.monotonic() > begin + 0.5):
        resolve(held)
    assert_nothing_is_left(lake)


def test_progress_is_reported(lake: FullLake, held: Request) -> None:
    told: list[tuple[str, int, int]] = []
    resolve(held, lambda *state: told.append(state))
    parts = list(dict.fromkeys(what for what, _, _ in told))
    assert parts == ["Listing files", "Finding replicas"]
    for part, total in zip(parts, (FILES, 300), strict=True):
        done = [number for what, number, _ in told if what == part]
        assert done == sorted(done)
        assert {whole for what, _, whole in told if what == part} == {total}
        assert done[-1] == total


def test_one_request_of_several_fails(lake: FullLake, held: Request) -> None:
    """The other requests stop, and the error says why."""

    def fail(what: str, *_: int) -> None:
        if what == "Finding replicas":
            lake.faulty["rucio"].reset()

    with within(10), pytest.raises(RucioLabError):
        resolve(held, fail)
    assert_nothing_is_left(lake)
