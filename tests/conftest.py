"""Fixtures for all tests: the test lake, and an environment without any other Rucio."""

from __future__ import annotations

import contextlib
import os
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import rucio_lab
from rucio_lab.demo.processes import closed_environment
from tests.lake import content
from tests.lake.hostile import HostileRucio, hostile_rucio
from tests.lake.lake import FullLake
from tests.lake.pki import Authority
from tests.support.leaks import SECRETS, Watch
from tests.support.users import Users

pytest_plugins = ["tests.support.shells"]

_FOREIGN = ("RUCIO_", "X509_", "BEARER_TOKEN", "XrdSec")
_OURS = ("RUCIO_LAB_DEMO_HOME", "RUCIO_LAB_TEST_DATABASE", "RUCIO_LAB_TEST_RUCIO")
_AUTHORITY = pytest.StashKey[Authority]()
_FOLDER = pytest.StashKey[Path]()
_WATCH = pytest.StashKey[Watch]()


def pytest_configure(config: pytest.Config) -> None:
    """Create the CA of the lake and trust it before any import of aiohttp, which reads SSL_CERT_FILE only once."""
    if hasattr(config, "workerinput"):
        os.environ.pop("COVERAGE_PROCESS_START", None)  # it was for this worker, not for what the tests start
    if (Path(sysconfig.get_path("scripts")) / "node").exists():  # it is installed where the machine has none
        os.environ["PATH"] = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
    folder = config.stash[_FOLDER] = Path(tempfile.mkdtemp(prefix="rucio-lab-pki-"))
    authority = config.stash[_AUTHORITY] = Authority(folder)
    os.environ["SSL_CERT_FILE"] = str(authority.bundle)
    os.environ["XRD_STREAMERRORWINDOW"] = "0"  # or XRootD would remember servers that tests broke
    watch = config.stash[_WATCH] = Watch()
    config.pluginmanager.register(watch, "watch of secrets")
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = closed_environment({})["NO_PROXY"]


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_FOLDER], ignore_errors=True)


def pytest_report_header() -> str:
    """Say which rucio_lab is tested: the wheel that `make` installed, or the tree itself after `make develop`."""
    return f"rucio_lab: {Path(rucio_lab.__file__).parent}"


@pytest.fixture(scope="session", autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Work in an empty folder: in that of the tree, the children of the tests would import the tree's rucio_lab."""
    with contextlib.chdir(tmp_path_factory.mktemp("elsewhere")):
        yield


@pytest.fixture(scope="session")
def watch(pytestconfig: pytest.Config) -> Watch:
    """The search for secrets after all tests."""
    return pytestconfig.stash[_WATCH]


@pytest.fixture(scope="session")
def authority(pytestconfig: pytest.Config) -> Authority:
    """The CA that signs all certificates of the tests."""
    return pytestconfig.stash[_AUTHORITY]


@pytest.fixture(scope="session")
def full_lake(authority: Authority, watch: Watch) -> Iterator[FullLake]:
    """The test lake, started once; does not change the environment of this process."""
    for account, password in (*content.PASSWORDS.items(), ("root", content.ROOT_PASSWORD)):
        SECRETS.add(password, f"the password of {account}")
    with FullLake(authority) as lake:
        yield lake
        watch.look_into_lake(lake.folder)


@pytest.fixture
def lake(full_lake: FullLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FullLake]:
    """The test lake, configured as the instance ``test`` with the account alice and no token.

    What a test breaks (stopped storages, failing proxies) is repaired when it ends.
    """
    from rucio_lab.core.reading import probe, xrootd

    xrootd.trust.cache_clear()  # what it set in the environment is removed below
    for name in [name for name in os.environ if name.startswith(_FOREIGN) and name not in _OURS]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(full_lake.config()))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter-data"))
    monkeypatch.setenv("SSL_CERT_FILE", str(full_lake.authority.bundle))
    probe.forget()
    yield full_lake
    full_lake.mend()
    probe.forget()


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileRucio]:
    """A Rucio that can answer anything, as the default instance."""
    from rucio_lab.core.reading import probe

    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    with hostile_rucio() as server:
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(server.config(tmp_path / "rucio_lab.toml")))
        probe.forget()
        yield server
    probe.forget()


@pytest.fixture(scope="session")
def unseen(full_lake: FullLake) -> str:
    """A dataset of names that are not what they look like."""
    return full_lake.add_unseen()


@pytest.fixture(scope="session")
def bulk(full_lake: FullLake) -> str:
    """The name of a dataset of 10,000 files that are only registered."""
    return full_lake.add_bulk()


@pytest.fixture(scope="session")
def users() -> Iterator[Users]:
    """Other users of this machine."""
    if os.geteuid():
        pytest.skip("only root can run a process as another user")
    users = Users()
    yield users
    users.close()
