"""Tab completion of the magics: DIDs, options and instances, within half a second or not at all."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from rucio_lab.core.did import DID
from rucio_lab.core.errors import RucioLabError
from rucio_lab.core.text import is_printable
from rucio_lab.kernel.parsers import PARSERS

DEADLINE = 0.35
"""How long a Tab waits for Rucio, in seconds."""

KEPT = 60.0
"""How long an answer is reused, in seconds. A failure is reused for a tenth of that, to not ask Rucio at every Tab."""

MOST_NAMES = 200
MOST_THREADS = 4
TIMEOUT = 5.0

_LINE = re.compile(r"^\s*(?:[\w, ]+=\s*)?%?(rucio_\w+)\s+(.*)$")
_BARE = re.compile(r"[\w@%+=:./*-]+")  # needs no quotes
_WORD = re.compile(r"""'[^']*(?:'|$)|"[^"]*(?:"|$)|\S+""")


class Answers:
    """A cache of Rucio's answers, filled by threads. If an answer is too late for one Tab, the next Tab has it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, ...], tuple[float, list[str]]] = {}
        self._asked: dict[tuple[str, ...], threading.Event] = {}

    def known(self, key: tuple[str, ...]) -> list[str] | None:
        """Give a cached answer; None if there is none."""
        with self._lock:
            until, answer = self._known.get(key, (0.0, []))
            return answer if until > time.monotonic() else None

    def get(self, key: tuple[str, ...], ask: Callable[[], list[str]]) -> list[str]:
        """Give an answer if it arrives in time, or else an empty list."""
        answer = self.known(key)
        if answer is not None:
            return answer
        with self._lock:
            done = self._asked.get(key)
            if done is None:
                if len(self._asked) >= MOST_THREADS:
                    return []
                done = self._asked[key] = threading.Event()
                threading.Thread(target=self._ask, args=(key, ask, done), daemon=True).start()
        done.wait(DEADLINE)
        return self.known(key) or []

    def _ask(self, key: tuple[str, ...], ask: Callable[[], list[str]], done: threading.Event) -> None:
        answer: list[str] = []
        kept = KEPT / 10
        try:
            answer = ask()
            kept = KEPT
        except RucioLabError:
            pass  # Tab is no place for an error; the magic itself will report it
        except Exception:  # noqa: BLE001, S110 - nor for the traceback of a thread
            pass
        finally:
            with self._lock:
                self._known[key] = (time.monotonic() + kept, answer)
                del self._asked[key]
            done.set()


def _split(line: str) -> tuple[str, str]:
    """Split a line into the name of one of our magics and the rest; two empty strings for any other line."""
    match = _LINE.match(line)
    return (match[1], match[2]) if match and match[1] in PARSERS else ("", "")


class Candidate(NamedTuple):
    """A possible completion."""

    text: str
    kind: str


class Completion:
    """Finds the completions for the line of a magic."""

    def __init__(self) -> None:
        self._answers = Answers()

    def __call__(self, line: str) -> tuple[str, list[Candidate]]:
        """Complete a line.

        Parameters
        ----------
        line
            The line of a magic, up to the cursor.

        Returns
        -------
        str
            The word before the cursor. A candidate replaces it.
        list of Candidate
            The possible completions.
        """
        magic, rest = _split(line)
        words = _WORD.findall(rest)
        word = words.pop() if words and rest.endswith(words[-1]) else ""
        words = [part for each in words for part in (each.split("=", 1) if each.startswith("--") else [each])]
        if word.startswith("--") and "=" in word:
            option, _, word = word.partition("=")
            words.append(option)
        return word, self._candidates(magic, words, word)

    def _candidates(self, magic: str, words: list[str], word: str) -> list[Candidate]:
        before = words[-1] if words else ""
        options = PARSERS[magic].options()
        if word.startswith("-"):
            return _fitting(options, word, "option")
        if before == "--instance" or magic in ("rucio_login", "rucio_logout"):
            return _fitting(self._answers.get(("instances",), _instances), word, "instance")
        if before in options and options[before].nargs != 0:
            return _fitting(options[before].choices or (), word, "value")
        if before == "as":
            return []
        instance = words[words.index("--instance") + 1] if "--instance" in words[:-1] else ""
        return self._dids(instance, word)

    def _dids(self, instance: str, word: str) -> list[Candidate]:
        quote = word[:1] if word[:1] in ("'", '"') else ""
        typed = word[len(quote) :]
        scope, colon, name = typed.partition(":")
        if not colon:
            scopes = self._answers.get((instance,), lambda: _scopes(instance))
            return _fitting(
                (f"{quote}{each}:" for each in scopes if _BARE.fullmatch(each) and _is_writable(each, "")),
                word,
                "scope",
            )
        if "*" in name:
            return []
        found = _fitting((f"{scope}:{each}" for each in self._names(instance, scope, name)), typed, "DID")
        return [Candidate(_quoted(did, quote), kind) for did, kind in found if _is_writable(did, quote)]

    def _names(self, instance: str, scope: str, name: str) -> list[str]:
        for end in range(len(name)):  # a complete answer for a shorter name includes the answer for this one
            known = self._answers.known((instance, scope, name[:end]))
            if known and len(known) < MOST_NAMES:
                return known
        return self._answers.get((instance, scope, name), lambda: _names(instance, scope, name))


def _fitting(texts: Iterable[str], word: str, kind: str) -> list[Candidate]:
    return [Candidate(text, kind) for text in texts if text.startswith(word)]


def _is_writable(did: str, quote: str) -> bool:
    """Whether a DID can be written as one word, in double quotes if the user has typed one."""
    return is_printable(did) and not did.startswith("-") and not (quote == '"' and re.search(r'["\\]', did))


def _quoted(did: str, quote: str) -> str:
    """Write a DID as one word of the magic's line. The line is split as a shell does."""
    if quote == '"':
        return f'"{did}"'
    if not quote and _BARE.fullmatch(did):
        return did
    return "'" + did.replace("'", """'"'"'""") + "'"


def _instances() -> list[str]:
    from rucio_lab.core.config.instances import load_instances

    return list(load_instances().names)


def _scopes(instance: str) -> list[str]:
    from rucio_lab.core.catalogue.lake import Lake
    from rucio_lab.core.config.instances import load_instances

    return Lake(load_instances().get(instance or None), sign_in=False, timeout=TIMEOUT).scopes()


def _names(instance: str, scope: str, name: str) -> list[str]:
    from rucio_lab.core.catalogue.lake import Lake
    from rucio_lab.core.config.instances import load_instances

    lake = Lake(load_instances().get(instance or None), sign_in=False, timeout=TIMEOUT)
    found = lake.search(DID(scope, f"{name}*"), type="all", limit=MOST_NAMES)
    return sorted(info.did.name for info in found)


class NothingElse(list[Any]):
    """A list that claims not to be empty, so that IPython asks no other matcher.

    Other matchers would offer Python names and files in the middle of a DID, and take seconds.
    """

    def __len__(self) -> int:
        return max(1, super().__len__())


_complete = Completion()


def matches(line: str) -> dict[str, Any]:
    """Complete a line in the form of IPython's matchers (version 2)."""
    from IPython.core.completer import SimpleCompletion

    if not _split(line)[0]:
        return {"completions": []}
    word, candidates = _complete(line)
    completions = NothingElse(SimpleCompletion(candidate.text, type=candidate.kind) for candidate in candidates)
    return {"completions": completions, "matched_fragment": word, "suppress": True, "ordered": True}
