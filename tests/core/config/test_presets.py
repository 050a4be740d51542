"""Presets: instances that need no file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from rucio_lab.core.config import presets
from rucio_lab.core.config.instances import load_instances
from tests.core.config.conftest import Write, rucio_cfg


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_an_instance(name: str) -> None:
    """Its name means the same everywhere, configured or not."""
    instance = load_instances().get(name)
    assert instance.name == name
    assert instance.url.startswith("https://")
    assert instance.auth_url.startswith("https://")
    assert load_instances().get(instance.host) == instance
    assert load_instances().names == ()  # it is not configured


def test_a_default_is_enough_to_choose_a_preset(toml: Write) -> None:
    toml('default = "escape"')
    instances = load_instances()
    assert instances.names == ("escape",)
    assert instances.get().url == "https://vre-rucio.cern.ch"


def test_a_preset_is_overridden_key_by_key(toml: Write) -> None:
    preset = load_instances().get("escape")
    toml('[instances.escape]\naccount = "ann"\nauth = "gss"\ntimeout = 7')
    instances = load_instances()
    assert instances.names == ("escape",)
    assert instances.get() == msgspec.structs.replace(preset, account="ann", auth="gss", timeout=7)


@pytest.mark.parametrize("own", ['url = "https://mine"', 'rucio_cfg = "etc/rucio.cfg"'])
def test_an_instance_with_its_own_address_takes_nothing_from_a_preset(toml: Write, tmp_path: Path, own: str) -> None:
    rucio_cfg(tmp_path)
    toml(f"[instances.escape]\n{own}")
    instance = load_instances().get("escape")
    assert "vre" not in instance.url + instance.auth_url
    assert instance.auth == "userpass"
