"""The test lake on PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rucio_lab.demo.processes import closed_environment
from tests.lake import packages
from tests.lake.lake import FullLake
from tests.support.processes import alive, descendants

on_postgresql = pytest.mark.skipif(not packages.on_postgresql(), reason="RUCIO_LAB_TEST_DATABASE is not postgresql")


@on_postgresql
def test_postgresql_requires_its_password(lake: FullLake) -> None:
    assert lake.postgresql
    for host in ("127.0.0.1", str(lake.folder / "postgresql")):
        command = ["psql", "-w", "-h", host, "-p", str(lake.postgresql.port), "-U", "rucio", "-c", "SELECT 1"]
        done = subprocess.run(command, env=closed_environment({}), capture_output=True, text=True, check=False)
        assert "no password supplied" in done.stderr


_POSTGRESQL = """
import sys, time
from pathlib import Path
from rucio_lab.demo.processes import Children
from tests.lake.postgresql import PostgreSQL

with Children(Path(sys.argv[1]) / "logs") as children:
    PostgreSQL(Path(sys.argv[1]) / "postgresql").start(children)
    print("ready", flush=True)
    time.sleep(1000)
"""


@on_postgresql
def test_postgresql_stops_when_its_lake_is_killed(lake: FullLake) -> None:
    folder = lake.folder / "killed"
    folder.mkdir()
    command = [sys.executable, "-c", _POSTGRESQL, str(folder)]
    lives = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    with lives:
        assert lives.stdout
        assert lives.stdout.readline() == "ready\n"
        family = descendants(lives.pid)
        assert "postgres" in {process.name() for process in family}
        lives.kill()
    assert not alive(family, 10)
