"""The settings of instances and storages: their values, and which of them mean another sign-in."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.config.settings import Instance, StorageSettings
from rucio_lab.core.errors import ConfigurationError
from tests.core.config.conftest import Write, problem, rucio_cfg


def test_settings_and_mounts(toml: Write) -> None:
    path = toml(
        """
        default = "two"
        [instances.one]
        url = "https://one.example.org/"
        [instances.two]
        url = "http://two.example.org:8080"
        auth_url = "https://auth.example.org/"
        auth = "x509_proxy"
        account = "ann"
        schemes = ["https"]
        timeout = 5
        client_proxy = "~/proxy"
        ca = "$CA_FOLDER/ca.pem"
        [instances.two.mounts.CERN-EOS]
        prefix = "/eos/"
        folder = "/mnt/eos"
        """
    )
    instances = load_instances()
    assert (instances.names, instances.sources) == (("one", "two"), (path,))
    assert instances.get("one").auth_url == "https://one.example.org"
    two = instances.get()
    assert (two.name, two.auth, two.schemes, two.timeout) == ("two", "x509_proxy", ("https",), 5)
    assert two.auth_url == "https://auth.example.org"
    assert two.client_proxy == str(Path.home() / "proxy")
    assert two.mounts["CERN-EOS"].folder == "/mnt/eos"


def test_variables_in_paths_are_expanded(toml: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CA_FOLDER", "/somewhere")
    toml('[instances.one]\nurl = "https://one"\nca = "$CA_FOLDER/ca.pem"')
    assert load_instances().get().ca == "/somewhere/ca.pem"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "rucio.example.org",
        "ftp://rucio.example.org",
        "http://two..dots",
        "http://[broken",
        "http://host:port",
        "https://",
    ],
)
def test_an_unusable_address(toml: Write, url: str) -> None:
    toml(f'[instances.one]\nurl = "{url}"')
    assert "'one' has no usable url" in problem().message


def test_an_instance_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUCIO_CONFIG", str(rucio_cfg(tmp_path)))
    instances = load_instances()
    instance = instances.get()
    for text in (repr(instance), str(instance.key), pickle.dumps(instance).decode("latin-1"), repr(vars(instances))):
        assert "hush-hush" not in text
    assert pickle.loads(pickle.dumps(instance)) == instance


def test_keys_differ_for_different_sign_ins() -> None:
    one = {"name": "one", "url": "https://a", "auth_url": "https://a", "account": "ann", "username": "ann"}
    others = [
        {"url": "https://b"},
        {"auth_url": "https://b"},
        {"account": ""},
        {"username": "bea"},
        {"vo": "xyz"},
        {"auth": "x509"},
        {"client_cert": "/other.pem"},
        {"client_proxy": "/other.pem"},
        {"name": "two"},
    ]
    keys = [Instance(**{**one, **other}).key for other in [{}, *others]]
    assert len(set(keys)) == len(keys)


def test_settings_of_storages(toml: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKENS", str(tmp_path))
    toml(
        '[instances.a]\nurl = "https://a.example"\naccess = "lake"\n[instances.a.storage]\ntoken_file = "$TOKENS/t"\n'
        'token_command = ["htgettoken", "-o"]\nproxy = "~/proxy"\nxcache = "root://cache:1094"\ntimeout = 2'
    )
    instance = load_instances().get()
    assert instance.access == "lake"
    assert instance.storage == StorageSettings(
        token_file=str(tmp_path / "t"),
        token_command=("htgettoken", "-o"),
        proxy=str(Path.home() / "proxy"),
        xcache="root://cache:1094",
        timeout=2,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("token_command = 'a b'", "storage.token_command"),
        ("token_command = ['']", "token_command"),
        ("timeout = 0", "storage.timeout"),
        ("token = 'secret'", "token"),
        ("xcache = 'https://cache'", "xcache"),
        ("xcache = 'root://cache//path'", "xcache"),
    ],
)
def test_wrong_settings_of_storages(toml: Write, text: str, words: str) -> None:
    toml(f'[instances.a]\nurl = "https://a.example"\n[instances.a.storage]\n{text}')
    with pytest.raises(ConfigurationError, match=words):
        load_instances()


def test_a_token_command_is_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rucio_lab.toml"
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(path))
    begin = '[instances.x]\nurl = "https://x"\nauth = "token"\n'
    path.write_text(f'{begin}token_command = ["oidc-token", "x"]\n')
    assert load_instances().get().token_command == ("oidc-token", "x")
    for wrong in ('"oidc-token x"', "[1]", "{}"):
        path.write_text(f"{begin}token_command = {wrong}\n")
        with pytest.raises(ConfigurationError, match="token_command"):
            load_instances()
