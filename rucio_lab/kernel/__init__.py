"""The magics and their completion, in a Python kernel.

Every kernel of an environment loads this package, so loading it must cost next to nothing: the modules that do the work
are imported at first use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAGICS = ("rucio_attach", "rucio_download", "rucio_search", "rucio_ls", "rucio_login", "rucio_logout")


class LineMagic:
    """A line magic, imported when it is first run or its help is first shown."""

    def __init__(self, shell: Any, name: str) -> None:
        self._shell = shell
        self.__name__ = name

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        from rucio_lab.kernel import magics

        return magics.help_of(self.__name__)

    needs_local_scope = True  # asks IPython for the variables of a function that uses the magic

    def __call__(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Run the magic."""
        from rucio_lab.kernel import magics

        return magics.run(self._shell, self.__name__, line, local_ns)


def rucio_lab_matcher(context: Any) -> dict[str, Any]:
    """Complete the lines of our magics, in the form of IPython's matchers (version 2)."""
    line = context.text_until_cursor
    if "rucio_" not in line:
        return {"completions": []}
    from rucio_lab.kernel import completer

    return completer.matches(line)


def load_ipython_extension(ip: Any) -> None:
    """Register the magics and their completion with an interactive shell."""
    from IPython.core.completer import context_matcher
    from IPython.core.magic import no_var_expand

    for name in MAGICS:
        magic = no_var_expand(LineMagic(ip, name))  # or IPython would also fill in the {} and $ of a DID in quotes
        ip.register_magic_function(magic, "line", name)
    # Before all other matchers, to keep them from offering Python names and files for a DID.
    matcher = context_matcher(priority=1000)(rucio_lab_matcher)
    if matcher not in ip.Completer.custom_matchers:
        ip.Completer.custom_matchers.append(matcher)
