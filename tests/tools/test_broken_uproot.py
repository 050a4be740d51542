"""A release of uproot that cannot iterate over direct root:// URLs: it is reported, and ``rucio://`` works with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lake.lake import FullLake

VERSION = "5.7.7"

READ = """
import sys, uproot
from rucio_lab import attach
files = attach("opendata13TeV:data_B.GamGam", access=sys.argv[1])
print(uproot.__version__, files[0].partition("://")[0], "notes:", *files.notes)
print(sum(len(events) for events in uproot.iterate(files.uproot("mini"), ["photon_pt"])))
"""


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with only that release, which takes precedence over the environment's own."""
    folder = tmp_path_factory.mktemp("overlay")
    command = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", str(folder)]
    subprocess.run([*command, f"uproot=={VERSION}"], check=True, capture_output=True)
    return folder


@pytest.fixture
def python(lake: FullLake, overlay: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python with the broken release."""
    path = os.pathsep.join(filter(None, [str(overlay), os.environ.get("PYTHONPATH")]))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": path}
        return subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, check=False)

    return run


def test_direct_urls_fail_and_attach_reports_the_release(
    python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = python("-c", READ, "stream")
    assert done.stdout.startswith(f"{VERSION} root notes: uproot {VERSION} cannot iterate over root:// URLs")
    assert "--access lake" in done.stdout
    assert "TypeError: integer argument expected" in done.stderr, done.stderr


def test_rucio_urls_work_without_a_note(
    python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = python("-c", READ, "lake")
    assert done.returncode == 0, done.stderr
    first, entries = done.stdout.splitlines()
    assert first == f"{VERSION} rucio notes:"
    assert int(entries) > 1000


def test_doctor_reports_the_release(python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = python("-c", "from rucio_lab.cli.doctor import check_readers; print(*check_readers(), sep='\\n')")
    assert f"FAIL  uproot {VERSION} cannot iterate over root:// URLs" in done.stdout
    assert "--access lake" in done.stdout
