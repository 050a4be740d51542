"""Tab completion of the magics, in kernels and in plain ipython."""

from __future__ import annotations

import time
from typing import Any

import pytest

import rucio_lab
from tests.lake.content import CMS_DATASET
from tests.lake.lake import FullLake

GAMGAM = "opendata13TeV:GamGam"


@pytest.mark.parametrize(
    ("code", "offers"),
    [
        ("%rucio_attach opend", ["%rucio_attach opendata13TeV:"]),
        (f"%rucio_attach {GAMGAM}.M", [f"%rucio_attach {GAMGAM}.MC"]),
        (f"%rucio_ls '{GAMGAM}.M", [f"%rucio_ls '{GAMGAM}.MC'"]),
        (f"x = 1\n%rucio_search --instance test {GAMGAM}.M", [f"x = 1\n%rucio_search --instance test {GAMGAM}.MC"]),
        ("%rucio_attach hostile:two", ["%rucio_attach 'hostile:two words'", "%rucio_attach 'hostile:two words.root'"]),
        (
            "%rucio_attach opendata13TeV:/DoublePhoton/Run2012B-",
            [f"%rucio_attach opendata13TeV:{CMS_DATASET}"],
        ),
    ],
)
def test_tab_completes_dids(lake: FullLake, start_kernel: Any, code: str, offers: list[str]) -> None:
    kernel = start_kernel()
    kernel.run("%load_ext rucio_lab\n%rucio_login")
    found = kernel.complete(code)
    for _ in range(20):  # on a busy machine the answer can be too late for the first Tab
        if found:
            break
        time.sleep(0.3)
        found = kernel.complete(code)
    assert found == offers


def test_tab_completes_dids_in_plain_ipython(lake: FullLake, shell: Any) -> None:
    rucio_lab.login()
    line = f"%rucio_attach {GAMGAM}.M"
    assert shell.complete(None, line, len(line)) == (f"{GAMGAM}.M", [f"{GAMGAM}.MC"])


def test_tab_puts_the_did_into_the_line_of_a_terminal(lake: FullLake, shell: Any) -> None:
    """By the adaptor through which plain ipython completes; a quote, a colon, dots and slashes are all in the word."""
    from IPython.terminal.ptutils import IPythonPTCompleter
    from prompt_toolkit.document import Document

    rucio_lab.login()
    completer = IPythonPTCompleter(shell.Completer)
    for line, result in (
        (f"%rucio_attach {GAMGAM}.M", f"%rucio_attach {GAMGAM}.MC"),
        ("%rucio_ls hostile:colon:", "%rucio_ls hostile:colon:inside"),
        ("%rucio_ls 'hostile:two w", "%rucio_ls 'hostile:two words'"),
        ("%rucio_ls opendata13TeV:/DoublePhoton/Run", f"%rucio_ls opendata13TeV:{CMS_DATASET}"),
    ):
        first = next(iter(completer.get_completions(Document(line, len(line)), None)))
        assert line[: len(line) + first.start_position] + first.text == result


def test_tab_never_signs_in(lake: FullLake, start_kernel: Any) -> None:
    kernel = start_kernel()
    kernel.run("%load_ext rucio_lab")
    assert kernel.complete("%rucio_attach opend") == []
    assert kernel.run("from rucio_lab.core.identity.signing_in import signed_in")
    assert kernel.run("from rucio_lab.core.config.instances import load_instances")
    assert kernel.run("print(signed_in(load_instances().get()))")[1] == "None\n"


def test_a_late_answer_is_there_for_the_next_tab(
    lake: FullLake, start_kernel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = lake.faulty["rucio"]
    url = f"https://localhost:{slow.port}"
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config("slow", slow={"url": url, "auth_url": url})))
    kernel = start_kernel()
    kernel.run("%load_ext rucio_lab\n%rucio_login")
    slow.delay(1)
    assert kernel.complete("%rucio_attach opend") == []
    time.sleep(5)
    assert kernel.complete("%rucio_attach opend") == ["%rucio_attach opendata13TeV:"]


def test_tab_gives_up_on_a_silent_rucio_in_time(start_kernel: Any, silent: Any) -> None:
    kernel = start_kernel()
    kernel.run("%load_ext rucio_lab")
    for code in ("%rucio_attach ", "%rucio_attach scope:", "%rucio_attach scope:", "x = 1\n%rucio_ls s"):
        start = time.monotonic()
        assert kernel.complete(code) == []
        assert time.monotonic() - start < 3  # Rucio itself would be waited for a minute


@pytest.mark.parametrize(
    ("code", "offers"),
    [
        ("%rucio_at", ["%rucio_attach"]),
        ("%rucio_attach --li", ["%rucio_attach --limit"]),
        ("%rucio_attach s:n --access s", ["%rucio_attach s:n --access stream"]),
        ("%rucio_attach s:n --access=m", ["%rucio_attach s:n --access=mount"]),
        ("%rucio_search s:n --type da", ["%rucio_search s:n --type dataset"]),
        ("%rucio_ls --instance ", ["%rucio_ls --instance silent"]),
        ("%rucio_login si", ["%rucio_login silent"]),
        ("%rucio_attach s:n as pri", []),
        ("%rucio_attach s:n --limit ", []),
    ],
)
def test_tab_completes_options_and_instances(start_kernel: Any, silent: Any, code: str, offers: list[str]) -> None:
    kernel = start_kernel()
    kernel.run("%load_ext rucio_lab\nimport rucio_lab.core.catalogue.lake")
    assert kernel.complete(code) == offers


def test_tab_elsewhere_is_unchanged(start_kernel: Any, silent: Any) -> None:
    kernel = start_kernel()
    kernel.run("%load_ext rucio_lab\nrucio_thing = 1")
    assert "rucio_thing" in kernel.complete("rucio_th")
    assert not silent.asked.is_set()
