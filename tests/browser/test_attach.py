"""The whole way in a real browser: sign in, search, open, attach, run, read."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watched
from tests.browser.lab import JupyterLab
from tests.browser.sidebar import Sidebar

PLOT = """
import uproot, awkward as ak, matplotlib.pyplot as plt
pt = uproot.concatenate(data.uproot("mini"), ["photon_pt"])["photon_pt"]
_ = plt.hist(ak.to_numpy(ak.flatten(pt)) / 1000)
"""


def test_from_sign_in_to_plot(signed_out: JupyterLab, page: Page, pytestconfig: pytest.Config) -> None:
    sidebar = Sidebar(page, signed_out)
    sidebar.sign_in("wrong")
    expect(sidebar.alert).to_be_visible()
    expect(sidebar.root.get_by_label("Password")).to_have_value("")
    sidebar.sign_in("alice-pass")
    expect(sidebar.root.locator(".jp-RucioLab-account")).to_have_text(re.compile(r"alice · \d+ (min|h|days)"))
    sidebar.search("GamGam")
    expect(sidebar.row("GamGam")).to_be_visible()
    sidebar.text.press("ArrowDown")  # from here on by keyboard
    expect(sidebar.row("GamGam")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(sidebar.row("GamGam")).to_have_attribute("aria-expanded", "true")
    expect(sidebar.rows.nth(1)).to_have_attribute("aria-level", "2")
    expect(sidebar.rows.nth(1)).to_contain_text("GamGam.Data")
    page.keyboard.press("ArrowDown")
    expect(sidebar.rows.nth(1)).to_be_focused()
    expect(sidebar.root.get_by_role("rowheader", name="CERN-EOS")).to_be_visible()
    page.keyboard.press("Shift+Enter")
    name = sidebar.dialog.get_by_label("Variable")
    expect(name).to_have_value("GamGam_Data", timeout=60_000)
    name.fill("data")
    page.keyboard.press("Enter")
    sidebar.expect_output("from CERN-EOS")
    assert sidebar.sources() == ["%load_ext rucio_lab\n%rucio_attach opendata13TeV:GamGam.Data as data"]
    sidebar.write_cell(PLOT)
    expect(sidebar.notebook.locator(".jp-OutputArea-output img")).to_be_visible(timeout=60_000)
    if pytestconfig.getoption("--screenshots", default=False):
        for theme in ("Dark", "Light"):
            sidebar.use_theme(theme)
            sidebar.draw("attached", theme, wide=True)


@pytest.fixture(scope="module")
def shared(lab: JupyterLab, watched: Watched) -> Iterator[Sidebar]:
    """One page for the tests that only attach."""
    page = watched.new_page()
    sidebar = Sidebar(page, lab)
    sidebar.text.wait_for()
    yield sidebar
    page.close()


@pytest.fixture
def sidebar(shared: Sidebar, watched: Watched, request: pytest.FixtureRequest) -> Iterator[Sidebar]:
    """The sidebar, signed in to ``test`` by the test above, with no notebook open."""
    with watched.traced(request.node):
        yield shared
        shared.close_all()


def test_no_name_is_taken_and_the_magics_are_loaded_once(sidebar: Sidebar) -> None:
    sidebar.search("GamGam.MC")
    sidebar.new_notebook()
    sidebar.attach("GamGam.MC")
    sidebar.expect_output("GamGam_MC:")
    sidebar.attach("GamGam.MC")
    sidebar.expect_output("GamGam_MC_2:")
    assert sidebar.sources()[1:] == ["%rucio_attach opendata13TeV:GamGam.MC as GamGam_MC_2"]


def test_a_bad_name_is_asked_again(sidebar: Sidebar) -> None:
    sidebar.search("GamGam.MC")
    sidebar.new_notebook()
    sidebar.attach("GamGam.MC", "print")
    expect(sidebar.dialog.get_by_text("This is a builtin of Python.")).to_be_visible()
    expect(sidebar.dialog.get_by_label("Variable")).to_be_focused()
    sidebar.dialog.get_by_label("Variable").fill("mc")
    sidebar.page.keyboard.press("Enter")
    sidebar.expect_output("mc:")


def test_after_a_restart_and_a_failed_cell(sidebar: Sidebar) -> None:
    sidebar.search("GamGam.MC")
    sidebar.new_notebook()
    sidebar.attach("GamGam.MC", "mc")
    sidebar.expect_output("mc:")
    sidebar.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    sidebar.write_cell("1/0")
    sidebar.expect_output("ZeroDivisionError")
    sidebar.attach("GamGam.MC", "mc2")
    sidebar.expect_output("mc2:")


def test_with_a_busy_kernel(sidebar: Sidebar) -> None:
    sidebar.search("GamGam.MC")
    sidebar.new_notebook()
    sidebar.write_cell("import time; time.sleep(3)")
    expect(sidebar.notebook.locator("[data-status=busy]")).to_be_visible()
    sidebar.ask_to_attach("GamGam.MC")
    expect(sidebar.dialog.get_by_text("is busy")).to_be_visible()
    sidebar.page.keyboard.press("Enter")
    expect(sidebar.page.get_by_text("The kernel is busy: the cell for GamGam_MC")).to_be_visible()
    sidebar.expect_output("GamGam_MC:")


def test_a_cell_that_was_dropped_is_told(sidebar: Sidebar) -> None:
    sidebar.search("GamGam.MC")
    sidebar.new_notebook()
    sidebar.write_cell("import time; time.sleep(2); 1/0")
    expect(sidebar.notebook.locator("[data-status=busy]")).to_be_visible()
    sidebar.attach("GamGam.MC")
    expect(sidebar.page.get_by_text("was not run, since one before it failed")).to_be_visible()


def test_with_a_kernel_that_lacks_the_package(sidebar: Sidebar) -> None:
    sidebar.search("GamGam.MC")
    sidebar.new_notebook("lacking")
    sidebar.attach("GamGam.MC", "mc")
    expect(sidebar.page.get_by_text("mc is a plain list")).to_be_visible()
    sidebar.write_cell("print(len(mc), mc[0].split('://')[0])")
    sidebar.expect_output("root")
    assert sidebar.sources()[0].startswith('mc = [\n    "root://')


def test_with_a_kernel_that_is_no_python(sidebar: Sidebar) -> None:
    sidebar.search("GamGam.MC")
    sidebar.new_notebook("foreign")
    sidebar.row("GamGam.MC").click()
    sidebar.page.keyboard.press("Shift+Enter")
    expect(sidebar.dialog).to_contain_text("does not speak Python")


def test_with_a_notebook_that_is_closed_meanwhile(sidebar: Sidebar) -> None:
    sidebar.search("GamGam.MC")
    sidebar.new_notebook()
    sidebar.ask_to_attach("GamGam.MC")
    sidebar.page.evaluate("() => window.jupyterapp.shell.currentWidget.dispose()")
    sidebar.page.keyboard.press("Enter")
    expect(sidebar.dialog).to_contain_text("was closed")


def test_with_an_instance_that_is_not_the_default(sidebar: Sidebar) -> None:
    sidebar.choose_instance("faulty")
    sidebar.scope.wait_for()
    sidebar.search("GamGam.MC")
    sidebar.new_notebook()
    sidebar.attach("GamGam.MC", "mc")
    sidebar.expect_output("mc:")
    assert sidebar.sources()[0].endswith("%rucio_attach opendata13TeV:GamGam.MC as mc --instance faulty")
    sidebar.choose_instance("test")


def test_copy(sidebar: Sidebar) -> None:
    sidebar.search("GamGam.MC")
    sidebar.row("GamGam.MC").click()
    sidebar.root.get_by_role("button", name="Copy DID").click()
    sidebar.page.wait_for_function("async () => await navigator.clipboard.readText() === 'opendata13TeV:GamGam.MC'")
    sidebar.row("GamGam.MC").click(button="right")
    sidebar.page.get_by_role("menuitem", name="Copy as Python List").click()
    expect(sidebar.page.get_by_text("Copied the addresses of")).to_be_visible()
    assert sidebar.page.evaluate("navigator.clipboard.readText()").startswith('[\n    "root://')


def test_names_are_text_and_never_code(sidebar: Sidebar) -> None:
    sidebar.search("*", "hostile")
    for name in ("<img src=x onerror=alert(1)>", "<script>alert(1)</script>"):
        expect(sidebar.row(name)).to_be_visible()
    sidebar.row("<script>alert(1)</script>").click()
    expect(sidebar.root.locator("h4")).to_have_text("hostile:<script>alert(1)</script>")
    sidebar.new_notebook()
    for name in ('it\'s"quoted"', "$HOME`id`$(id)", "');import(os)#"):
        sidebar.attach(name, "files")
        sidebar.expect_output("files: 1 file")
        sidebar.write_cell("del files")
    sidebar.row("line break").click()
    sidebar.page.keyboard.press("Shift+Enter")
    expect(sidebar.dialog).to_contain_text("control character")
