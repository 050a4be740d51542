"""rucio_lab.toml in layers: how they are merged, and errors that name mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from rucio_lab.core.config.instances import load_instances
from tests.core.config.conftest import Write, problem, rucio_cfg


def test_relative_paths_are_relative_to_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Server and kernel have different working folders, but must find the same files."""
    site, user = tmp_path / "site", tmp_path / "user"
    rucio_cfg(site)
    user.mkdir()
    monkeypatch.delenv("JUPYTER_NO_CONFIG")
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(user))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(site))
    (site / "rucio_lab.toml").write_text(
        """
        [instances.one]
        rucio_cfg = "etc/rucio.cfg"
        ca = "ca.pem"
        [instances.one.mounts.A]
        prefix = "/a/"
        folder = "../a"
        """
    )
    (user / "rucio_lab.toml").write_text('[instances.one]\ntoken_file = "token"\nclient_proxy = "/abs/proxy"')
    monkeypatch.chdir("/")
    one = load_instances().get("one")
    assert (one.rucio_cfg, one.ca) == (str(site / "etc" / "rucio.cfg"), str(site / "ca.pem"))
    assert (one.token_file, one.client_proxy) == (str(user / "token"), "/abs/proxy")
    assert Path(one.mounts["A"].folder).resolve() == tmp_path / "a"


def test_layers_are_merged_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, user = tmp_path / "site", tmp_path / "user"
    for folder in (site, user):
        folder.mkdir()
    monkeypatch.delenv("JUPYTER_NO_CONFIG")
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(site))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(user))
    # JUPYTER_CONFIG_PATH comes first for Jupyter, so it wins.
    (user / "rucio_lab.toml").write_text(
        """
        default = "mine"
        [instances.both]
        url = "https://both"
        account = "ann"
        [instances.both.mounts.A]
        prefix = "/a/"
        folder = "/user/a"
        [instances.both.mounts.B]
        prefix = "/b/"
        folder = "/user/b"
        [instances.mine]
        url = "https://mine"
        """
    )
    (site / "rucio_lab.toml").write_text(
        """
        [instances.both]
        account = "site"
        [instances.both.mounts.B]
        prefix = "/b/"
        folder = "/site/b"
        """
    )
    instances = load_instances()
    both = instances.get("both")
    assert (both.url, both.account) == ("https://both", "site")
    assert {rse: mount.folder for rse, mount in both.mounts.items()} == {"A": "/user/a", "B": "/site/b"}
    assert instances.get().name == "mine"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[instances.one]\nurl = "https://one"\naccont = "ann"', ["instances.one", "accont"]),
        ('instance = "one"', ["instance"]),
        ('[instances.one]\nurl = "https://one"\ntimeout = "long"', ["timeout"]),
        ('[instances.one]\nurl = "https://one"\ntimeout = 0', ["timeout"]),
        ('[instances.one]\nurl = "https://one"\nauth = "magic"', ["auth", "magic"]),
        ('[instances.one]\nurl = "https://one"\npassword = "hush-hush"', ["password"]),
        ('[instances.one]\nurl = "https://one"\n[instances.one.mounts.A]\npath = "/a"', ["mounts", "path"]),
        ('[instances.one\nurl = "https://one"', ["line 1"]),
        ("instances = 3", ["instances"]),
        ("[instances]\none = 3", ["instances.one"]),
    ],
)
def test_a_mistake_in_a_file_is_named_with_the_file(toml: Write, text: str, words: list[str]) -> None:
    path = toml(text)
    error = problem()
    assert all(word in error.message for word in [str(path), *words])
    assert "hush-hush" not in str(error)


def test_a_file_that_is_not_text(toml: Write) -> None:
    path = toml("")
    path.write_bytes(b"\xff\xfe\x00")
    assert str(path) in problem().message


def test_rucio_lab_config_names_a_missing_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(tmp_path / "missing.toml"))
    error = problem()
    assert str(tmp_path / "missing.toml") in error.message
