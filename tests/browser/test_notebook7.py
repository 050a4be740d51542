"""The sidebar in Notebook 7."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.lab import JupyterLab
from tests.support.sidebar import NotebookSidebar


@pytest.fixture
def notebook(config: Path, tmp_path: Path) -> Iterator[JupyterLab]:
    """A Notebook 7 for the test lake, with an empty notebook."""
    environment = {"RUCIO_LAB_CONFIG": str(config)}
    with JupyterLab(tmp_path / "notebook", environment, application="notebook") as notebook:
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        empty = {"cells": [], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
        (notebook.notebooks / "here.ipynb").write_text(json.dumps(empty))
        yield notebook


def test_from_sign_in_to_a_variable(notebook: JupyterLab, page: Page, pytestconfig: pytest.Config) -> None:
    sidebar = NotebookSidebar(page, notebook)
    sidebar.sign_in("alice-pass")
    sidebar.search("GamGam")
    sidebar.row("GamGam").click()
    page.keyboard.press("ArrowRight")
    expect(sidebar.rows.nth(1)).to_contain_text("GamGam.Data")
    page.keyboard.press("ArrowDown")
    expect(sidebar.root.get_by_role("rowheader", name="CERN-EOS")).to_be_visible()
    sidebar.attach("GamGam.MC", "mc")
    sidebar.expect_output("mc:")
    sidebar.check_accessibility()
    if pytestconfig.getoption("--screenshots", default=False):
        sidebar.draw("notebook", "Light", wide=True)
