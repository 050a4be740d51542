"""The sidebar in a browser page: what tests do and look at."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import FloatRect, Locator, Page, expect

from tests.support.lab import ROOT, JupyterLab

_AXE = ROOT / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
_LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
_KERNEL_MS = 60_000


class Sidebar:
    """A page with JupyterLab and the sidebar open.

    Parameters
    ----------
    page
        A browser page.
    lab
        The JupyterLab to open.
    """

    def __init__(self, page: Page, lab: JupyterLab) -> None:
        self.page = page
        self._lab = lab
        self._open()
        self.root = page.locator("#rucio-lab")
        self.text = self.root.get_by_label("Name to search for")
        self.scope = self.root.get_by_label("Scope")
        self.rows = self.root.get_by_role("treeitem")
        self.alert = self.root.get_by_role("alert")
        self.dialog = page.locator(".jp-Dialog")

    def _open(self) -> None:
        self.page.goto(self._lab.url())
        self.page.locator(".jp-Launcher").wait_for()  # it takes the focus when it appears
        self.page.locator(".jp-SideBar [data-id='rucio-lab']").click()

    def reset(self) -> None:
        """Clear the search and sign out of all instances."""
        if self.text.input_value() or self.scope.input_value():
            self.search("", "")
        for instance in ("test", "faulty", "certificate", "page"):
            self._lab.request("DELETE", f"rucio-lab/session?instance={instance}")
        self.run("rucio-lab:refresh")
        self.root.get_by_label("Password").wait_for()

    def sign_in_directly(self) -> None:
        """Sign in to ``test`` without the form."""
        if self._lab.request("GET", "rucio-lab/session?instance=test")["state"] == "signed_out":
            given = {"username": "alice", "password": "alice-pass"}
            self._lab.request("POST", "rucio-lab/session?instance=test", given)
        self.run("rucio-lab:refresh")
        self.choose_instance("test")
        self.text.wait_for()

    def bring_to_front(self) -> None:
        """Make the tab visible again; a headless browser sends no such event itself."""
        self.page.bring_to_front()
        self.page.evaluate("() => { document.dispatchEvent(new Event('visibilitychange')) }")

    def run(self, command: str, arguments: dict[str, Any] | None = None) -> None:
        """Run a JupyterLab command and wait until it ends."""
        self.page.evaluate(
            "async ([id, args]) => { await window.jupyterapp.commands.execute(id, args ?? {}) }", [command, arguments]
        )

    def use_theme(self, theme: str) -> None:
        """Switch to the theme ``Light`` or ``Dark``."""
        self.run("apputils:change-theme", {"theme": f"JupyterLab {theme}"})
        self.page.wait_for_function("t => document.body.dataset.jpThemeLight === t", arg=str(theme == "Light").lower())
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")  # it covers the page for a moment

    def close_all(self) -> None:
        """Close all notebooks, dialogs and notifications without saving, and shut down the kernels."""
        if self.dialog.is_visible():
            self.page.keyboard.press("Escape")
        self.run("apputils:dismiss-notification")  # without an id, all of them
        self.page.evaluate(
            """async () => {
                const { shell, serviceManager } = window.jupyterapp;
                Array.from(shell.widgets('main')).forEach(widget => widget.dispose());
                await serviceManager.sessions.shutdownAll();
            }"""
        )

    # ---------------------------------------------------------------------------------------- the sidebar

    def choose_instance(self, name: str) -> None:
        self.root.get_by_label("Rucio instance").select_option(name)

    def sign_in(self, password: str) -> None:
        """Fill in and submit the form."""
        self.root.get_by_label("Password").fill(password)
        self.root.get_by_role("button", name="Sign in").click()

    def search(self, text: str, scope: str = "opendata13TeV") -> None:
        """Search; the earlier results disappear at once."""
        self.scope.fill(scope)
        self.scope.press("Enter")
        self.text.fill(text)
        self.text.press("Enter")

    def row(self, name: str) -> Locator:
        """Return the first row with a name."""
        whole = re.escape(name).replace(r"\ ", r"\s")  # a line break is shown as a space
        its = self.page.locator(".jp-RucioLab-name", has_text=re.compile(f"^{whole}$"))
        return self.rows.filter(has=its).first

    def ask_to_attach(self, name: str) -> Locator:
        """Open the attach dialog for a row, and return its field for the variable name."""
        self.row(name).click()
        self.page.keyboard.press("Shift+Enter")
        field = self.dialog.get_by_label("Variable")
        expect(field).to_be_focused(timeout=_KERNEL_MS)
        return field

    def attach(self, name: str, variable: str | None = None) -> None:
        """Attach the DID of a row, with the keyboard."""
        field = self.ask_to_attach(name)
        if variable is not None:
            field.fill(variable)
        self.page.keyboard.press("Enter")

    # ---------------------------------------------------------------------------------------- the notebook

    def new_notebook(self, kernel: str = "python3") -> None:
        """Open a notebook and wait until its kernel is idle."""
        self.run("notebook:create-new", {"kernelName": kernel})
        # not by the indicator in the toolbar, which can be early, and is hidden when there is no room
        idle = "() => window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
        self.page.wait_for_function(idle, timeout=_KERNEL_MS)

    @property
    def notebook(self) -> Locator:
        """The active notebook."""
        return self.page.locator(".jp-NotebookPanel:visible")

    @property
    def cells(self) -> Locator:
        return self.notebook.locator(".jp-Notebook .jp-Cell")

    def write_cell(self, code: str, *, run: bool = True) -> None:
        """Insert a cell below, and run it."""
        self.run("notebook:insert-cell-below")
        self.page.evaluate(
            """code => window.jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.setSource(code)""",
            code,
        )
        if run:
            self.page.evaluate("() => void window.jupyterapp.commands.execute('notebook:run-cell')")

    def sources(self) -> list[str]:
        """Return the source of each cell."""
        sources: list[str] = self.page.evaluate(
            """() => Array.from(window.jupyterapp.shell.currentWidget.content.model.cells)
                .map(cell => cell.sharedModel.getSource())"""
        )
        return sources

    def expect_output(self, text: str) -> None:
        """Wait until the last output in the notebook contains a text."""
        output = self.notebook.locator(".jp-OutputArea-output").last
        expect(output).to_contain_text(text, timeout=_KERNEL_MS)

    # ---------------------------------------------------------------------------------------- appearance

    def check_accessibility(self) -> None:
        """Check the sidebar, and an open dialog, with axe-core."""
        # JupyterLab's body has height 0, so axe would treat everything as hidden and not check the contrast
        self.page.add_style_tag(content="html, body { height: 100% }")
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(_AXE.read_text())
        seen = ["#rucio-lab", *([".jp-Dialog-content"] if self.dialog.is_visible() else [])]
        result = self.page.evaluate("([seen, levels]) => axe.run(seen, { runOnly: levels })", [seen, _LEVELS])
        checked = {rule["id"]: len(rule["nodes"]) for rule in result["passes"]}
        assert checked.get("color-contrast", 0) > 1, "axe found no text"
        found = [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in result["violations"]]
        assert found == [], found

    def draw(self, name: str, theme: str, *, wide: bool = False) -> None:
        """Write a screenshot of the sidebar or the whole page for the documentation."""
        path = ROOT / "docs" / "screenshots" / f"{name}-{theme.lower()}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.mouse.move(600, 5)
        box = self.root.bounding_box()
        assert box
        clip = None if wide else FloatRect(x=0, y=0, width=box["x"] + box["width"] + 2, height=700)
        self.page.screenshot(path=path, animations="disabled", caret="hide", clip=clip)


class NotebookSidebar(Sidebar):
    """The sidebar in Notebook 7, beside the notebook ``here.ipynb``."""

    def _open(self) -> None:
        self.page.goto(self._lab.url("notebooks/here.ipynb"))
        self.page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=_KERNEL_MS)
        for name in ("View", "Left Sidebar", "Show Rucio Data Lake"):
            self.page.locator(".lm-MenuBar-item, .lm-Menu-item").get_by_text(name, exact=True).click()
