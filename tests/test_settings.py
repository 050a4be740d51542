"""The configuration page agrees with the code, and its examples work."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import msgspec
import pytest

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.config.settings import Instance

ROOT = Path(__file__).parents[1]
_SPEC = importlib.util.spec_from_file_location("settings", ROOT / "docs" / "settings.py")
assert _SPEC is not None
assert _SPEC.loader is not None
settings = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(settings)

PAGE = (ROOT / "docs" / "configuration.md").read_text()


def test_the_page_describes_every_setting_as_the_code_does() -> None:
    assert settings.filled(PAGE) == PAGE, "run: python docs/settings.py"
    for name in settings.STRUCTS:
        assert f"<!-- settings {name} -->" in PAGE, f"the page has no table for {name}"


def test_a_setting_without_a_description_is_an_error() -> None:
    class More(msgspec.Struct):
        """Settings like those of an instance.

        Attributes
        ----------
        old
            It has a description.
        """

        old: str = ""
        new: str = ""

    with pytest.raises(LookupError, match="new"):
        list(settings.table(More))


def test_the_page_names_every_environment_variable_in_the_code() -> None:
    read = {
        name
        for path in (ROOT / "rucio_lab").glob("**/*.py")
        for name in re.findall(r"RUCIO_LAB_[A-Z_]+", path.read_text())
    }
    assert read
    assert not [name for name in read if f"`{name}`" not in PAGE]


@pytest.mark.parametrize(
    ("path", "names"),
    [("laptop.toml", {"escape", "lab"}), ("lab-server.toml", {"lab"}), ("hub/rucio_lab.toml", {"escape"})],
)
def test_examples_load(path: str, names: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unchanged except for what does not exist here: the laptop's rucio.cfg and the lab's web server."""
    text = (ROOT / "deploy" / path).read_text()
    assert f"<!-- example {path} -->" in PAGE
    (tmp_path / "rucio_lab.toml").write_text(re.sub(r"(?m)^remote.*$", "", text))
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "rucio.cfg").write_text("[client]\nrucio_host = https://a\nauth_host = https://a\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(tmp_path / "rucio_lab.toml"))
    instances = load_instances()
    assert set(instances.names) == names
    assert isinstance(instances.get(), Instance)
    assert instances.problems == ()
