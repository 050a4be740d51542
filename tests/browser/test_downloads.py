"""Downloads that go on by themselves, as the page shows them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Look
from tests.lake.lake import FullLake
from tests.support.lab import JupyterLab
from tests.support.sidebar import Sidebar

JOB_MS = 60_000
SLOW = 8000
"""Bytes a second, so that a file of 80 kB takes a while."""


def jobs(sidebar: Sidebar) -> Locator:
    """The downloads that are shown."""
    return sidebar.root.locator(".jp-RucioLab-jobs:visible li")


def title(sidebar: Sidebar) -> Locator:
    """The title of their section."""
    return sidebar.root.locator(".jp-AccordionPanel-title", has_text="Downloads")


@pytest.fixture
def loader(sidebar: Sidebar, lab: JupyterLab) -> Iterator[Sidebar]:
    """The sidebar, in whose lab nothing is downloaded yet."""
    yield sidebar
    lab.forget_downloads()
    expect(jobs(sidebar)).to_have_count(0)


def download(sidebar: Sidebar, name: str) -> None:
    """Press the button twice."""
    sidebar.search(name)
    sidebar.row(name).click()
    sidebar.root.get_by_role("button", name="Download", exact=True).dblclick()


def press(sidebar: Sidebar, button: str) -> None:
    """Press a button of the one job, with the keyboard."""
    jobs(sidebar).get_by_role("button", name=button).press("Enter")


def test_download_in_two_tabs_and_attach(loader: Sidebar, page: Page, lab: JupyterLab, look: Look) -> None:
    other = Sidebar(page, lab)
    title(other).click()
    expect(other.root).to_contain_text("Nothing is downloaded.")
    download(loader, "GamGam.MC")
    for sidebar in (loader, other):
        expect(jobs(sidebar)).to_contain_text("All files are in", timeout=JOB_MS)
        expect(jobs(sidebar)).to_have_count(1)
        expect(jobs(sidebar)).to_contain_text("6 files, 2.26 MB")
    loader.page.bring_to_front()
    expect(jobs(loader).get_by_role("button", name="Log")).to_be_in_viewport()  # the section took some room
    expect(title(loader)).to_have_text("Downloads")
    look(loader, "downloaded")
    loader.new_notebook()
    press(loader, "Attach…")
    expect(loader.dialog.get_by_label("Variable")).to_be_focused(timeout=JOB_MS)
    loader.page.keyboard.press("Enter")
    loader.expect_output("GamGam_MC:")
    assert loader.sources()[0].endswith("%rucio_attach opendata13TeV:GamGam.MC as GamGam_MC --access download")
    press(loader, "Remove")
    for sidebar in (loader, other):
        expect(jobs(sidebar)).to_have_count(0)
        expect(title(sidebar)).to_have_attribute("aria-expanded", "false")


def test_a_slow_download_is_cancelled_and_started_again(loader: Sidebar, full_lake: FullLake, look: Look) -> None:
    full_lake.faulty["http"].far(0.01, SLOW)
    download(loader, "faulty.http")
    expect(jobs(loader)).to_contain_text("/s · ", timeout=JOB_MS)
    full_lake.faulty["http"].silent()  # or it could be through before all was looked at
    expect(jobs(loader)).to_contain_text("left")
    expect(jobs(loader).get_by_role("progressbar")).to_be_visible()
    expect(title(loader)).to_have_text("Downloads (1)")
    look(loader, "downloading")
    press(loader, "Cancel")
    expect(jobs(loader)).to_contain_text("Cancelled; what came is kept.")
    expect(jobs(loader).get_by_role("progressbar")).to_be_hidden()
    press(loader, "Log")
    expect(loader.dialog).to_contain_text("It was cancelled")
    loader.dialog.get_by_role("button", name="Close").click()
    expect(loader.dialog).to_have_count(0)  # until then, keys are its own
    full_lake.faulty["http"].forward()
    press(loader, "Try again")
    expect(jobs(loader)).to_contain_text("All files are in", timeout=JOB_MS)


def test_files_that_fail_are_counted_and_said(loader: Sidebar, look: Look) -> None:
    download(loader, "partly")
    expect(jobs(loader)).to_contain_text("failed. Why:", timeout=JOB_MS)
    expect(jobs(loader)).to_contain_text("1 of 2 files · 82.6 kB of 82.6 kB · 1 failed")
    look(loader, "download-failed")


def test_a_job_waits_for_a_sign_in_and_goes_on(
    loader: Sidebar, full_lake: FullLake, lab: JupyterLab, look: Look
) -> None:
    full_lake.faulty["http"].refuse()  # Rucio is asked again for what failed
    download(loader, "faulty.http")
    expect(jobs(loader)).to_have_count(1)
    lab.request("DELETE", "rucio-lab/session?instance=test")
    loader.run("rucio-lab:refresh")
    expect(loader.root.get_by_label("Password")).to_be_visible()
    expect(jobs(loader)).to_contain_text("Waits until you sign in to test.", timeout=JOB_MS)
    look(loader, "download-waiting")
    full_lake.faulty["http"].forward()
    loader.sign_in("alice-pass")
    expect(jobs(loader)).to_contain_text("All files are in", timeout=JOB_MS)


def test_a_server_that_is_gone_is_said_where_the_button_was_pressed(loader: Sidebar) -> None:
    loader.page.route("**/rucio-lab/jobs?instance=*", lambda route: route.abort())
    download(loader, "web")
    expect(loader.alert).to_contain_text("The Jupyter server does not answer.")
    expect(jobs(loader)).to_have_count(0)
    loader.page.unroute_all()
    loader.root.get_by_role("button", name="Download", exact=True).click()
    expect(jobs(loader)).to_contain_text("All files are in", timeout=JOB_MS)
    expect(loader.alert).to_have_count(0)
