"""Calls in threads: in order, never behind those of others, and abandoned with their caller."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from rucio_lab.core.answers import reasons_to_leave
from rucio_lab.core.catalogue import parallel
from rucio_lab.core.catalogue.parallel import meanwhile, together
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.config.settings import Instance
from tests.lake.lake import FullLake


@pytest.fixture
def instance(lake: FullLake) -> Instance:
    return load_instances().get()


@pytest.fixture
def all_busy(instance: Instance) -> Iterator[None]:
    """Keep all threads of the instance busy."""
    end = threading.Event()
    begun = threading.Semaphore(0)

    def wait() -> None:
        begun.release()
        end.wait()

    with parallel._lock:
        crew = parallel._crews.setdefault(instance.key, parallel._Crew(instance.name))
        for _ in range(parallel.THREADS):
            crew.add(wait)
    for _ in range(parallel.THREADS):
        assert begun.acquire(timeout=20)
    yield
    end.set()


def test_results_come_in_order_from_several_threads(instance: Instance) -> None:
    both = threading.Barrier(3)

    def call(number: int) -> tuple[int, str]:
        both.wait(20)  # none of them goes on before all have begun
        return number, threading.current_thread().name

    found = together(instance, [lambda number=number: call(number) for number in range(3)])
    assert [number for number, _ in found] == [0, 1, 2]
    assert found[0][1] == threading.current_thread().name
    assert together(instance, []) == []


@pytest.mark.usefixtures("all_busy")
def test_nobody_waits_for_the_calls_of_others(instance: Instance) -> None:
    here = threading.current_thread()
    assert together(instance, [threading.current_thread] * 6) == [here] * 6


def test_a_failure_comes_from_the_call_and_ends_the_others(instance: Instance) -> None:
    begun, left = threading.Event(), threading.Event()

    def until_left() -> None:
        begun.set()
        (reason, *_) = reasons_to_leave()
        assert reason.wait(20)
        left.set()

    def fail() -> None:
        assert begun.wait(20)
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        together(instance, [fail, until_left])
    assert left.wait(20)
    with pytest.raises(KeyError, match="x"), meanwhile(instance, fail) as result:
        result()
