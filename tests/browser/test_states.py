"""Each state of the sidebar has a message, is accessible in both themes, and has a screenshot for the documentation."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Position, Route, expect

from tests.browser.conftest import Look
from tests.lake.lake import FullLake
from tests.support.lab import JupyterLab
from tests.support.sidebar import Sidebar

MOST_NODES = 600


def test_the_states_of_a_lake(here: Sidebar, look: Look) -> None:
    expect(here.root.get_by_text("You are signed out of test.")).to_be_visible()
    look(here, "signed-out")
    here.sign_in("alice-pass")
    expect(here.root.get_by_text("Choose a scope to search in.")).to_be_visible()
    here.scope.fill("opendata13TeV")
    expect(here.root.get_by_role("button", name="Show everything in this scope")).to_be_visible()
    look(here, "no-pattern")
    here.text.press_sequentially("no such thing")  # without Enter
    expect(here.root.get_by_text("Nothing matches opendata13TeV:*no such thing*.")).to_be_visible()
    look(here, "empty")
    here.search("x", "no.such.scope")
    expect(here.alert).to_contain_text("has no scope")
    look(here, "error")
    here.search("GamGam")
    here.row("GamGam").click()
    here.page.keyboard.press("ArrowRight")
    here.page.keyboard.press("ArrowDown")
    expect(here.root.get_by_role("rowheader", name="CERN-EOS")).to_be_visible()
    expect(here.root.get_by_role("heading", name="Metadata")).to_be_visible()
    look(here, "found")


def test_a_slow_lake_and_an_unreachable_one(sidebar: Sidebar, look: Look, full_lake: FullLake) -> None:
    sidebar.choose_instance("faulty")
    sidebar.search("GamGam")
    expect(sidebar.row("GamGam")).to_be_visible()
    sidebar.page.route("**/rucio-lab/dids*", lambda _: None)  # a real one might answer during the checks
    sidebar.text.fill("Gam")
    expect(sidebar.root.get_by_text("Waiting for faulty…")).to_be_visible()
    expect(sidebar.root.get_by_text("Still waiting for faulty…")).to_be_visible()
    look(sidebar, "slow")
    sidebar.root.get_by_role("button", name="Cancel").click()
    expect(sidebar.root.get_by_text("Cancelled.")).to_be_visible()
    sidebar.page.unroute_all()
    full_lake.faulty["rucio"].refuse()
    sidebar.root.get_by_role("button", name="Try again").click()
    expect(sidebar.alert).to_contain_text("faulty")
    full_lake.faulty["rucio"].forward()
    sidebar.root.get_by_role("button", name="Try again").click()
    expect(sidebar.row("GamGam")).to_be_visible()


def test_a_did_that_no_longer_exists(sidebar: Sidebar) -> None:
    def rename(route: Route) -> None:  # Rucio does not delete a DID this fast
        route.continue_(url=route.request.url.replace("GamGam.MC", "gone"))

    sidebar.page.route("**/rucio-lab/did?*", rename)
    sidebar.search("GamGam.MC")
    sidebar.row("GamGam.MC").click()
    expect(sidebar.alert).to_contain_text("has no DID opendata13TeV:gone")
    expect(sidebar.alert).to_contain_text("Check the scope and the name")
    expect(sidebar.alert).not_to_contain_text("%")


def test_a_sign_in_that_expires(here: Sidebar, look: Look, lab: JupyterLab) -> None:
    here.sign_in("alice-pass")
    here.search("GamGam")
    expect(here.row("GamGam")).to_be_visible()
    (token,) = (lab.data / "rucio-lab" / "tokens").iterdir()
    token.write_text(json.dumps({**json.loads(token.read_text()), "expires": time.time() + 3}))
    here.run("rucio-lab:refresh")
    expect(here.row("GamGam")).to_be_visible()
    expect(here.root.get_by_text("less than 1 min")).to_be_visible()
    expect(here.alert).to_contain_text("Your sign-in expired.")  # without any request
    expect(here.root.get_by_label("Password")).to_be_visible()
    look(here, "signed-out-meanwhile")
    here.sign_in("alice-pass")
    expect(here.row("GamGam")).to_be_visible()


def test_two_tabs(here: Sidebar, page: Page, lab: JupyterLab) -> None:
    other = Sidebar(page, lab)
    other.sign_in("alice-pass")
    other.search("GamGam")
    expect(other.row("GamGam")).to_be_visible()
    here.bring_to_front()
    expect(here.text).to_be_visible()
    here.search("Data")
    here.root.get_by_role("button", name="Sign out").click()
    expect(here.root.get_by_text("You are signed out of test.")).to_be_visible()
    other.text.fill("Data")
    expect(other.alert).to_contain_text(
        "You are not signed in to test. Sign in again to continue.", use_inner_text=True
    )
    here.sign_in("alice-pass")
    expect(here.row("GamGam.Data")).to_be_visible()
    other.bring_to_front()
    expect(other.row("GamGam.Data")).to_be_visible()
    here.root.get_by_role("button", name="Sign out").click()
    other.bring_to_front()
    expect(other.alert).to_contain_text("You were signed out elsewhere.")


def test_sign_in_without_a_password(here: Sidebar, look: Look) -> None:
    here.choose_instance("certificate")
    expect(here.root.get_by_text("signs in automatically")).to_be_visible()
    here.search("GamGam.MC")
    expect(here.row("GamGam.MC")).to_be_visible()
    expect(here.root.locator(".jp-RucioLab-account[title*=renewed]")).to_have_text("alice")
    here.choose_instance("proxy")
    expect(here.root.get_by_text("your X.509 proxy")).to_be_visible()
    assert here.root.locator("input").count() == 0
    here.root.get_by_role("button", name="Sign in").click()
    expect(here.alert).to_contain_text("cannot be read")
    expect(here.alert).to_contain_text("voms-proxy-init")
    look(here, "certificate-missing")


def test_the_choice_of_replicas(sidebar: Sidebar, look: Look) -> None:
    asked: list[str] = []
    sidebar.page.on("request", lambda sent: asked.append(sent.url) if "/resolve?" in sent.url else None)
    sidebar.search("GamGam")
    sidebar.row("GamGam").click()
    why = sidebar.root.locator("summary", has_text="Which replicas are read")
    expect(sidebar.root.get_by_role("rowheader", name="CERN-EOS")).to_be_visible()
    assert not asked
    why.press("Enter")
    parts = sidebar.root.locator(".jp-RucioLab-choice")
    expect(parts.get_by_role("heading", name="Taken")).to_be_visible()
    expect(parts.get_by_role("listitem").first).to_contain_text("CERN-EOS")
    expect(parts.get_by_role("listitem").first).to_contain_text("root://127.0.0.1:")
    results = sidebar.root.locator(".jp-AccordionPanel-title", has_text="Results")
    beside = Position(x=60, y=16)  # the type selector is in the middle
    results.click(position=beside)  # makes room for the screenshot
    why.scroll_into_view_if_needed()
    look(sidebar, "replicas")
    results.click(position=beside)
    sidebar.search("partly")
    sidebar.row("partly").click()
    why.press("Enter")
    expect(parts.get_by_role("heading", name="Cannot be read")).to_be_visible()
    expect(parts).to_contain_text("on tape")


def test_the_credentials_for_storages(sidebar: Sidebar, look: Look) -> None:
    line = sidebar.root.locator("summary", has_text="Storage:")
    expect(line).to_have_text("Storage: no token, no proxy")
    sidebar.choose_instance("certificate")
    expect(line).to_have_text(re.compile(r"Storage: proxy 11 h \d+ min · 1 problem"))
    line.press("Enter")
    expect(sidebar.root.get_by_text("CN=Alice Analyst")).to_be_visible()
    expect(sidebar.root.get_by_text("no attributes")).to_be_visible()
    expect(sidebar.root.get_by_role("note")).to_contain_text("The storage token from")
    expect(sidebar.root.get_by_role("note")).to_contain_text("expired at")
    look(sidebar, "storage")
    line.press("Enter")
    # the sections again fill the sidebar down to the bottom
    sidebar.page.wait_for_function(
        "() => { const [last] = [...document.querySelectorAll('#rucio-lab .jp-AccordionPanel-title')].slice(-1);"
        "const side = last.closest('.lm-AccordionPanel').getBoundingClientRect();"
        "return Math.abs(last.getBoundingClientRect().bottom - side.bottom) < 5 && side.height > 300 }"
    )


def test_ten_thousand_rows(sidebar: Sidebar, look: Look, bulk: str) -> None:
    page, type_ = sidebar.page, sidebar.root.get_by_label("Type", exact=True)
    type_.select_option("file")
    sidebar.search("*")
    expect(sidebar.root.get_by_text("The first 10,000. There are more: narrow the search")).to_be_visible()
    sidebar.search("bulk")
    expect(sidebar.root.get_by_text("10,000 found")).to_be_visible()
    for part in range(1, 31):
        page.evaluate(
            "part => { const t = document.querySelector('[role=tree]'); t.scrollTop = t.scrollHeight * part / 30 }",
            part,
        )
        page.wait_for_timeout(30)
    assert page.locator("#rucio-lab *").count() < MOST_NODES
    sidebar.rows.last.click()
    page.keyboard.press("Home")
    expect(sidebar.rows.first).to_be_focused()
    page.keyboard.press("End")
    expect(sidebar.row(f"{bulk}._009999.root")).to_be_focused()
    look(sidebar, "ten-thousand")
    type_.select_option("collection")


@pytest.fixture
def unconfigured(config: Path) -> Iterator[None]:
    """No instance is configured during the test."""
    known = config.read_text()
    config.write_text("")
    yield
    config.write_text(known)


def test_without_an_instance(sidebar: Sidebar, unconfigured: None, look: Look) -> None:
    sidebar.run("rucio-lab:refresh")
    expect(sidebar.root.get_by_text("No Rucio instance is configured.")).to_be_visible()
    expect(sidebar.root.get_by_text("rucio-lab demo")).to_be_visible()
    look(sidebar, "no-instance")


def test_without_the_server_extension(tmp_path: Path, page: Page, look: Look) -> None:
    with JupyterLab(tmp_path / "lab", {}, with_server=False) as lab:
        sidebar = Sidebar(page, lab)
        expect(sidebar.alert).to_contain_text("The server extension of rucio_lab does not answer.")
        look(sidebar, "no-server")


def test_with_a_server_extension_of_another_version(sidebar: Sidebar, look: Look) -> None:
    def answer(route: Route) -> None:  # a real one would need another release
        response = route.fetch()
        route.fulfill(response=response, json={**response.json(), "version": "99.0"})

    sidebar.page.route("**/rucio-lab/instances*", answer)
    sidebar.run("rucio-lab:refresh")
    expect(sidebar.alert).to_contain_text("its server extension is version 99.0")
    look(sidebar, "other-version")
