"""rucio.cfg and Rucio's environment variables: found where Rucio finds them, and errors that name mistakes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.config.rucio_cfg import rucio_cfg_path
from tests.core.config.conftest import Write, problem, rucio_cfg


def test_rucio_cfg_alone_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = rucio_cfg(tmp_path)
    monkeypatch.setenv("RUCIO_CONFIG", str(path))
    instance = load_instances().get()
    assert instance.name == "rucio.example.org:443"
    assert (instance.account, instance.username, instance.ca) == ("ann", "ann", "/etc/ca.crt")
    assert (instance.url, instance.auth_url) == ("https://rucio.example.org:443", "https://auth.example.org")
    assert instance.rucio_cfg == str(path)


def test_rucio_cfg_is_found_where_rucio_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("CONDA_PREFIX", "VIRTUAL_ENV", "RUCIO_HOME")
    for name in names:  # from the weakest to the strongest
        path = rucio_cfg(tmp_path / name, account=name.lower())
        monkeypatch.setenv(name, str(tmp_path / name))
        assert rucio_cfg_path() == path
        assert load_instances().get().account == name.lower()
    explicit = rucio_cfg(tmp_path / "explicit", account="explicit")
    monkeypatch.setenv("RUCIO_CONFIG", str(explicit))
    assert load_instances().get().account == "explicit"


def test_the_order_is_the_same_as_in_rucio(tmp_path: Path) -> None:
    """Ask rucio, in a new process, since it reads its configuration only once."""
    environment = {name: str(tmp_path / name) for name in ("RUCIO_HOME", "VIRTUAL_ENV", "CONDA_PREFIX")}
    code = "import rucio_lab.core.upstream.rucio_api, rucio.common.config as c; print(*c.get_config_dirs())"
    asked = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    folders = [f"{tmp_path / name}/etc/" for name in environment]
    assert asked.stdout.split() == [*folders, "/opt/rucio/etc/"]


def test_the_environment_applies_only_to_the_instance_of_rucio_cfg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "jupyter"
    folder.mkdir()
    (folder / "rucio_lab.toml").write_text('[instances.other]\nurl = "https://other"\naccount = "ann"')
    monkeypatch.delenv("JUPYTER_NO_CONFIG")
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(folder))
    monkeypatch.setenv("RUCIO_CONFIG", str(rucio_cfg(tmp_path)))
    monkeypatch.setenv("RUCIO_ACCOUNT", "bea")
    monkeypatch.setenv("RUCIO_VO", "xyz")
    monkeypatch.setenv("RUCIO_AUTH_TYPE", "x509_proxy")
    instances = load_instances()
    own, other = instances.get("rucio.example.org:443"), instances.get("other")
    assert (own.account, own.vo, own.auth) == ("bea", "xyz", "x509_proxy")
    assert (other.account, other.vo, other.auth) == ("ann", "def", "userpass")
    assert instances.get() is own


def test_an_instance_takes_missing_settings_from_its_own_rucio_cfg(toml: Write, tmp_path: Path) -> None:
    path = rucio_cfg(tmp_path)
    toml(f'[instances.one]\nrucio_cfg = "{path}"\naccount = "bea"')
    instance = load_instances().get()
    assert (instance.name, instance.account, instance.username) == ("one", "bea", "ann")
    assert instance.url == "https://rucio.example.org:443"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("[database]\ndefault = sqlite://\n", r"no section \[client\]"),
        ("hello\n", "not a valid rucio.cfg"),
        ("[client]\naccount = hu%sh-hush\n", "single % in account"),
        ("[client]\naccount = ann\n", "no usable url"),
        (b"\xff\xfe", "not text in UTF-8"),
    ],
)
def test_an_unusable_rucio_cfg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | bytes | None, words: str
) -> None:
    path = tmp_path / "rucio.cfg"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    monkeypatch.setenv("RUCIO_CONFIG", str(path))
    error = problem()
    assert str(path) in error.message
    assert re.search(words, error.message)
    assert "sh-hush" not in str(error)
    assert "rucio-lab demo" in error.remedy


@pytest.mark.parametrize(
    "text",
    ["[database]\ndefault = sqlite://\n", "[client]\npassword = hu%sh\n", ""],
    ids=["server", "percent", "empty"],
)
def test_rucio_can_be_imported_whatever_the_rucio_cfg(tmp_path: Path, text: str) -> None:
    """A server's rucio.cfg in the environment does not turn us into a server."""
    path = tmp_path / "rucio.cfg"
    path.write_text(text)
    code = "import rucio_lab.core.resolve.resolution, os; print('RUCIO_CLIENT_MODE' in os.environ)"
    environment = {"RUCIO_CONFIG": str(path), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_rucio_cfg_that_rucio_cannot_read_is_named(tmp_path: Path) -> None:
    """Rucio's own import fails, but instances that are configured elsewhere still work."""
    (tmp_path / "rucio_lab.toml").write_text('[instances.one]\nurl = "https://rucio.example.org"')
    code = "import rucio_lab.core.resolve.resolution as r; i = r.load_instances(); print(i.get().name, *i.problems)"
    missing = str(tmp_path / "missing.cfg")
    environment = {"RUCIO_CONFIG": missing, "HOME": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"one {missing} cannot be read: No such file")


def test_a_library_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    """Rucio imports what its rucio.cfg names."""
    (tmp_path / "rucio.cfg").write_text("[client]\n[policy]\nlfn2pfn_module = missing.module\n")
    code = """
from rucio_lab.core.errors import ConfigurationError
try:
    import rucio_lab.core.upstream.rucio_api
except ConfigurationError as error:
    print(error)
"""
    environment = {"RUCIO_CONFIG": str(tmp_path / "rucio.cfg"), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "cannot be imported: No module named 'missing'." in done.stdout


@pytest.mark.parametrize("from_environment", [False, True])
def test_an_identity_provider_of_rucio_cfg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_environment: bool
) -> None:
    path = tmp_path / "rucio.cfg"
    way = "userpass" if from_environment else "oidc"
    path.write_text(
        f"[client]\nrucio_host = https://rucio.example.org\nauth_type = {way}\noidc_issuer = escape\n"
        "oidc_audience = rucio\noidc_scope = openid profile offline_access\noidc_refresh_lifetime = 48\n"
        "oidc_polling = true\nauth_token_file_path = /tmp/token\n"
    )
    monkeypatch.setenv("RUCIO_CONFIG", str(path))
    if from_environment:
        monkeypatch.setenv("RUCIO_AUTH_TYPE", "oidc")
    instance = load_instances().get()
    assert (instance.auth, instance.oidc_issuer, instance.oidc_audience) == ("oidc", "escape", "rucio")
    assert instance.oidc_scope == "openid profile offline_access"
    assert (instance.oidc_refresh_lifetime, instance.token_file) == (48, "/tmp/token")
