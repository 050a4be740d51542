"""From sign-in to a plot in a real browser: search, attach, copy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Route, expect

from tests.lake.lake import FullLake
from tests.support.lab import JupyterLab
from tests.support.sidebar import Sidebar

PLOT = """
import uproot, awkward as ak, matplotlib.pyplot as plt
pt = uproot.concatenate(data.uproot("mini"), ["photon_pt"])["photon_pt"]
_ = plt.hist(ak.to_numpy(ak.flatten(pt)) / 1000)
"""


def test_from_sign_in_to_plot(here: Sidebar, pytestconfig: pytest.Config) -> None:
    here.sign_in("wrong")
    expect(here.alert).to_contain_text("Check the user name and password, and try again.")
    expect(here.root.get_by_label("Password")).to_have_value("")
    here.sign_in("alice-pass")
    expect(here.root.locator(".jp-RucioLab-account")).to_have_text(re.compile(r"alice · \d+ (min|h|days)"))
    here.search("GamGam")
    expect(here.row("GamGam")).to_be_visible()
    here.text.press("ArrowDown")  # with the keyboard from here on
    expect(here.row("GamGam")).to_be_focused()
    here.page.keyboard.press("ArrowRight")
    expect(here.row("GamGam")).to_have_attribute("aria-expanded", "true")
    expect(here.rows.nth(1)).to_have_attribute("aria-level", "2")
    expect(here.rows.nth(1)).to_contain_text("GamGam.Data")
    here.page.keyboard.press("ArrowDown")
    expect(here.rows.nth(1)).to_be_focused()
    expect(here.root.get_by_role("rowheader", name="CERN-EOS")).to_be_visible()
    here.page.keyboard.press("Shift+Enter")
    name = here.dialog.get_by_label("Variable")
    expect(name).to_have_value("GamGam_Data", timeout=60_000)
    name.fill("data")
    here.page.keyboard.press("Enter")
    here.expect_output("from CERN-EOS")
    assert here.sources() == ["%load_ext rucio_lab\n%rucio_attach opendata13TeV:GamGam.Data as data"]
    here.write_cell(PLOT)
    expect(here.notebook.locator(".jp-OutputArea-output img")).to_be_visible(timeout=60_000)
    if pytestconfig.getoption("--screenshots", default=False):
        for theme in ("Dark", "Light"):
            here.use_theme(theme)
            here.draw("attached", theme, wide=True)


def test_a_free_name_is_proposed_and_the_magics_are_loaded_once(sidebar: Sidebar) -> None:
    sidebar.search("GamGam.MC")
    sidebar.new_notebook()
    sidebar.attach("GamGam.MC", "print")
    expect(sidebar.dialog.get_by_text("This is a Python builtin.")).to_be_visible()
    field = sidebar.dialog.get_by_label("Variable")
    expect(field).to_be_focused()
    field.fill("GamGam_MC")
    sidebar.page.keyboard.press("Enter")
    sidebar.expect_output("GamGam_MC:")
    sidebar.ask_to_attach("GamGam.MC")
    expect(sidebar.dialog.get_by_text("This notebook already attaches it as GamGam_MC.")).to_be_visible()
    sidebar.page.keyboard.press("Enter")
    sidebar.expect_output("GamGam_MC_2:")
    assert sidebar.sources()[1:] == ["%rucio_attach opendata13TeV:GamGam.MC as GamGam_MC_2"]


def test_attach_after_a_restart_and_a_failed_cell(sidebar: Sidebar) -> None:
    sidebar.search("GamGam.MC")
    sidebar.new_notebook()
    sidebar.attach("GamGam.MC", "mc")
    sidebar.expect_output("mc:")
    sidebar.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    sidebar.write_cell("1/0")
    sidebar.expect_output("ZeroDivisionError")
    sidebar.attach("GamGam.MC", "mc2")
    sidebar.expect_output("mc2:")


@contextmanager
def busy_kernel(sidebar: Sidebar, lab: JupyterLab, then: str = "") -> Iterator[None]:
    """Keep the kernel busy until the end of the block, with a cell that ends with some code."""
    end = lab.notebooks / "end"
    end.unlink(missing_ok=True)
    sidebar.write_cell(f"import os, time\nwhile not os.path.exists('end'): time.sleep(0.05)\n{then}")
    expect(sidebar.notebook.locator("[data-status=busy]")).to_be_visible()
    yield
    end.touch()


def test_attach_with_a_busy_kernel(sidebar: Sidebar, lab: JupyterLab) -> None:
    sidebar.search("GamGam.MC")
    sidebar.new_notebook()
    with busy_kernel(sidebar, lab):
        sidebar.ask_to_attach("GamGam.MC")
        expect(sidebar.dialog.get_by_text("is busy")).to_be_visible()
        sidebar.page.keyboard.press("Enter")
        expect(sidebar.page.get_by_text("The kernel is busy: the cell for GamGam_MC")).to_be_visible()
    sidebar.expect_output("GamGam_MC:")


def test_a_cell_that_was_not_run_is_reported(sidebar: Sidebar, lab: JupyterLab) -> None:
    sidebar.search("GamGam.MC")
    sidebar.new_notebook()
    with busy_kernel(sidebar, lab, then="1/0"):
        sidebar.attach("GamGam.MC")
        expect(sidebar.page.get_by_text("The kernel is busy: the cell for GamGam_MC")).to_be_visible()
    expect(sidebar.page.get_by_text("was not run because an earlier cell failed")).to_be_visible()


def test_attach_with_a_kernel_without_the_package(sidebar: Sidebar, bulk: str) -> None:
    sidebar.search("GamGam.MC")
    sidebar.new_notebook("lacking")
    sidebar.attach("GamGam.MC", "mc")
    expect(sidebar.page.get_by_text("mc is a plain list")).to_be_visible()
    sidebar.write_cell("print(len(mc), '://' in mc[0])")
    sidebar.expect_output("6 True")
    assert re.match(r'mc = \[\n    "(root|https?)://', sidebar.sources()[0])
    sidebar.search("partly")
    sidebar.attach("partly")
    expect(sidebar.dialog).to_contain_text("1 of the 2 files of opendata13TeV:partly:")
    expect(sidebar.dialog).to_contain_text("on tape")
    sidebar.dialog.get_by_role("button", name="Use the other file").click()
    expect(sidebar.page.get_by_text("partly is a plain list")).to_be_visible()
    assert sidebar.sources()[-1].startswith("# 1 of 2 files cannot be read and is not in this list:\n#   ")
    # with SQLite, Rucio takes 25 s to count the replicas of so many files, and nobody can sign in meanwhile
    sidebar.page.route("**/rucio-lab/replicas*", lambda _: None)
    for name, words in (
        ("on.tape", "A replication rule can copy the files to a disk"),
        (bulk, "this has 10,000 files"),
    ):
        sidebar.search(name)
        sidebar.attach(name)
        expect(sidebar.dialog).to_contain_text(words)
        expect(sidebar.dialog).not_to_contain_text("--")
        sidebar.page.keyboard.press("Escape")
    assert len(sidebar.sources()) == 3


def test_attach_with_a_kernel_that_is_not_python(sidebar: Sidebar) -> None:
    sidebar.search("GamGam.MC")
    sidebar.new_notebook("foreign")
    sidebar.row("GamGam.MC").click()
    sidebar.page.keyboard.press("Shift+Enter")
    expect(sidebar.dialog).to_contain_text("is not a Python kernel")


def test_attach_to_a_notebook_that_is_closed_meanwhile(sidebar: Sidebar) -> None:
    close = "() => window.jupyterapp.shell.currentWidget.dispose()"
    sidebar.search("GamGam.MC")
    sidebar.run("notebook:create-new", {"kernelName": "late"})
    sidebar.row("GamGam.MC").click()
    sidebar.page.keyboard.press("Shift+Enter")
    expect(sidebar.page.get_by_text("Waiting for the kernel of the notebook to start…")).to_be_visible()
    sidebar.page.evaluate(close)  # while its kernel starts
    expect(sidebar.dialog).to_contain_text("was closed")
    sidebar.page.keyboard.press("Escape")
    sidebar.new_notebook()
    sidebar.ask_to_attach("GamGam.MC")
    sidebar.page.evaluate(close)  # while the dialog is open
    sidebar.page.keyboard.press("Enter")
    expect(sidebar.dialog).to_contain_text("was closed")
    sidebar.page.keyboard.press("Escape")
    sidebar.new_notebook()
    sidebar.write_cell("import time; time.sleep(60)")
    sidebar.attach("GamGam.MC")
    expect(sidebar.cells).to_have_count(3)
    sidebar.page.evaluate(close)  # while the cell waits, which must not raise a dialog
    expect(sidebar.dialog).not_to_be_visible()


def test_attach_to_a_read_only_notebook(sidebar: Sidebar) -> None:
    def guard(route: Route) -> None:  # tests may run as root, who can write to all files
        response = route.fetch()
        route.fulfill(response=response, json={**response.json(), "writable": False})

    sidebar.search("GamGam.MC")
    sidebar.page.route(re.compile(r"/api/contents/[^/]*\.ipynb\?"), guard)
    sidebar.new_notebook()
    sidebar.ask_to_attach("GamGam.MC")
    expect(sidebar.dialog).to_contain_text("This notebook cannot be saved")
    sidebar.page.keyboard.press("Enter")
    sidebar.expect_output("GamGam_MC:")
    sidebar.page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.model.readOnly = true }")
    sidebar.attach("GamGam.MC")
    expect(sidebar.dialog).to_contain_text("The notebook is read-only.")
    assert len(sidebar.sources()) == 1


def test_attach_with_a_chosen_access(sidebar: Sidebar, pytestconfig: pytest.Config) -> None:
    sidebar.search("GamGam.MC")
    sidebar.new_notebook()
    sidebar.ask_to_attach("GamGam.MC").fill("mc")
    sidebar.page.keyboard.press("Tab")
    access = sidebar.dialog.get_by_label("Access")
    expect(access).to_be_focused()
    expect(access.locator("option:checked")).to_have_text("auto (default)")
    expect(sidebar.dialog).to_contain_text("a path if the RSE is mounted")
    access.select_option("lake")
    expect(sidebar.dialog).to_contain_text("resolved when they are opened")
    for theme in ("Dark", "Light"):
        sidebar.use_theme(theme)
        sidebar.check_accessibility()
        if pytestconfig.getoption("--screenshots", default=False):
            sidebar.draw("access", theme, wide=True)
    sidebar.dialog.get_by_role("button", name="Attach").press("Enter")
    sidebar.expect_output("mc:")
    assert sidebar.sources()[0].endswith("as mc --access lake")
    sidebar.write_cell("print(mc[0])")
    sidebar.expect_output("rucio://test/")


def test_attach_from_an_instance_that_is_not_the_default(sidebar: Sidebar) -> None:
    sidebar.choose_instance("faulty")
    sidebar.scope.wait_for()
    sidebar.search("GamGam.MC")
    sidebar.new_notebook()
    sidebar.attach("GamGam.MC", "mc")
    sidebar.expect_output("mc:")
    assert sidebar.sources()[0].endswith("%rucio_attach opendata13TeV:GamGam.MC as mc --instance faulty")


def test_copy(sidebar: Sidebar, full_lake: FullLake) -> None:
    page = sidebar.page
    sidebar.search("GamGam.MC")
    sidebar.row("GamGam.MC").click()
    sidebar.root.get_by_role("button", name="Copy DID").click()
    page.wait_for_function("async () => await navigator.clipboard.readText() === 'opendata13TeV:GamGam.MC'")
    sidebar.row("GamGam.MC").click(button="right")
    page.get_by_role("menuitem", name="Copy as Python List").click()
    expect(page.get_by_text("Copied the addresses of")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith('[\n    "root://')
    sidebar.search("partly")
    sidebar.row("partly").click()
    sidebar.root.get_by_role("button", name="Copy list").click()
    expect(page.get_by_text(re.compile("Copied the addresses of 1 of 2 files.*on tape"))).to_be_visible()
    listed = page.evaluate("navigator.clipboard.readText()")
    assert listed.startswith("# 1 of 2 files cannot be read")
    sidebar.choose_instance("faulty")
    sidebar.search("GamGam.MC")
    sidebar.row("GamGam.MC").click()
    expect(sidebar.root.get_by_role("rowheader", name="CERN-EOS")).to_be_visible()
    full_lake.faulty["rucio"].silent()
    sidebar.root.get_by_role("button", name="Copy list").click()
    waiting = page.locator(".Toastify__toast", has_text="Getting the addresses")
    waiting.get_by_role("button", name="Cancel").click()
    expect(waiting).not_to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == listed


def test_names_are_never_run_as_code(sidebar: Sidebar) -> None:
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
    sidebar.row(r"line\nbreak").click()
    sidebar.page.keyboard.press("Shift+Enter")
    expect(sidebar.dialog).to_contain_text(r"The name hostile:line\nbreak cannot be written in a cell.")


def test_hidden_characters_are_shown_and_never_run_as_code(sidebar: Sidebar, unseen: str) -> None:
    sidebar.search("unseen", "hostile")
    sidebar.row("unseen").click()
    sidebar.page.keyboard.press("ArrowRight")
    for name in (r"mirror\u202etoor.ataD", r"clip\x1b]52;c;cm0gLXJmIC8=\x07.root"):
        expect(sidebar.row(name)).to_be_visible()
    sidebar.new_notebook("lacking")
    sidebar.attach("unseen", "files")
    expect(sidebar.dialog).to_contain_text(r"hostile:evil\u2028!x\u2028!touch pwned #")
    sidebar.dialog.get_by_role("button", name="Use the other 3 files").click()
    expect(sidebar.dialog).not_to_be_visible()
    expect(sidebar.notebook.locator(".jp-CodeCell").first).to_contain_text("files = [")
    seen = r"sum('\u202e' in url or '%E2%80%AE' in url for url in files)"
    sidebar.write_cell(f"import os; print(len(files), {seen}, os.path.exists('pwned'))")
    sidebar.expect_output("3 1 False")
    assert len(sidebar.sources()[0].splitlines()) == 7
    sidebar.row(r"mirror\u202etoor.ataD").click()
    sidebar.page.keyboard.press("Shift+Enter")
    expect(sidebar.dialog).to_contain_text(r"The name hostile:mirror\u202etoor.ataD cannot be written in a cell.")
    sidebar.page.keyboard.press("Escape")
    sidebar.root.get_by_role("button", name="Copy DID").click()
    assert sidebar.page.evaluate("navigator.clipboard.readText()") == r"hostile:mirror\u202etoor.ataD"
