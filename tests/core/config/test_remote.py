"""A site's configuration at an https address: what it may set, and what happens when it cannot be fetched."""

from __future__ import annotations

import http.server
import json
import os
import ssl
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rucio_lab.core.config import remote
from rucio_lab.core.config.instances import check_remote, load_instances
from rucio_lab.core.errors import ConfigurationError
from tests.lake.pki import Authority
from tests.support.checks import assert_clear, within

GOOD = """
default = "lab"
[instances.lab]
url = "https://rucio.lab.example"
schemes = ["https"]
site = "LAB"
"""


NO_ADDRESSES = (
    r"https://evil/\n[policy]\npackage = X",
    r"https://evil/\rx",
    r"https://evil/\tx",
    r"https://evil/\u2028x",
    "https://evil/a b",
    "https://evil?x=1",
    "https://evil/#x",
    r"https://evil\\@good",
    "https://-oProxyCommand=x",
)
"""As TOML writes them."""

LOCAL = (
    *("localhost:8888", "a.localhost.", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0.0.0.0", "169.254.169.254"),
    *("[::1]", "[::ffff:127.0.0.1]", "[fe80::1]", r"\uFF11\uFF12\uFF17.0.0.1"),
)
"""Hosts on the machine itself or its own link."""


class Site:
    """A real https server; ``text`` is the configuration it serves, ``mode`` what it does wrong."""

    def __init__(self, authority: Authority) -> None:
        self.text, self.mode, self.asked = GOOD, "", 0
        self.headers: list[dict[str, str]] = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked += 1
                site.headers.append(dict(self.headers))
                site.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # when readers leave
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.server_cert, authority.server_key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}/rucio_lab.toml"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, to: http.server.BaseHTTPRequestHandler) -> None:
        if self.mode == "silent":
            time.sleep(1)
            return
        to.send_response({"broken": 500, "elsewhere": 302}.get(self.mode, 200))
        to.send_header("Location", "https://127.0.0.1:1/")
        to.end_headers()
        if self.mode == "trickle":
            for _ in range(100):
                to.wfile.write(b"# " + b"x" * 17000)
                to.wfile.flush()
                time.sleep(0.1)
        to.wfile.write(b"#" * remote.MAX_BYTES if self.mode == "huge" else b"")
        to.wfile.write(b"\xff\xfe" if self.mode == "binary" else self.text.encode())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def site(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site(authority)
    for name in [name for name in os.environ if name.startswith("RUCIO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(tmp_path / "rucio_lab.toml"))
    (tmp_path / "ca.pem").write_text(authority.ca.read_text())
    local(tmp_path, site)
    yield site
    site.close()
    remote._unwritten.clear()


def local(folder: Path, site: Site, more: str = "") -> None:
    """Write this machine's file, which names the site's."""
    (folder / "rucio_lab.toml").write_text(f'remote = "{site.url}"\nremote_ca = "ca.pem"\n{more}')


def cached(folder: Path) -> Path:
    (path,) = (folder / "data" / "rucio-lab" / "remote").iterdir()
    return path


def age(folder: Path, seconds: float) -> None:
    """Make the copy older."""
    copy = json.loads(cached(folder).read_text())
    copy["fetched"] -= seconds
    copy["tried"] -= seconds
    cached(folder).write_text(json.dumps(copy))


def wait_for(site: Site, times: int) -> None:
    """Wait until the site was asked so many times, and the results are on disk."""
    deadline = time.monotonic() + 10
    while site.asked < times or any(thread.is_alive() for thread in remote._fetching.values()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_instances_come_from_the_site_and_are_cached(site: Site, tmp_path: Path) -> None:
    lab = load_instances().get()
    assert (lab.name, lab.url, lab.site, lab.schemes) == ("lab", "https://rucio.lab.example", "LAB", ("https",))
    assert load_instances().get() == lab
    assert site.asked == 1
    assert stat.S_IMODE(cached(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(cached(tmp_path).parent.stat().st_mode) == 0o700


def test_files_of_this_machine_override_it(site: Site, tmp_path: Path) -> None:
    local(tmp_path, site, '[instances.lab]\naccount = "ann"\nsite = "HOME"\n[instances.mine]\nurl = "https://mine"')
    instances = load_instances()
    assert set(instances.names) == {"lab", "mine"}
    assert (instances.get().name, instances.get().account, instances.get().site) == ("lab", "ann", "HOME")


def test_an_old_copy_is_used_while_a_new_one_is_fetched(site: Site, tmp_path: Path) -> None:
    load_instances()
    start = time.monotonic()
    site.text, site.mode = GOOD.replace("LAB", "NEW"), "silent"
    age(tmp_path, remote.MAX_AGE + 1)
    assert load_instances().get().site == "LAB"
    assert load_instances().get().site == "LAB"
    assert time.monotonic() - start < 1  # the fetch takes that long
    wait_for(site, 2)
    assert site.asked == 2  # one fetch for all callers
    site.mode = ""
    age(tmp_path, remote.RETRY + 1)
    load_instances()
    wait_for(site, 3)
    assert load_instances().get().site == "NEW"


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("broken", "HTTP 500"),
        ("elsewhere", "a redirect"),
        ("huge", "longer than"),
        ("binary", "not text"),
        ("silent", "answers"),
    ],
)
def test_the_last_good_copy_is_kept(site: Site, tmp_path: Path, mode: str, words: str) -> None:
    load_instances()
    site.mode = mode
    found = check_remote()
    assert found is not None
    assert words in found[1].failure
    assert found[1].fetched <= found[1].tried
    assert load_instances().get().site == "LAB"
    assert load_instances().problems == ()


def test_without_any_copy_the_reason_is_given_every_time(site: Site, tmp_path: Path) -> None:
    site.mode = "broken"
    for _ in range(3):
        with pytest.raises(ConfigurationError) as caught:
            load_instances().get()
        assert_clear(caught.value)
        assert "HTTP 500" in caught.value.message
    assert site.asked == 1  # not for every call
    age(tmp_path, remote.RETRY + 1)
    site.mode = ""
    assert load_instances().get().name == "lab"


def test_a_slow_site_is_not_waited_for(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.mode = "trickle"
    local(tmp_path, site, '[instances.mine]\nurl = "https://mine"')
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.3)
    with within(0.3):
        instances = load_instances()
    assert instances.get().name == "mine"
    assert "did not arrive within" in instances.problems[0]
    monkeypatch.setattr(remote, "DEADLINE", 0.5)
    monkeypatch.setattr(remote, "MAX_BYTES", 10**9)
    found = check_remote()
    assert found is not None
    assert "too slow" in found[1].failure


def test_the_data_folder_cannot_be_written(site: Site, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    assert load_instances().get().name == "lab"
    assert load_instances().get().name == "lab"
    assert site.asked == 1


def test_a_copy_that_was_tampered_with_is_fetched_again(site: Site, tmp_path: Path) -> None:
    load_instances()
    cached(tmp_path).write_text(json.dumps({"text": GOOD + 'token_file = "/x"', "fetched": time.time()}))
    assert load_instances().get().token_file == ""
    assert site.asked == 2


def test_no_credential_is_sent_to_the_site(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password hush-hush")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("BEARER_TOKEN", "hush-hush")
    load_instances()
    assert "Authorization" not in site.headers[0]
    assert "hush-hush" not in str(site.headers)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "https://ann:hush-hush@127.0.0.1/x", "file:///etc/passwd", "https://", "https://["]
)
def test_addresses_that_are_refused(site: Site, tmp_path: Path, url: str) -> None:
    site.url = url
    local(tmp_path, site)
    with pytest.raises(ConfigurationError) as caught:
        load_instances().get()
    assert_clear(caught.value)
    assert "hush-hush" not in str(caught.value)


def test_an_untrusted_certificate(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    (tmp_path / "rucio_lab.toml").write_text(f'remote = "{site.url}"')
    with pytest.raises(ConfigurationError, match="certificate is not accepted"):
        load_instances().get()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[instances.lab\n", "not valid"),
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("[instances.lab]\nurl = 3", "instances.lab"),
        ("[instances.lab]\naccont = 'x'", "accont"),
        ('remote = "https://other"', "remote of its own"),
        ('default = "nowhere"', "'nowhere'"),
        ('[instances.lab]\nsite = "x"', "no usable address"),
        ('[instances.lab]\nurl = "https://a:b@c"', "no usable address"),
        ('[instances.lab]\nurl = "http://a"', "without https"),
        ('[instances.lab]\nurl = "https://a"\nauth_url = "http://a"', "without https"),
        ('[instances.lab]\nurl = "https://a"\nauth = "token"', "auth = 'token'"),
        ('[instances.lab]\nurl = "https://a"\ntoken_file = "/etc/passwd"', "token_file"),
        ('[instances.lab]\nurl = "https://a"\nrucio_cfg = "/etc/passwd"', "rucio_cfg"),
        ('[instances.lab]\nurl = "https://a"\nssh_private_key = "~/.ssh/id_rsa"', "ssh_private_key"),
        ('[instances.lab]\nurl = "https://a"\nclient_cert = "/x"', "client_cert"),
        ('[instances.lab]\nurl = "https://a"\nca = "/x"', "ca"),
        ('[instances.lab]\nurl = "https://a"\nwlcg_token = true', "wlcg_token"),
        ('[instances.lab]\nurl = "https://a"\nhub_token = "access_token"', "hub_token"),
        ('[instances.lab]\nurl = "https://a"\n[instances.lab.mounts.A]\nprefix = "/"\nfolder = "/"', "mounts"),
        ('[instances.escape]\nurl = "https://evil"', "url of instance 'escape'"),
        ('[instances."vre-rucio.cern.ch"]\nurl = "https://evil"', "may not name"),
        *((f'[instances.lab]\nurl = "{url}"', "no usable address") for url in NO_ADDRESSES),
        *((f'[instances.lab]\nurl = "https://a"\nauth_url = "https://{host}"', "on the machine") for host in LOCAL),
        *(
            (f'[instances.lab]\nurl = "https://a"\n{key} = {value}', f"invisible characters in {key}")
            for key, value in (
                ("vo", r'"a\r\nX-Rucio-Account: root"'),
                ("oidc_issuer", r'"a\nb"'),
                ("rse", r'"a\u202Eb"'),
                ("schemes", r'["https", "a\u2028b"]'),
            )
        ),
    ],
)
def test_what_a_site_may_not_set(site: Site, text: str, words: str) -> None:
    """It can read no file, run no program, and send no secret to an address of its choice."""
    load_instances()
    site.text = text
    found = check_remote()
    assert found is not None
    assert words in found[1].failure
    assert load_instances().get().site == "LAB"


def test_every_setting_is_refused_unless_it_is_listed() -> None:
    """A new setting of an instance must not become one that a site may set."""
    from rucio_lab.core.config.layers import CREDENTIALS, REMOTE_SETTINGS
    from rucio_lab.core.config.settings import PATHS

    assert not REMOTE_SETTINGS & {*PATHS, *CREDENTIALS, "name", "mounts", "username", "account"}


def test_a_secret_is_sent_only_to_an_address_in_a_file_of_this_machine(site: Site, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush-hush")
    local(tmp_path, site, '[instances.lab]\ntoken_file = "token"\nauth = "token"')
    with pytest.raises(ConfigurationError) as caught:
        load_instances()
    assert_clear(caught.value)
    assert "token_file of instance 'lab'" in caught.value.message
    local(tmp_path, site, '[instances.lab]\nurl = "https://mine"\ntoken_file = "token"\nauth = "token"')
    site.text = GOOD.replace("[instances.lab]", '[instances.lab]\nauth_url = "https://evil"')
    assert check_remote() is not None
    lab = load_instances().get()
    assert (lab.url, lab.auth_url, lab.site) == ("https://mine", "https://mine", "LAB")


def test_the_doctor_says_how_old_the_copy_is(site: Site, tmp_path: Path) -> None:
    from rucio_lab.cli.doctor import check_site

    assert [finding.level for finding in check_site()] == ["good"]
    site.mode = "broken"
    age(tmp_path, 7200)
    (finding,) = check_site()
    assert (finding.level, finding.remedy) == ("note", "The cached copy from 2.0 hours ago is used.")
    assert "HTTP 500" in finding.text
    cached(tmp_path).unlink()
    (finding,) = check_site()
    assert finding.level == "bad"
