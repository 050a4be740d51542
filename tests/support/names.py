"""Names from a hostile Rucio, with anything that is special to Python, IPython, shells and terminals."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("RUCIO_LAB_TEST_EXAMPLES", "0"))

alike = settings(
    derandomize=not EXAMPLES,
    max_examples=EXAMPLES or 100,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
"""The same examples in each run, or as many random ones as RUCIO_LAB_TEST_EXAMPLES says."""

OSC = "\x1b]52;c;cm0gLXJmIC8=\x07\x1b]0;owned\x07\x1b[2J\x1b[31m"
"""Sets the clipboard and the title of a terminal, clears the screen and switches to red text."""

PIECES = (
    *("\n!touch pwned #", "\u2028!touch pwned\u2028", "\x85!touch pwned\x85", "\r", "\x0b", "\x0c", "\x1c", "\u2029"),
    *("\x00", "\x1b[31m", "\x7f", "\x9b31m", "\u200b", "\u202e", "\u2066", "\ufeff", "\u3164", "\U000e0001", "\ud800"),
    *("'", '"', "'''", '"""', "\\", "\\\n", "#", "!x", "%x", "{x}", "$x", "?", "??", "`id`", ";", "(", "[", " "),
    *(" --to /tmp", " --instance evil", "-", "=", "*", "a", "Ünïcödé-粒子", "; import os"),
)

names = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), min_size=1, max_size=6).map("".join)
