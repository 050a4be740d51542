"""%rucio_login at the page of an identity provider: the link, the wait, the code, in a shell and in a real kernel."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

import rucio_lab
from rucio_lab import BadRequest, SignInNeeded, login
from rucio_lab.api.sign_in_page import _Link
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.identity import oidc
from tests.lake.lake import FullLake
from tests.lake.provider import SCOPE, Provider, code_on, visit
from tests.support.shells import Kernel

Run = Callable[[str], Any]


@pytest.fixture
def provider(lake: FullLake, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    settings = {"auth": "oidc", "rucio_cfg": "", "url": lake.url, "ca": str(lake.authority.ca), "oidc_scope": SCOPE}
    config = lake.config("test", test=settings, brief={**settings, "oidc_scope": "openid profile"})
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(config))
    yield lake.provider
    lake.provider.tokens_live(3600)


@pytest.fixture
def user(lake: FullLake) -> Iterator[list[str]]:
    """Somebody who opens each page that a sign-in in this process waits for; the list has what the last pages said."""
    pages: list[str] = []
    over = threading.Event()
    left = [waiting.url for waiting in oidc._pending.values()]  # by other tests

    def open_pages() -> None:
        opened = set(left)
        while not over.wait(0.1):
            for waiting in list(oidc._pending.values()):
                if waiting.url not in opened:
                    opened.add(waiting.url)
                    pages.append(visit(waiting.url, lake.authority.ca))

    somebody = threading.Thread(target=open_pages)
    somebody.start()
    yield pages
    over.set()
    somebody.join()


def test_a_magic_waits_at_the_page(run: Run, provider: Provider, user: list[str]) -> None:
    cell = run("%rucio_login")
    assert cell.error is None
    assert f"{provider.url}/oauth2/authorize" in cell.text
    assert "come back; this waits for 300 s" in cell.text
    assert re.search(r"Signed in to test as alice until \d{4}-\d\d-\d\d \d\d:\d\d UTC \(60 min\), renewed ", cell.text)
    assert run("%rucio_ls opendata13TeV:GamGam").error is None
    assert "(60 min)." in run("%rucio_login brief").text
    assert run("%rucio_logout").error is None
    assert isinstance(run("%rucio_ls opendata13TeV:GamGam").error, SignInNeeded)


def test_a_magic_asks_for_the_code(
    run: Run, provider: Provider, user: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def prompt(words: str) -> str:
        asked.append(words)
        while not user:
            time.sleep(0.1)
        return "wrong" if len(asked) == 1 else code_on(user[0])

    monkeypatch.setattr("getpass.getpass", prompt)
    cell = run("%rucio_login --code")
    assert cell.error is None
    assert "paste the code" in cell.text
    assert len(asked) == 2
    assert "does not know this code" in asked[1]
    assert code_on(user[0]) not in cell.text


def test_too_many_wrong_codes_end_the_sign_in(run: Run, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getpass", lambda _: "wrong")
    cell = run("%rucio_login --code")
    assert isinstance(cell.error, SignInNeeded)
    assert "3 codes for test were wrong" in cell.text
    assert oidc.pending(load_instances().get("test")) is None


@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
def test_a_timeout_that_is_not_positive(run: Run, provider: Provider, seconds: str) -> None:
    assert isinstance(run(f"%rucio_login --timeout {seconds}").error, BadRequest)


def test_nobody_signs_in(run: Run, provider: Provider) -> None:
    start = time.monotonic()
    cell = run("%rucio_login --timeout 1")
    assert time.monotonic() - start < 5
    assert isinstance(cell.error, SignInNeeded)
    assert "Nobody has signed in to test" in cell.text
    with pytest.raises(SignInNeeded, match="Nobody has signed in"):
        login(timeout=0.5)


def test_an_interrupt_ends_the_sign_in(run: Run, provider: Provider) -> None:
    threading.Timer(1, os.kill, (os.getpid(), 2)).start()
    cell = run("%rucio_login")
    assert isinstance(cell.error, KeyboardInterrupt)
    assert "was interrupted" in cell.text
    assert oidc.pending(load_instances().get("test")) is None


def test_the_link_is_text_and_html_without_surprises(provider: Provider) -> None:
    waiting = oidc.begin(load_instances().get("test"))
    waiting.url += '&x="><script>alert(1)</script>'
    link = _Link(waiting, "and <b>come back")
    assert waiting.url in repr(link)
    assert "<script" not in link._repr_html_()
    assert "<b>" not in link._repr_html_()
    assert 'rel="noopener noreferrer"' in link._repr_html_()
    waiting.cancel()


def test_a_kernel_shows_a_link_waits_and_goes_on_as_the_sign_in_is_renewed(
    start_kernel: Callable[[], Kernel], lake: FullLake, provider: Provider
) -> None:
    """And a second kernel shares it; an idle one keeps it."""
    provider.tokens_live(6)
    first, second = start_kernel(), start_kernel()
    shown: list[dict[str, Any]] = []

    def listen(message: dict[str, Any]) -> None:
        if message["msg_type"] in ("display_data", "update_display_data"):
            shown.append(message["content"]["data"])
            if "<a href" in message["content"]["data"].get("text/html", ""):
                url = re.search(r"http://\S+", message["content"]["data"]["text/plain"])
                assert url
                threading.Thread(target=visit, args=(url[0], lake.authority.ca)).start()

    with lake.old_tokens():
        code = "%load_ext rucio_lab\n%rucio_login"
        reply = first.client.execute_interactive(code, output_hook=listen, timeout=60, allow_stdin=False)
        assert reply["content"]["status"] == "ok", reply["content"]
        assert "text/html" not in shown[-1]  # the link is not kept
        assert shown[-1]["text/plain"].endswith(": done.")
        look = "%load_ext rucio_lab\nprint(len(rucio_lab.attach('opendata13TeV:data_A.GamGam')))"
        assert second.run(f"import rucio_lab\n{look}")[0]["status"] == "ok"
        renewed = provider.renewals()
        time.sleep(8)
        assert provider.renewals() > renewed
        for kernel in (first, second):
            reply, printed = kernel.run(f"import rucio_lab\n{look}")
            assert reply["status"] == "ok", printed


def test_nobody_can_be_asked_for_the_code(
    start_kernel: Callable[[], Kernel], lake: FullLake, provider: Provider
) -> None:
    reply, printed = start_kernel().run("%load_ext rucio_lab\n%rucio_login --code")
    assert reply["status"] == "error"
    assert "nobody can be asked" in printed


def test_a_shell_of_its_own(shell: InteractiveShell) -> None:
    assert "--code" in str(shell.find_line_magic("rucio_login").__doc__)


def test_a_proxy_is_made_and_shown(
    run: Run, lake: FullLake, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = lake.users["alice"]
    name = subprocess.check_output(["openssl", "x509", "-hash", "-noout", "-in", lake.authority.ca], text=True).strip()
    (tmp_path / f"{name}.0").write_bytes(lake.authority.ca.read_bytes())
    monkeypatch.setenv("X509_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "proxy"))
    config = lake.config("test", test={"client_cert": str(user.cert), "client_key": str(user.key)})
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(config))
    assert f"There is no X.509 proxy {tmp_path / 'proxy'}." in run("%rucio_login").text
    cell = run("%rucio_login --proxy")
    assert cell.error is None, cell.text
    assert "Signed in to test as alice" in cell.text
    assert re.search(r"X.509 proxy of CN=\d+,CN=Alice Analyst.* until .* \(12 h\)", cell.text)
    assert "CAs: " in cell.text
    assert "nowhere not known" in run("%rucio_login --voms nowhere").text


def test_login_signs_in_again_and_logout_forgets(lake: FullLake, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    config = lake.config("asking", asking={"rucio_cfg": str(lake.rucio_cfg(password=""))})
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(config))
    result = run("%rucio_attach opendata13TeV:web as files")
    assert isinstance(result.error, SignInNeeded)
    assert "%rucio_login" in result.text
    rucio_lab.login(username="alice", password="alice-pass")
    assert run("%rucio_attach opendata13TeV:web as files").error is None
    with pytest.raises(SignInNeeded):
        rucio_lab.login(username="alice", password="wrong")
    assert isinstance(run("%rucio_attach opendata13TeV:web as files").error, SignInNeeded)
    rucio_lab.login(username="alice", password="alice-pass")
    assert run("%rucio_logout").text == "Signed out of asking.\n"
    assert isinstance(run("%rucio_attach opendata13TeV:web as files").error, SignInNeeded)


def test_login_of_a_configured_user_asks_nothing(lake: FullLake, run: Run) -> None:
    assert run("%rucio_login").text.startswith("Signed in to test as alice until ")
