"""Each state of the sidebar has its words, is accessible in both themes, and is drawn for the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.lab import JupyterLab
from tests.browser.sidebar import Sidebar
from tests.lake.lake import FullLake

Look = Callable[[Sidebar, str], None]

MOST_NODES = 600
MOST_TASKS = 3


@pytest.fixture
def here(signed_out: JupyterLab, page: Page) -> Sidebar:
    return Sidebar(page, signed_out)


@pytest.fixture
def look(pytestconfig: pytest.Config) -> Look:
    """Check a state in both themes, and draw it where that was asked for."""

    themes = ["Light", "Dark"]

    def look(sidebar: Sidebar, name: str) -> None:
        for theme in tuple(themes):
            sidebar.use_theme(theme)
            sidebar.check_accessibility()
            if pytestconfig.getoption("--screenshots", default=False):
                sidebar.draw(name, theme)
        themes.reverse()  # the next look begins where this one ended

    return look


def test_the_states_of_a_lake(here: Sidebar, look: Look, full_lake: FullLake) -> None:
    expect(here.root.get_by_text("You are signed out of test.")).to_be_visible()
    look(here, "signed-out")
    here.sign_in("alice-pass")
    here.scope.fill("opendata13TeV")
    expect(here.root.get_by_role("button", name="Show everything in it")).to_be_visible()
    look(here, "no-pattern")
    here.text.fill("no such thing")
    expect(here.root.get_by_text("Nothing fits opendata13TeV:*no such thing*.")).to_be_visible()
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


def test_a_lake_that_is_slow_or_gone(here: Sidebar, full_lake: FullLake) -> None:
    here.choose_instance("faulty")
    here.search("GamGam")
    expect(here.row("GamGam")).to_be_visible()
    full_lake.faulty["rucio"].silent()
    here.text.fill("Gam")
    expect(here.root.get_by_text("Asking faulty…")).to_be_visible()
    expect(here.root.get_by_text("Still asking faulty…")).to_be_visible()
    here.root.get_by_role("button", name="Cancel").click()
    expect(here.root.get_by_text("Cancelled.")).to_be_visible()
    full_lake.faulty["rucio"].refuse()
    here.root.get_by_role("button", name="Ask again").click()
    expect(here.alert).to_contain_text("faulty")
    full_lake.faulty["rucio"].forward()
    here.root.get_by_role("button", name="Try again").click()
    expect(here.row("GamGam")).to_be_visible()


def test_how_slow_looks(here: Sidebar, look: Look) -> None:
    here.sign_in("alice-pass")
    here.text.wait_for()
    here.page.route("**/rucio-lab/dids*", lambda _: None)  # a real one might answer while it is looked at
    here.search("GamGam")
    expect(here.root.get_by_text("Still asking test…")).to_be_visible()
    look(here, "slow")


def test_a_sign_in_that_runs_out(here: Sidebar, look: Look, signed_out: JupyterLab) -> None:
    here.sign_in("alice-pass")
    here.search("GamGam")
    expect(here.row("GamGam")).to_be_visible()
    signed_out.request("DELETE", "rucio-lab/session?instance=test")  # in another tab
    here.text.fill("Data")
    expect(here.alert).to_be_visible()
    expect(here.root.get_by_label("Password")).to_be_visible()
    look(here, "signed-out-meanwhile")
    here.sign_in("alice-pass")
    expect(here.row("GamGam.Data")).to_be_visible()
    here.root.get_by_role("button", name="Sign out").click()
    expect(here.root.get_by_text("You are signed out of test.")).to_be_visible()


def test_ten_thousand_rows(here: Sidebar, look: Look, bulk: str) -> None:
    here.sign_in("alice-pass")
    here.root.get_by_label("Type", exact=True).select_option("file")
    here.search("bulk")
    expect(here.root.get_by_text("10,000 found")).to_be_visible(timeout=60_000)
    page = here.page
    page.evaluate(
        """() => { window.tasks = 0; new PerformanceObserver(list => { window.tasks += list.getEntries().length })
            .observe({ entryTypes: ['longtask'] }) }"""
    )
    for part in range(1, 31):
        page.evaluate(
            "part => { const t = document.querySelector('[role=tree]'); t.scrollTop = t.scrollHeight * part / 30 }",
            part,
        )
        page.wait_for_timeout(30)
    assert page.locator("#rucio-lab *").count() < MOST_NODES
    assert page.evaluate("window.tasks") <= MOST_TASKS
    here.rows.last.click()
    page.keyboard.press("Home")
    expect(here.rows.first).to_be_focused()
    page.keyboard.press("End")
    expect(here.row(f"{bulk}._009999.root")).to_be_focused()
    look(here, "ten-thousand")


@pytest.fixture
def unconfigured(tmp_path: Path) -> Iterator[JupyterLab]:
    empty = tmp_path / "rucio_lab.toml"
    empty.touch()
    with JupyterLab(tmp_path / "lab", {"RUCIO_LAB_CONFIG": str(empty)}) as lab:
        yield lab


def test_without_an_instance(unconfigured: JupyterLab, page: Page, look: Look) -> None:
    sidebar = Sidebar(page, unconfigured)
    expect(sidebar.root.get_by_text("No Rucio instance is configured.")).to_be_visible()
    expect(sidebar.root.get_by_text("rucio-lab demo")).to_be_visible()
    look(sidebar, "no-instance")


def test_without_the_server_half(tmp_path: Path, page: Page, look: Look) -> None:
    with JupyterLab(tmp_path / "lab", {}, with_server=False) as lab:
        sidebar = Sidebar(page, lab)
        expect(sidebar.alert).to_contain_text("The server half of rucio_lab does not answer.")
        look(sidebar, "no-server")


def test_with_a_server_half_of_another_version(here: Sidebar, look: Look) -> None:
    def answer(route: Route) -> None:  # only a release later could be it for real
        response = route.fetch()
        route.fulfill(response=response, json={**response.json(), "version": "99.0"})

    here.page.route("**/rucio-lab/instances*", answer)
    here.run("rucio-lab:refresh")
    expect(here.alert).to_contain_text("its server half 99.0")
    look(here, "other-version")
