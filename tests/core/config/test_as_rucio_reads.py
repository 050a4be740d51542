"""Environment and rucio.cfg are read as Rucio's own client reads them, and also in some ways in which it fails.

Each row is an environment and a rucio.cfg. In one process the program ``rucio`` makes its client of them, in another
one we make ours. Neither signs in.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

THEIRS = """
import argparse, json, sys
from rucio.cli import utils
from rucio.client.baseclient import BaseClient
BaseClient._BaseClient__authenticate = lambda client: None
options = ("auth_strategy", "username", "password", "certificate", "client_key", "host", "auth_host", "issuer", "vo")
others = ("ca_certificate", "timeout", "oidc_issuer", "oidc_audience", "oidc_refresh_lifetime")
said = argparse.Namespace(**dict.fromkeys((*options, *others)), oidc_scope="openid profile", oidc_polling=False)
said.user_agent, said.verbose = "rucio-clients", False
client = utils.get_client(said, None)
"""

OURS = """
import json, sys
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.errors import RucioLabError
try:
    instance = load_instances().get()
    from rucio_lab.core.identity.client import RucioClient
    from rucio_lab.core.identity.credentials import credentials
    RucioClient._obtain = lambda client, rejected: None
    client = RucioClient(instance)
    if instance.auth != "oidc":
        client.creds = credentials(instance)
except RucioLabError as error:
    print(json.dumps(str(error)))
    sys.exit()
"""

SAY = """
known = {name: getattr(client, name) or "" for name in ("host", "auth_host", "auth_type", "account", "vo")}
known["ca"] = "" if client.ca_cert is True else client.ca_cert or "nothing is checked"
print(json.dumps({**known, **{name: value for name, value in client.creds.items() if "oidc" not in name}}))
"""

CFG = """
[client]
rucio_host = https://rucio.example.org:443
auth_host = https://auth.example.org
auth_type = userpass
account = ann
username = ann
password = hush-hush
"""

READ = {
    "host": "https://rucio.example.org:443",
    "auth_host": "https://auth.example.org",
    "auth_type": "userpass",
    "account": "ann",
    "vo": "def",
    "ca": "",
    "username": "ann",
    "password": "hush-hush",
}
"""What `CFG` says."""

GIVEN = {"RUCIO_CONFIG": "{home}/client/etc/rucio.cfg"}


def cfg(text: str = CFG, **settings: str) -> str:
    """Write a rucio.cfg with some other settings."""
    lines = [line for line in text.splitlines() if line.partition(" =")[0] not in settings]
    return "\n".join([*lines, *(f"{name} = {value}" for name, value in settings.items())]) + "\n"


class Row(NamedTuple):
    """An environment and a rucio.cfg.

    Attributes
    ----------
    name
        What is special.
    environment
        Variables; ``{home}`` is the home folder.
    text
        The rucio.cfg, or None for a missing one.
    ours
        None if we read what Rucio reads. If Rucio fails: what we read, or words of our error.
    """

    name: str
    environment: dict[str, str] = GIVEN
    text: str | bytes | None = CFG
    ours: dict[str, str] | str | None = None


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
X509 = cfg(auth_type="x509", client_cert="{home}/cert.pem", client_key="{home}/key.pem")
PROXY = cfg(auth_type="x509_proxy")

BY_X509 = {name: READ[name] for name in ("host", "auth_host", "account", "vo", "ca")}
BY_X509 |= {"auth_type": "x509", "client_cert": "{home}/cert.pem", "client_key": "{home}/key.pem"}

ROWS = [
    # where the file is
    Row("RUCIO_CONFIG"),
    Row("RUCIO_HOME", {"RUCIO_HOME": "{home}/client"}),
    Row("RUCIO_HOME with a slash at the end", {"RUCIO_HOME": "{home}/client/"}),
    Row("a home without the file", {"RUCIO_HOME": "{home}/nothing", "VIRTUAL_ENV": "{home}/client"}),
    Row("an empty home", {"RUCIO_HOME": "", "VIRTUAL_ENV": "{home}/client"}),
    Row("a home that Rucio does not expand", {"RUCIO_HOME": "~/nothing", "CONDA_PREFIX": "{home}/client"}),
    Row("a relative RUCIO_CONFIG", {"RUCIO_CONFIG": "client/etc/rucio.cfg"}),
    Row("RUCIO_CONFIG goes before RUCIO_HOME", {**GIVEN, "RUCIO_HOME": "{home}/nothing"}),
    Row("RUCIO_CONFIG empty", {"RUCIO_CONFIG": "", "RUCIO_HOME": "{home}/client"}, ours=READ),
    Row("RUCIO_CONFIG blank", {"RUCIO_CONFIG": " ", "RUCIO_HOME": "{home}/client"}, ours=READ),
    Row("RUCIO_CONFIG with ~", {"RUCIO_CONFIG": "~/client/etc/rucio.cfg"}, ours=READ),
    Row("RUCIO_CONFIG with $", {"RUCIO_CONFIG": "$C/etc/rucio.cfg", "C": "{home}/client"}, ours=READ),
    Row("RUCIO_CONFIG with a blank at the end", {"RUCIO_CONFIG": "{home}/client/etc/rucio.cfg "}, ours=READ),
    Row("RUCIO_HOME with ~", {"RUCIO_HOME": "~/client"}, ours=READ),
    Row("RUCIO_HOME with $", {"RUCIO_HOME": "$HOME/client"}, ours=READ),
    Row("RUCIO_CONFIG of nobody", {"RUCIO_CONFIG": "~nobody-here/rucio.cfg"}, ours="No such file"),
    Row(
        "RUCIO_CONFIG of a variable that is not set", {"RUCIO_CONFIG": "$NONE/rucio.cfg"}, ours="$NONE/rucio.cfg cannot"
    ),
    Row("RUCIO_CONFIG of a missing file", {"RUCIO_CONFIG": "{home}/rucio.cfg"}, ours="No such file"),
    Row("RUCIO_CONFIG of a folder", {"RUCIO_CONFIG": "{home}/client"}, ours="Is a directory"),
    Row("RUCIO_CONFIG of a pipe", {"RUCIO_CONFIG": "{home}/pipe"}, ours="it is a pipe"),
    Row("nothing at all", {}, None, ours="No Rucio instance is configured"),
    Row("only an empty RUCIO_CONFIG", {"RUCIO_CONFIG": ""}, None, ours="No Rucio instance is configured"),
    # what is in it
    Row("words that are not ASCII", text="# Gruß, señor\n" + cfg(account="josé")),
    Row("an ASCII locale", {**GIVEN, **ASCII}, "# Gruß, señor\n" + CFG, ours=READ),
    Row("a byte order mark", text=b"\xef\xbb\xbf" + CFG.strip().encode(), ours=READ),
    Row("a byte order mark in an ASCII locale", {**GIVEN, **ASCII}, b"\xef\xbb\xbf" + CFG.encode(), ours=READ),
    Row("line ends of Windows", text=CFG.replace("\n", "\r\n")),
    Row("line ends of old Macs", text=CFG.replace("\n", "\r")),
    Row("not UTF-8", text=cfg(account="jos\xe9").encode("latin-1"), ours="not text in UTF-8"),
    Row("UTF-16", text=CFG.encode("utf-16"), ours="not text in UTF-8"),
    Row("no section", text="rucio_host = x\n", ours="not a valid rucio.cfg"),
    Row("an option twice", text=CFG + "account = bob\n", ours="not a valid rucio.cfg"),
    Row("a value of DEFAULT", text="[DEFAULT]\nvo = xyz\n" + CFG),
    Row("a reference", text="[DEFAULT]\nme = bob\n" + cfg(account="%(me)s")),
    Row("a %% ", text=cfg(password="hu%%sh")),
    Row("a single % in the password", text=cfg(password="hu%sh"), ours="single %"),
    Row("a single % that nobody reads", text=cfg(X509, password="hu%sh", username="a%b", note="100%")),
    Row("a single % elsewhere", text=CFG + "[policy]\nnote = 100%\n"),
    Row("a comment behind a value", text=cfg(account="ann ; me")),
    Row("capital letters in names", text=CFG.replace("account", "Account")),
    Row("an address in capital letters", text=cfg(rucio_host="HTTPS://rucio.example.org")),
    Row("no address", text=cfg().replace("rucio_host", "host"), ours="no usable url"),
    Row("an address without a scheme", text=cfg(rucio_host="rucio.example.org"), ours="no usable url"),
    Row("an address of IPv6", text=cfg(rucio_host="https://[::1]:443", auth_host="https://[2001:db8::1]")),
    Row("half an address of IPv6", text=cfg(rucio_host="https://[::1"), ours="no usable url"),
    Row("a password in the address", text=cfg(rucio_host="https://ann:hu%%sh@rucio.example.org"), ours="no usable url"),
    Row("no account", text=CFG.replace("account = ann\n", "")),
    Row("numbers of others", text=cfg(request_timeout="20s", request_retries="many")),
    Row("a number that nobody reads", text=cfg(oidc_refresh_lifetime="two days")),
    Row("no number", text=cfg(auth_oidc_refresh_before_exp="20m"), ours="auth_oidc_refresh_before_exp"),
    Row("neither true nor false", text=cfg(auth_oidc_refresh_active="maybe"), ours="auth_oidc_refresh_active"),
    # ways of signing in
    Row("auth_type in capital letters", text=cfg(auth_type="UserPass")),
    Row("RUCIO_AUTH_TYPE in capital letters", {**GIVEN, "RUCIO_AUTH_TYPE": "X509"}, X509),
    Row("RUCIO_AUTH_TYPE", {**GIVEN, "RUCIO_AUTH_TYPE": "x509"}, cfg(X509, auth_type="userpass")),
    Row("RUCIO_AUTH_TYPE of no way", {**GIVEN, "RUCIO_AUTH_TYPE": "magic"}, ours="RUCIO_AUTH_TYPE"),
    Row("RUCIO_AUTH_TYPE empty", {**GIVEN, "RUCIO_AUTH_TYPE": ""}, ours=READ),
    Row("RUCIO_ACCOUNT and RUCIO_VO", {**GIVEN, "RUCIO_ACCOUNT": "bob", "RUCIO_VO": "xyz"}),
    Row("RUCIO_ACCOUNT and RUCIO_VO empty", {**GIVEN, "RUCIO_ACCOUNT": "", "RUCIO_VO": ""}, ours=READ),
    Row("RUCIO_ACCOUNT with a line break", {**GIVEN, "RUCIO_ACCOUNT": "ann\nx"}, ours="U+000A"),
    Row("RUCIO_ACCOUNT with a blank", {**GIVEN, "RUCIO_ACCOUNT": " bob "}, ours={**READ, "account": "bob"}),
    Row("an account that no header can hold", {**GIVEN, "RUCIO_ACCOUNT": "\u0142"}, ours="account"),
    Row("a certificate", text=X509),
    Row("a certificate with ~ and $", text=cfg(X509, client_cert="~/cert.pem", client_key="$HOME/key.pem")),
    Row(
        "a certificate of the environment",
        {**GIVEN, "RUCIO_CLIENT_CERT": "~/other.pem", "RUCIO_CLIENT_KEY": " $HOME/key.pem "},
        X509,
    ),
    Row(
        "a certificate of an empty environment",
        {**GIVEN, "RUCIO_CLIENT_CERT": "", "RUCIO_CLIENT_KEY": ""},
        X509,
        BY_X509,
    ),
    Row("a proxy", {**GIVEN, "X509_USER_PROXY": "{home}/proxy.pem"}, PROXY),
    Row("a proxy with ~", {**GIVEN, "X509_USER_PROXY": "~/proxy.pem"}, PROXY),
    Row("a proxy with $", {**GIVEN, "X509_USER_PROXY": "$HOME/proxy.pem"}, PROXY),
    Row("a proxy of RUCIO_CLIENT_PROXY", {**GIVEN, "RUCIO_CLIENT_PROXY": "~/proxy.pem", "X509_USER_PROXY": "x"}, PROXY),
    Row("a proxy of rucio.cfg", {**GIVEN, "X509_USER_PROXY": "x"}, cfg(PROXY, client_x509_proxy="~/proxy.pem")),
    # CAs
    Row("ca_cert", text=cfg(ca_cert="~/ca.pem")),
    Row("X509_CERT_DIR", {**GIVEN, "X509_CERT_DIR": "{home}/cas"}),
    Row("X509_CERT_DIR and ca_cert", {**GIVEN, "X509_CERT_DIR": "{home}/cas"}, cfg(ca_cert="~/ca.pem")),
    Row("X509_CERT_DIR with ~", {**GIVEN, "X509_CERT_DIR": "~/cas"}, ours={**READ, "ca": "{home}/cas"}),
    Row("X509_CERT_DIR of nothing", {**GIVEN, "X509_CERT_DIR": "{home}/no"}, ours=READ),
    Row("X509_CERT_DIR empty", {**GIVEN, "X509_CERT_DIR": ""}, ours=READ),
    Row("ca_cert empty", text=cfg(ca_cert=""), ours=READ),
]
"""An empty X509_CERT_DIR or ca_cert means to Rucio that nothing is checked. That we never do."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with files that configurations name."""
    for name in ("cert.pem", "other.pem", "key.pem", "proxy.pem", "ca.pem"):
        (tmp_path / name).touch(0o600)
    (tmp_path / "cas").mkdir()
    (tmp_path / "client" / "etc").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def filled(value: Any, home: Path) -> Any:
    """Fill in the home folder."""
    return json.loads(json.dumps(value).replace("{home}", str(home)))


def read(code: str, environment: dict[str, str], home: Path) -> Any:
    """Say what a process makes of it; None if it fails."""
    known = {"HOME": str(home), "PATH": os.environ["PATH"], "JUPYTER_CONFIG_DIR": str(home), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**known, **filled(environment, home)},
        cwd=home,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert not code.startswith(OURS) or done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.returncode == 0 else None


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_as_rucio_reads_it(home: Path, row: Row) -> None:
    if row.text is not None:
        text = row.text.replace("{home}", str(home)).encode() if isinstance(row.text, str) else row.text
        (home / "client" / "etc" / "rucio.cfg").write_bytes(text)
    ours = read(OURS + SAY, row.environment, home)
    if isinstance(row.ours, str):  # Rucio notices some of these mistakes, in words of Python, and some when it asks
        assert isinstance(ours, str)
        assert row.ours in ours
        assert "hu%sh" not in ours, "a password is shown"
        return
    theirs = read(THEIRS + SAY, row.environment, home)
    if row.ours is None:
        assert theirs is not None
        assert ours == theirs
    else:
        assert theirs != ours
        assert ours == filled(row.ours, home)
