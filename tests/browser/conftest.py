"""A browser, a JupyterLab, and a trace of each test that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from tests.lake.lake import FullLake
from tests.lake.provider import SCOPE
from tests.support.lab import ROOT, JupyterLab
from tests.support.sidebar import Sidebar

Look = Callable[[Sidebar, str], None]

_CHROMIUM = "/usr/bin/chromium"
_TRACES = ROOT / "test-results"

WAIT_MS = 20_000
"""Longest wait for anything but a kernel; the machine may be busy."""
_FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", action="store_true", help="write docs/screenshots (with tests/browser only)")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.fixture(autouse=True)
def jp_asyncio_loop() -> None:
    """Do nothing: Playwright has an event loop in this thread, which pytest-jupyter must not close."""


@pytest.fixture(autouse=True)
def jp_server_cleanup() -> None:
    """Do nothing: no Jupyter server runs in this process."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The browser; closed before other tests run, which have an event loop of their own."""
    with sync_playwright() as playwright:
        expect.set_options(timeout=WAIT_MS)
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def config(full_lake: FullLake) -> Path:
    """The configuration of several instances.

    ``test`` needs a password; ``faulty`` is behind a proxy that tests can make fail; ``certificate`` needs no sign-in,
    and has an expired storage token and a proxy; ``proxy`` lacks its proxy file; ``page`` signs in at the page of an
    identity provider.
    """
    url = f"https://127.0.0.1:{full_lake.faulty['rucio'].port}"
    cfgs = {
        "test": full_lake.rucio_cfg(password=""),
        "faulty": full_lake.rucio_cfg(rucio_host=url, auth_host=url),
        "certificate": full_lake.rucio_cfg(auth="x509"),
        "proxy": full_lake.rucio_cfg(auth="x509_proxy", client_x509_proxy="/nowhere/proxy"),
    }
    page = {"auth": "oidc", "rucio_cfg": "", "url": url, "ca": str(full_lake.authority.ca), "oidc_scope": SCOPE}
    known: dict[str, dict[str, Any]] = {name: {"rucio_cfg": str(cfg)} for name, cfg in cfgs.items()}
    token = full_lake.folder / "ended-token"
    token.touch(0o600)
    token.write_text(full_lake.issuer.token(seconds=-5))
    proxy = full_lake.authority.proxy(full_lake.users["alice"])
    known["certificate"]["storage"] = {"token_file": str(token), "proxy": str(proxy)}
    return full_lake.config("test", **known, page=page)


@pytest.fixture(scope="package")
def lab(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    """A JupyterLab for the test lake."""
    with JupyterLab(tmp_path_factory.mktemp("lab"), {"RUCIO_LAB_CONFIG": str(config)}) as lab:
        yield lab


class Watched:
    """A browser context that records alerts, errors, and requests to other machines."""

    def __init__(self, browser: Browser) -> None:
        self.wrong: list[str] = []
        # the browser does not know the CA of Rucio's certificate
        self.context = browser.new_context(viewport={"width": 1100, "height": 720}, ignore_https_errors=True)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.context.set_default_timeout(WAIT_MS)
        self.context.tracing.start(snapshots=True)

    def new_page(self) -> Page:
        page = self.context.new_page()
        page.on("dialog", lambda dialog: self.wrong.append(f"alert: {dialog.message}"))
        page.on("pageerror", lambda error: _is_notebooks(error) or self.wrong.append(f"error: {error}"))
        page.on("request", lambda sent: _is_local(sent.url) or self.wrong.append(f"request to {sent.url}"))
        return page

    @contextmanager
    def traced(self, item: pytest.Item) -> Iterator[None]:
        """Record a trace, and keep it if the test fails."""
        self.context.tracing.start_chunk()
        yield
        failed = item.stash.get(_FAILED, False) or self.wrong
        self.context.tracing.stop_chunk(path=_TRACES / f"{item.name}.zip" if failed else None)
        wrong, self.wrong = self.wrong, []
        assert wrong == []


def _is_notebooks(error: Error) -> bool:
    """Whether an error comes from Notebook itself: 7.6 has one at each start, even without extensions."""
    return "/static/notebook/" in (error.stack or "") and "rucio-lab" not in (error.stack or "")


def _is_local(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob") or parts.hostname == "127.0.0.1"


@pytest.fixture(scope="package")
def watched(browser: Browser) -> Iterator[Watched]:
    watched = Watched(browser)
    yield watched
    watched.context.close()


@pytest.fixture
def page(watched: Watched, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A new page."""
    with watched.traced(request.node):
        page = watched.new_page()
        yield page
        page.close()


@pytest.fixture(scope="package")
def shared(lab: JupyterLab, watched: Watched) -> Iterator[Sidebar]:
    """One page for most tests, because opening a page takes longer than many tests."""
    page = watched.new_page()
    yield Sidebar(page, lab)
    page.close()


@pytest.fixture
def sidebar(
    shared: Sidebar, watched: Watched, full_lake: FullLake, request: pytest.FixtureRequest
) -> Iterator[Sidebar]:
    """The sidebar, signed in to ``test``; what a test breaks is repaired."""
    with watched.traced(request.node):
        shared.sign_in_directly()
        yield shared
        shared.page.unroute_all()
        full_lake.mend()
        shared.close_all()


@pytest.fixture
def here(sidebar: Sidebar) -> Sidebar:
    """The sidebar as on a first visit: signed out of all instances, without a search."""
    sidebar.reset()
    return sidebar


@pytest.fixture
def look(pytestconfig: pytest.Config) -> Look:
    """Check a state in both themes, and take screenshots if requested."""

    themes = ["Light", "Dark"]

    def look(sidebar: Sidebar, name: str) -> None:
        for theme in tuple(themes):
            sidebar.use_theme(theme)
            sidebar.check_accessibility()
            if pytestconfig.getoption("--screenshots", default=False):
                sidebar.draw(name, theme)
        themes.reverse()  # the next look starts with the current theme

    return look
