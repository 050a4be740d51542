"""Fixtures for the tests of the demo."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rucio.client import Client

from rucio_lab.demo.content import STUDENT
from rucio_lab.demo.lake import DemoLake
from tests.support.leaks import SECRETS, Watch


@pytest.fixture(scope="session")
def demo_lake(watch: Watch) -> Iterator[DemoLake]:
    """A demo lake that also has the public files registered."""
    with DemoLake(open_data=True) as lake:
        SECRETS.add(lake._root_password, "the password of a demo's root")
        yield lake
        watch.look_into_lake(lake.folder)


@pytest.fixture
def student(demo_lake: DemoLake, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Rucio's own client, signed in as the user of the demo."""
    monkeypatch.setenv("RUCIO_CONFIG", str(demo_lake.folder / "client" / "rucio.cfg"))
    # a separate folder for the token: by default all lakes on a machine share one
    monkeypatch.setattr(Client, "TOKEN_PATH_PREFIX", f"{demo_lake.folder}/test-token-")
    return Client(
        rucio_host=demo_lake.url,
        auth_host=demo_lake.url,
        account=STUDENT,
        auth_type="userpass",
        creds={"username": STUDENT, "password": STUDENT},
        vo="def",
    )
