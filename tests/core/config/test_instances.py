"""Which instances there are: rucio_lab.toml in layers, rucio.cfg, the environment, and what is said of mistakes."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from rucio_lab.core.config import presets
from rucio_lab.core.config.instances import Instances, load_instances
from rucio_lab.core.config.rucio_cfg import rucio_cfg_path
from rucio_lab.core.config.settings import Instance, StorageSettings
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


# ------------------------------------------------------------------------------------------------ rucio_lab.toml


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


def test_names_expand_variables(toml: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CA_FOLDER", "/somewhere")
    toml('[instances.one]\nurl = "https://one"\nca = "$CA_FOLDER/ca.pem"')
    assert load_instances().get().ca == "/somewhere/ca.pem"


def test_relative_paths_are_relative_to_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Server and kernel have working folders of their own, and must mean the same."""
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


@pytest.mark.parametrize("name", ["two", "two.example.org:8080", "http://two.example.org:8080"])
def test_an_instance_is_found_by_name_host_or_address(toml: Write, name: str) -> None:
    toml('[instances.one]\nurl = "https://one"\n[instances.two]\nurl = "http://two.example.org:8080"')
    assert load_instances().get(name).name == "two"


def test_the_only_instance_is_the_default_one(toml: Write) -> None:
    toml('[instances.one]\nurl = "https://one"')
    assert load_instances().get().name == "one"


def test_layers_are_merged_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, user = tmp_path / "site", tmp_path / "user"
    for folder in (site, user):
        folder.mkdir()
    monkeypatch.delenv("JUPYTER_NO_CONFIG")
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(site))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(user))
    # JUPYTER_CONFIG_PATH is what Jupyter puts first of all: it wins.
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
def test_what_is_wrong_in_a_file_is_named_with_the_file(toml: Write, text: str, words: list[str]) -> None:
    path = toml(text)
    error = problem()
    assert all(word in error.message for word in [str(path), *words])
    assert "hush-hush" not in str(error)


def test_a_file_that_is_no_text(toml: Write) -> None:
    path = toml("")
    path.write_bytes(b"\xff\xfe\x00")
    assert str(path) in problem().message


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
def test_an_address_that_is_none(toml: Write, url: str) -> None:
    toml(f'[instances.one]\nurl = "{url}"')
    assert "'one' has no usable url" in problem().message


def test_a_default_that_is_missing(toml: Write) -> None:
    toml('default = "three"\n[instances.one]\nurl = "https://one"')
    assert "'three'" in problem().message


def test_no_default_among_several(toml: Write) -> None:
    toml('[instances.one]\nurl = "https://one"\n[instances.two]\nurl = "https://two"')
    error = problem()
    assert "one, two" in error.message
    assert "default" in error.remedy


def test_an_instance_that_is_missing_names_those_that_are_there(toml: Write) -> None:
    toml('[instances.one]\nurl = "https://one"')
    error = problem("nil")
    assert "'nil'" in error.message
    assert "one" in error.remedy


def test_rucio_lab_config_names_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(tmp_path / "missing.toml"))
    error = problem()
    assert str(tmp_path / "missing.toml") in error.message


# ------------------------------------------------------------------------------------------------ rucio.cfg


def test_rucio_cfg_alone_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = rucio_cfg(tmp_path)
    monkeypatch.setenv("RUCIO_CONFIG", str(path))
    instance = load_instances().get()
    assert instance.name == "rucio.example.org:443"
    assert (instance.account, instance.username, instance.ca) == ("ann", "ann", "/etc/ca.crt")
    assert (instance.url, instance.auth_url) == ("https://rucio.example.org:443", "https://auth.example.org")
    assert instance.rucio_cfg == str(path)


def test_rucio_cfg_is_looked_for_where_rucio_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("CONDA_PREFIX", "VIRTUAL_ENV", "RUCIO_HOME")
    for name in names:  # from the weakest to the strongest
        path = rucio_cfg(tmp_path / name, account=name.lower())
        monkeypatch.setenv(name, str(tmp_path / name))
        assert rucio_cfg_path() == path
        assert load_instances().get().account == name.lower()
    explicit = rucio_cfg(tmp_path / "explicit", account="explicit")
    monkeypatch.setenv("RUCIO_CONFIG", str(explicit))
    assert load_instances().get().account == "explicit"


def test_the_order_is_that_of_rucio_itself(tmp_path: Path) -> None:
    """Ask rucio, in a process of its own, since it reads its configuration once."""
    environment = {name: str(tmp_path / name) for name in ("RUCIO_HOME", "VIRTUAL_ENV", "CONDA_PREFIX")}
    code = "import rucio_lab.core.upstream.rucio_api, rucio.common.config as c; print(*c.get_config_dirs())"
    asked = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    folders = [f"{tmp_path / name}/etc/" for name in environment]
    assert asked.stdout.split() == [*folders, "/opt/rucio/etc/"]


def test_the_environment_is_for_the_instance_of_rucio_cfg_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_instance_completes_itself_from_its_own_rucio_cfg(toml: Write, tmp_path: Path) -> None:
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
        ("hello\n", "no valid rucio.cfg"),
        ("[client]\naccount = ann\npassword = hu%sh-hush\n", "single %"),
        ("[client]\naccount = ann\n", "no usable url"),
        (b"\xff\xfe", "no valid rucio.cfg"),
    ],
)
def test_a_rucio_cfg_that_is_of_no_use(
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
    """A server's rucio.cfg in the environment does not make a server of us."""
    path = tmp_path / "rucio.cfg"
    path.write_text(text)
    code = "import rucio_lab.core.resolve.resolution, os; print('RUCIO_CLIENT_MODE' in os.environ)"
    environment = {"RUCIO_CONFIG": str(path), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_rucio_cfg_that_rucio_cannot_read_is_named(tmp_path: Path) -> None:
    """Rucio fails when it is imported; the error is ours, and says which file."""
    code = """
from rucio_lab.core.errors import ConfigurationError
try:
    import rucio_lab.core.resolve.resolution
except ConfigurationError as error:
    print(error)
"""
    environment = {"RUCIO_CONFIG": str(tmp_path / "missing.cfg"), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert str(tmp_path / "missing.cfg") in done.stdout


# ------------------------------------------------------------------------------------------------ presets


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_an_instance(name: str) -> None:
    """Whose name means the same everywhere, chosen or not."""
    instance = load_instances().get(name)
    assert instance.name == name
    assert instance.url.startswith("https://")
    assert instance.auth_url.startswith("https://")
    assert load_instances().get(instance.host) == instance
    assert load_instances().names == ()  # nobody has chosen it


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
def test_an_address_of_ones_own_takes_nothing_of_a_preset(toml: Write, tmp_path: Path, own: str) -> None:
    rucio_cfg(tmp_path)
    toml(f"[instances.escape]\n{own}")
    instance = load_instances().get("escape")
    assert "vre" not in instance.url + instance.auth_url
    assert instance.auth == "userpass"


def test_the_token_of_a_hub_has_a_place(toml: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    toml('[instances."a/b"]\nurl = "https://a"\nhub_token = "access_token"')
    instance = load_instances().get()
    assert instance.auth == "token"
    assert instance.token_file == str(tmp_path / "data" / "rucio-lab" / "hub" / "a%2Fb.token")
    toml('[instances.a]\nurl = "https://a"\nhub_token = "access_token"\ntoken_file = "mine"')
    assert load_instances().get().token_file == str(tmp_path / "mine")


# ------------------------------------------------------------------------------------------------ nothing, and secrets


def test_no_configuration_at_all_says_how_to_get_one() -> None:
    error = problem()
    assert "No Rucio instance is configured." in error.message
    for way in ("RUCIO_CONFIG", "rucio_lab.toml", "rucio-lab demo", "rucio-lab doctor"):
        assert way in error.remedy


def test_an_instance_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUCIO_CONFIG", str(rucio_cfg(tmp_path)))
    instances = load_instances()
    instance = instances.get()
    for text in (repr(instance), str(instance.key), pickle.dumps(instance).decode("latin-1"), repr(vars(instances))):
        assert "hush-hush" not in text
    assert pickle.loads(pickle.dumps(instance)) == instance


def test_keys_differ_in_whatever_makes_another_sign_in() -> None:
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


def test_instances_iterate_in_order() -> None:
    instances = Instances((Instance(name="b"), Instance(name="a")))
    assert [instance.name for instance in instances] == list(instances.names) == ["b", "a"]


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
def test_settings_of_storages_that_are_wrong(toml: Write, text: str, words: str) -> None:
    toml(f'[instances.a]\nurl = "https://a.example"\n[instances.a.storage]\n{text}')
    with pytest.raises(ConfigurationError, match=words):
        load_instances()


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
