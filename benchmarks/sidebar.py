"""The cost of 10,000 rows in the sidebar, for Chromium and for a person who scrolls."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from benchmarks.table import Row
from tests.lake.lake import FullLake
from tests.support.lab import BUILT, JupyterLab
from tests.support.sidebar import Sidebar

_CHROMIUM = "/usr/bin/chromium"
_PATIENCE_MS = 60_000

# scrolls down like a mouse wheel, one step per frame; returns the number of tasks over 50 ms and the longest
_SCROLL = """async () => {
    const tree = document.querySelector('#rucio-lab [role=tree]');
    const tasks = [];
    const observer = new PerformanceObserver(list => tasks.push(...list.getEntries().map(each => each.duration)));
    observer.observe({ entryTypes: ['longtask'] });
    let frames = 0;
    for (const begin = performance.now(); performance.now() - begin < 5000; frames++) {
        tree.scrollTop += tree.scrollHeight / 300;
        await new Promise(requestAnimationFrame);
    }
    await new Promise(resolve => setTimeout(resolve, 200));
    return [tasks.length, Math.max(0, ...tasks), frames];
}"""


def measure(lake: FullLake, bulk: str) -> list[Row]:
    """Search for 10,000 files in the sidebar and scroll through them."""
    environment = {"RUCIO_LAB_CONFIG": os.environ["RUCIO_LAB_CONFIG"], "SSL_CERT_FILE": str(lake.authority.bundle)}
    with (
        tempfile.TemporaryDirectory() as folder,
        JupyterLab(Path(folder) / "lab", environment) as lab,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 720})
        rows = _scroll(page, Sidebar(page, lab), bulk)
        browser.close()
    return [*rows, _bundle()]


def _scroll(page: Page, sidebar: Sidebar, bulk: str) -> list[Row]:
    sidebar.root.get_by_label("Type", exact=True).select_option("file")
    sidebar.search("*", "hostile")  # warm up and sign in
    expect(sidebar.rows.first).to_be_visible(timeout=_PATIENCE_MS)
    begin = time.perf_counter()
    sidebar.search(f"{bulk}*")
    page.wait_for_function("() => document.querySelectorAll('#rucio-lab [role=treeitem]').length > 10", polling=20)
    first = time.perf_counter() - begin
    expect(sidebar.root.get_by_text("10,000 found")).to_be_visible(timeout=_PATIENCE_MS)
    whole = time.perf_counter() - begin
    tasks, longest, frames = page.evaluate(_SCROLL)
    nodes: Any = page.evaluate("() => document.querySelectorAll('#rucio-lab *').length")
    return [
        Row(
            "sidebar: 10,000 rows",
            f"first after {first:.2f} s, all after {whole:.2f} s",
            "includes 0.3 s wait after typing",
        ),
        Row("its DOM nodes with 10,000 rows", f"{nodes}", ""),
        Row("its tasks over 50 ms, scrolling 5 s", f"{tasks}, longest {longest:.0f} ms", f"{frames} frames"),
    ]


def _bundle() -> Row:
    size = sum(script.stat().st_size for script in (BUILT / "static").glob("*.js"))
    return Row("size of the sidebar", f"{size / 1000:.0f} kB", "aim: 150 kB")
