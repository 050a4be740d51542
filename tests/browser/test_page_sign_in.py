"""Sign-in at the page of a real identity provider, in a separate tab."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Look
from tests.lake.lake import FullLake
from tests.lake.provider import Provider, code_on
from tests.support.sidebar import Sidebar

BEGIN = "Sign in at the identity provider"


@pytest.fixture
def provider(full_lake: FullLake) -> Iterator[Provider]:
    yield full_lake.provider
    full_lake.provider.tokens_live(3600)


@pytest.fixture
def at_page(here: Sidebar, provider: Provider) -> Sidebar:
    """The sidebar with an instance that signs in at a page."""
    here.choose_instance("page")
    here.root.get_by_role("button", name=BEGIN).wait_for()
    return here


def open_page(sidebar: Sidebar, *, role: str = "button", name: str = BEGIN) -> Page:
    """Open the provider's page, with the keyboard."""
    with sidebar.page.context.expect_page() as opened:
        sidebar.root.get_by_role(role, name=name).press("Enter")  # type: ignore[arg-type]
    page = opened.value
    page.wait_for_url("**/oauth2/authorize*")
    return page


def sign_in_at(page: Page, subject: str = "alice") -> None:
    """Sign in as a subject, and wait for Rucio's last page."""
    page.locator("[name=sub]").first.fill(subject)
    page.locator("[name=sub]").first.press("Enter")
    page.wait_for_url("**/auth/oidc_*")


def test_sign_in_at_the_page(at_page: Sidebar, provider: Provider, look: Look) -> None:
    sidebar, host = at_page, provider.url.removeprefix("http://")
    look(sidebar, "page-sign-in")
    page = open_page(sidebar)
    assert page.evaluate("window.opener") is None
    expect(sidebar.root.get_by_text(f"Waiting for you to sign in at {host}")).to_be_visible()
    look(sidebar, "page-waiting")
    page.locator("button[value=deny]").click()  # by mistake; the same address works again
    page.close()
    page = open_page(sidebar, role="link", name="Open the page again")
    assert page.evaluate("window.opener") is None
    sign_in_at(page)
    expect(sidebar.root.locator(".jp-RucioLab-account")).to_have_text(re.compile(r"^alice$"))
    sidebar.search("GamGam.MC")
    expect(sidebar.row("GamGam.MC")).to_be_visible()
    assert page.url not in sidebar.page.content()
    page.close()
    sidebar.root.get_by_role("button", name="Sign out").press("Enter")
    expect(sidebar.root.get_by_text("You are signed out of page.")).to_be_visible()


def test_sign_in_with_a_code(at_page: Sidebar, look: Look) -> None:
    sidebar = at_page
    open_page(sidebar).close()
    page = open_page(sidebar, name="Enter a code instead")
    code = sidebar.root.get_by_label("Code")
    expect(code).to_be_visible()
    look(sidebar, "page-code")
    sign_in_at(page)
    its = code_on(page.content())
    code.fill("wrong")
    code.press("Enter")
    expect(sidebar.alert).to_contain_text("does not know this code")
    expect(code).to_have_value("")
    code.fill(f" {its} ")
    assert its not in sidebar.page.content()
    code.press("Enter")
    expect(sidebar.root.locator(".jp-RucioLab-account")).to_have_text("alice")
    page.close()


def test_sign_in_is_cancelled_or_fails(at_page: Sidebar, full_lake: FullLake, look: Look) -> None:
    sidebar = at_page
    open_page(sidebar).close()
    sidebar.page.reload()  # the server knows the waiting sign-in
    expect(sidebar.root.get_by_text("Waiting for you to sign in at")).to_be_visible()
    sidebar.root.get_by_role("button", name="Cancel").press("Enter")
    begin = sidebar.root.get_by_role("button", name=BEGIN)
    expect(begin).to_be_visible()
    full_lake.faulty["rucio"].refuse()
    with sidebar.page.context.expect_page() as opened:
        begin.press("Enter")
    expect(sidebar.alert).to_contain_text("page")
    assert opened.value.is_closed()
    look(sidebar, "page-failed")
    full_lake.faulty["rucio"].forward()
    open_page(sidebar).close()
    sidebar.root.get_by_role("button", name="Cancel").press("Enter")
    expect(begin).to_be_visible()
