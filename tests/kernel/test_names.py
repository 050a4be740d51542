"""The names that attach gives to its variable, and those that it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from rucio_lab import FileList
from rucio_lab.core.errors import BadRequest, ConfigurationError

Run = Callable[[str], Any]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("class", "a Python keyword"),
        ("None", "a Python keyword"),
        ("print", "a Python builtin"),
        ("__name__", "IPython's own"),
        ("In", "IPython's own"),
        ("get_ipython", "IPython's own"),
        ("exit", "IPython's own"),
        ("_", "IPython's own"),
        ("_12", "IPython's own"),
        ("_i3", "IPython's own"),
        ("_oh", "IPython's own"),
        ("1st", "not a Python name"),
        ("my-files", "not a Python name"),
        ("a.b", "not a Python name"),
        ("''", "not a Python name"),
    ],
)
def test_a_name_in_use_is_refused(run: Run, unconfigured: None, name: str, why: str) -> None:
    result = run(f"%rucio_attach s:n as {name}")
    assert isinstance(result.error, BadRequest)
    assert f"cannot be the variable: it is {why}." in result.text


@pytest.mark.parametrize("line", ["s:n as mine", "s:mine"])
def test_a_variable_that_attach_did_not_create_is_kept(
    run: Run, shell: InteractiveShell, unconfigured: None, line: str
) -> None:
    shell.user_ns["mine"] = [1, 2]
    result = run(f"%rucio_attach {line}")
    assert "There is already a variable mine (list), and attach did not create it." in result.text
    assert "del mine" in result.text
    assert shell.user_ns["mine"] == [1, 2]


def test_a_variable_that_attach_created_can_be_replaced(run: Run, shell: InteractiveShell, unconfigured: None) -> None:
    shell.user_ns["files"] = FileList()
    assert isinstance(run("%rucio_attach s:n as files").error, ConfigurationError)  # it got past the name


@pytest.mark.parametrize(
    ("dids", "name"),
    [
        (["s:GamGam.Data"], "GamGam_Data"),
        (["s:/a/b-c:d"], "a_b_c_d"),
        (["s:data_*"], "data"),
        (["s:2015.data"], "files_2015_data"),
        (["s:***"], "files"),
        (["s:list"], "list_files"),
        (["s:class"], "class_files"),
        (["s:In"], "In_files"),
        (["s:a", "s:b"], "files"),
    ],
)
def test_derives_a_name(dids: list[str], name: str) -> None:
    from rucio_lab.kernel.names import variable_name

    assert variable_name(None, dids, {}) == name


def test_a_name_is_normalised_as_python_does() -> None:
    from rucio_lab.kernel.names import variable_name

    assert variable_name("ﬁles", ["s:n"], {}) == "files"
