"""Instances: found by name, host or address; the default; and the error when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from rucio_lab.core.config.instances import Instances, load_instances
from rucio_lab.core.config.settings import Instance
from tests.core.config.conftest import Write, problem


@pytest.mark.parametrize("name", ["two", "two.example.org:8080", "http://two.example.org:8080"])
def test_an_instance_is_found_by_name_host_or_address(toml: Write, name: str) -> None:
    toml('[instances.one]\nurl = "https://one"\n[instances.two]\nurl = "http://two.example.org:8080"')
    assert load_instances().get(name).name == "two"


def test_the_only_instance_is_the_default(toml: Write) -> None:
    toml('[instances.one]\nurl = "https://one"')
    assert load_instances().get().name == "one"


def test_a_missing_default(toml: Write) -> None:
    toml('default = "three"\n[instances.one]\nurl = "https://one"')
    assert "'three'" in problem().message


def test_no_default_among_several(toml: Write) -> None:
    toml('[instances.one]\nurl = "https://one"\n[instances.two]\nurl = "https://two"')
    error = problem()
    assert "one, two" in error.message
    assert "default" in error.remedy


def test_a_missing_instance_names_the_known_ones(toml: Write) -> None:
    toml('[instances.one]\nurl = "https://one"')
    error = problem("nil")
    assert "'nil'" in error.message
    assert "one" in error.remedy


def test_the_token_from_a_hub_has_a_default_file(toml: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    toml('[instances."a/b"]\nurl = "https://a"\nhub_token = "access_token"')
    instance = load_instances().get()
    assert instance.auth == "token"
    assert instance.token_file == str(tmp_path / "data" / "rucio-lab" / "hub" / "a%2Fb.token")
    toml('[instances.a]\nurl = "https://a"\nhub_token = "access_token"\ntoken_file = "mine"')
    assert load_instances().get().token_file == str(tmp_path / "mine")


def test_no_configuration_at_all_says_how_to_get_one() -> None:
    error = problem()
    assert "No Rucio instance is configured." in error.message
    for way in ("RUCIO_CONFIG", "rucio_lab.toml", "rucio-lab demo", "rucio-lab doctor"):
        assert way in error.remedy


def test_instances_iterate_in_order() -> None:
    instances = Instances((Instance(name="b"), Instance(name="a")))
    assert [instance.name for instance in instances] == list(instances.names) == ["b", "a"]
