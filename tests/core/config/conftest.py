"""Fixtures of the tests of `rucio_lab.core.config`: a machine without any configuration, and files to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.errors import ConfigurationError
from tests.support.checks import assert_clear

Write = Callable[..., Path]


CLIENT = """
[client]
rucio_host = https://rucio.example.org:443
auth_host = https://auth.example.org
ca_cert = /etc/ca.crt
auth_type = userpass
account = {account}
username = ann
password = hush-hush
"""


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide every configuration of this machine."""
    for name in ("RUCIO_CONFIG", "RUCIO_HOME", "VIRTUAL_ENV", "CONDA_PREFIX", "RUCIO_LAB_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name in ("RUCIO_ACCOUNT", "RUCIO_VO", "RUCIO_AUTH_TYPE", "RUCIO_CLIENT_CERT", "RUCIO_CLIENT_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_NO_CONFIG", "1")
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(tmp_path / "nothing"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "nothing"))


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write the one file that RUCIO_LAB_CONFIG names."""

    def write(text: str) -> Path:
        path = tmp_path / "rucio_lab.toml"
        path.write_text(text)
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(path))
        return path

    return write


def rucio_cfg(folder: Path, account: str = "ann") -> Path:
    path = folder / "etc" / "rucio.cfg"
    path.parent.mkdir(parents=True)
    path.write_text(CLIENT.format(account=account))
    return path


def problem(name: str | None = None) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load_instances().get(name)
    assert_clear(caught.value)
    return caught.value
