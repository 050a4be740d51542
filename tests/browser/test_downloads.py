"""Background downloads in the sidebar."""

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
"""Bytes per second, so that a file of 80 kB takes 10 s."""


def jobs(sidebar: Sidebar) -> Locator:
    """Return the visible downloads."""
    return sidebar.root.locator(".jp-RucioLab-jobs:visible li")


def title(sidebar: Sidebar) -> Locator:
    """Return the title of the section for downloads."""
    return sidebar.root.locator(".jp-AccordionPanel-title", has_text="Downloads")


@pytest.fixture
def loader(sidebar: Sidebar, lab: JupyterLab) -> Iterator[Sidebar]:
    """The sidebar; all downloads are removed at the end."""
    yield sidebar
    lab.forget_downloads()
    expect(jobs(sidebar)).to_have_count(0)


def download(sidebar: Sidebar, name: str) -> None:
    """Double-click the button."""
    sidebar.search(name)
    sidebar.row(name).click()
    sidebar.root.get_by_role("button", name="Download", exact=True).dblclick()


def press(sidebar: Sidebar, button: str) -> None:
    """Press a button of the only job, with the keyboard."""
    jobs(sidebar).get_by_role("button", name=button).press("Enter")


def test_download_in_two_tabs_and_attach(loader: Sidebar, page: Page, lab: JupyterLab, look: Look) -> None:
    other = Sidebar(page, lab)
    title(other).click()
    expect(other.root).to_contain_text("No downloads.")
    download(loader, "GamGam.MC")
    for sidebar in (loader, other):
        expect(jobs(sidebar)).to_contain_text("Downloaded to", timeout=JOB_MS)
        expect(jobs(sidebar)).to_have_count(1)
        expect(jobs(sidebar)).to_contain_text("6 files, 2.26 MB")
    loader.page.bring_to_front()
    expect(jobs(loader).get_by_role("button", name="Log")).to_be_in_viewport()  # the section has grown
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


def test_a_slow_download_is_cancelled_and_retried(loader: Sidebar, full_lake: FullLake, look: Look) -> None:
    full_lake.faulty["http"].far(0.01, SLOW)
    download(loader, "faulty.http")
    expect(jobs(loader)).to_contain_text("/s · ", timeout=JOB_MS)
    full_lake.faulty["http"].silent()  # or it could finish before all checks
    expect(jobs(loader)).to_contain_text("left")
    expect(jobs(loader).get_by_role("progressbar")).to_be_visible()
    expect(title(loader)).to_have_text("Downloads (1)")
    look(loader, "downloading")
    press(loader, "Cancel")
    expect(jobs(loader)).to_contain_text("Cancelled; what was downloaded is kept.")
    expect(jobs(loader).get_by_role("progressbar")).to_be_hidden()
    press(loader, "Log")
    expect(loader.dialog).to_contain_text("It was cancelled")
    loader.dialog.get_by_role("button", name="Close").click()
    expect(loader.dialog).to_have_count(0)  # until then it gets the keys
    full_lake.faulty["http"].forward()
    press(loader, "Try again")
    expect(jobs(loader)).to_contain_text("Downloaded to", timeout=JOB_MS)


def test_failed_files_are_counted_and_reported(loader: Sidebar, look: Look) -> None:
    download(loader, "partly")
    expect(jobs(loader)).to_contain_text("failed. Why:", timeout=JOB_MS)
    expect(jobs(loader)).to_contain_text("1 of 2 files · 82.6 kB of 82.6 kB · 1 failed")
    look(loader, "download-failed")


def test_a_job_waits_for_a_sign_in_and_continues(
    loader: Sidebar, full_lake: FullLake, lab: JupyterLab, look: Look
) -> None:
    full_lake.faulty["http"].refuse()  # so that it asks Rucio for other replicas
    download(loader, "faulty.http")
    expect(jobs(loader)).to_have_count(1)
    lab.request("DELETE", "rucio-lab/session?instance=test")
    loader.run("rucio-lab:refresh")
    expect(loader.root.get_by_label("Password")).to_be_visible()
    expect(jobs(loader)).to_contain_text("Waiting for you to sign in to test.", timeout=JOB_MS)
    look(loader, "download-waiting")
    full_lake.faulty["http"].forward()
    loader.sign_in("alice-pass")
    expect(loader.root.get_by_label("Password")).to_have_count(0)  # until then both lists of jobs can be visible
    expect(jobs(loader)).to_contain_text("Downloaded to", timeout=JOB_MS)


def test_a_lost_server_is_reported_next_to_the_button(loader: Sidebar) -> None:
    loader.page.route("**/rucio-lab/jobs?instance=*", lambda route: route.abort())
    download(loader, "web")
    expect(loader.alert).to_contain_text("The Jupyter server does not answer.")
    expect(jobs(loader)).to_have_count(0)
    loader.page.unroute_all()
    loader.root.get_by_role("button", name="Download", exact=True).click()
    expect(jobs(loader)).to_contain_text("Downloaded to", timeout=JOB_MS)
    expect(loader.alert).to_have_count(0)
