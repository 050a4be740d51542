"""The variable: a list of strings that knows its way back to Rucio."""

from __future__ import annotations

import base64
import copy
import functools
import json
import operator
import pickle
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import dask
import msgspec
import pytest
import yaml
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.formatters import DisplayFormatter

from rucio_lab.api.files import FileEntry, FileList
from rucio_lab.core.did import DID
from rucio_lab.core.model import LeftOut, Replica, Resolution, ResolvedFile
from rucio_lab.core.reasons import Cause, Reason
from tests.support.resolved import answer, file

SIGNED = "https://store.example/f.root?X-Amz-Signature=s3cr3t"


@pytest.fixture
def files() -> FileList:
    return FileList(answer(file("a.1", "a"), file("a.2", "a"), file("b.1", "b")))


def test_is_a_list_of_strings_that_know_their_file(files: FileList) -> None:
    assert isinstance(files, list)
    assert files == [
        "root://eos.example:1094//eos/a.1",
        "root://eos.example:1094//eos/a.2",
        "root://eos.example:1094//eos/b.1",
    ]
    entry = files[0]
    assert isinstance(entry, str)
    assert (entry.did, entry.dataset) == (DID("s", "a.1"), DID("s", "a"))
    assert (entry.rse, entry.scheme, entry.bytes, entry.adler32) == ("CERN-EOS", "root", 1_500_000, "0a1b2c3d")
    assert [replica.rse for replica in entry.replicas] == ["CERN-EOS", "TRIUMF"]
    assert {type(url) for url in files.urls} == {str}
    assert json.loads(json.dumps(files)) == files.urls
    assert files.bytes == 4_500_000


def test_splits_by_dataset() -> None:
    files = FileList(answer(file("a.1", "a"), file("ab.1", "a", "b"), file("b.1", "b"), file("lone")))
    groups = files.by_dataset()
    assert {did: [entry.did.name for entry in group] for did, group in groups.items()} == {
        "s:a": ["a.1", "ab.1"],
        "s:b": ["ab.1", "b.1"],
        "s:lone": ["lone"],
    }
    assert all(isinstance(group, FileList) for group in groups.values())


def test_gives_the_forms_of_uproot_and_coffea(files: FileList) -> None:
    assert files.uproot("mini") == dict.fromkeys(files.urls, "mini")
    assert files.fileset("mini")["s:b"] == {
        "files": {"root://eos.example:1094//eos/b.1": "mini"},
        "metadata": {"did": "s:b", "instance": "demo"},
    }
    assert {type(url) for about in files.fileset("mini").values() for url in about["files"]} == {str}


@pytest.mark.parametrize(
    "made",
    [
        lambda files: files[:],
        lambda files: files[1:],
        lambda files: files + files,
        lambda files: operator.add(list(files), files),
        lambda files: functools.reduce(operator.add, [files[:1], files[1:]], []),
        lambda files: files * 2,
        lambda files: 2 * files,
        lambda files: operator.imul(files, 2),
        lambda files: operator.iadd(files, files),
        lambda files: type(files)(iter(files)),
        lambda files: type(files)(files),
        lambda files: FileList(sorted(files)),
        lambda files: files[::-1][::-1],
        lambda files: files.copy(),
        copy.copy,
        copy.deepcopy,
        lambda files: pickle.loads(pickle.dumps(files)),
    ],
)
def test_keeps_its_type(files: FileList, made) -> None:
    result = made(files)
    assert type(result) is FileList
    assert {type(entry) for entry in result} == {FileEntry}
    assert result[-1].did == DID("s", "b.1")
    assert "root" in repr(result)


def test_copies_and_sums_know_what_was_missing_and_still_open() -> None:
    files = FileList(answer(file("a", "d"), missing={DID("s", "b"): "on tape"}, total=2, open=(DID("s", "d"),)))
    for same in (FileList(files), files * 2, operator.add([], files), operator.add(files, []), copy.deepcopy(files)):
        assert same.missing == {DID("s", "b"): "on tape"}
        assert "dataset still open" in repr(same)
    assert repr(files * 0) == repr(files[:0]) == "0 files"


_strings = st.lists(st.sampled_from(["a", "b", "root://x//y", ""]), max_size=4)
_numbers = st.integers(-5, 5)
_slices = st.slices(6)
_ACTIONS: dict[str, tuple[Callable[..., Any], tuple[st.SearchStrategy[Any], ...]]] = {
    "append": (lambda it, more: it.append(str(more)), (_strings,)),
    "extend": (lambda it, more: it.extend(more), (_strings,)),
    "insert": (lambda it, place, more: it.insert(place, str(more)), (_numbers, _strings)),
    "pop": (lambda it, place: it.pop(place), (_numbers,)),
    "remove": (lambda it, place: it.remove(it[place]), (_numbers,)),
    "index": (lambda it, place: it.index(it[place]), (_numbers,)),
    "count": (lambda it, place: it.count(it[place]), (_numbers,)),
    "get": (lambda it, place: it[place], (_numbers,)),
    "get a slice": (lambda it, some: it[some], (_slices,)),
    "set": (lambda it, place, more: it.__setitem__(place, str(more)), (_numbers, _strings)),
    "set a slice": (lambda it, some, more: it.__setitem__(some, more), (_slices, _strings)),
    "delete": (lambda it, place: it.__delitem__(place), (_numbers,)),
    "delete a slice": (lambda it, some: it.__delitem__(some), (_slices,)),
    "add": (lambda it, more: it + more, (_strings,)),
    "add to": (lambda it, more: more + it, (_strings,)),
    "add a tuple": (lambda it, more: it + tuple(more), (_strings,)),
    "add in place": (operator.iadd, (_strings,)),
    "multiply": (lambda it, times: it * times, (_numbers,)),
    "multiply to": (lambda it, times: times * it, (_numbers,)),
    "multiply by half": (lambda it: it * 0.5, ()),
    "multiply in place": (operator.imul, (st.integers(0, 2),)),
    "reverse": (lambda it: it.reverse(), ()),
    "reversed": (lambda it: list(reversed(it)), ()),
    "sort": (lambda it: it.sort(), ()),
    "sort by": (lambda it: it.sort(key=len, reverse=True), ()),
    "sorted": (sorted, ()),
    "copy": (lambda it: it.copy(), ()),
    "contains": (lambda it, more: more[:1] in it or "a" in it, (_strings,)),
    "compare": (lambda it, more: (it == more, it < more, it >= more, it != more), (_strings,)),
    "length": (len, ()),
    "clear": (lambda it: it.clear(), ()),
    "unpack": (lambda it: [*it], ()),
    "of its type": (lambda it: type(it)(iter(it)), ()),
    "pickle": (lambda it: pickle.loads(pickle.dumps(it)), ()),
    "deepcopy": (copy.deepcopy, ()),
}
"""What one can do to a list, and what it takes besides the list."""

_steps = st.one_of(*(st.tuples(st.just(name), *needs) for name, (_, needs) in _ACTIONS.items()))


def _outcome(act: Callable[..., Any], *given: Any) -> Any:
    try:
        return act(*given)
    except (IndexError, ValueError, TypeError) as error:
        return type(error)


@given(st.lists(_steps, max_size=12))
def test_behaves_as_a_plain_list(steps: list[tuple[Any, ...]]) -> None:
    ours = FileList(answer(file("a.1", "a"), file("b.1", "a", "b"), file("c.1")))
    plain = ours.urls
    for name, *needs in steps:
        mine, theirs = (_outcome(_ACTIONS[name][0], it, *needs) for it in (ours, plain))
        assert mine == theirs, name
        assert list(ours) == plain, name
        assert ours.urls == plain
        assert {type(url) for url in ours.urls} <= {str}
        repr(ours), ours.notes, ours.by_dataset()
        if type(theirs) is list and isinstance(mine, FileList):
            ours, plain = mine, list(theirs)


def test_dask_takes_it(files: FileList) -> None:
    def seen(given: FileList) -> tuple[type, list[str]]:
        return type(given), [type(item).__name__ for item in given]

    assert dask.delayed(seen)(files).compute(scheduler="sync") == (FileList, ["FileEntry"] * 3)
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster, Client(cluster) as client:
        assert client.gather(list(client.scatter(files))) == files.urls
        assert client.submit(len, files).result() == 3
        assert client.submit(lambda given: given[0].did, client.scatter([files])[0]).result() == DID("s", "a.1")


def test_what_is_meant_for_other_tools_is_plain(files: FileList) -> None:
    files.append("/tmp/mine.root")
    tree = FileList(answer(file("mini")))[0]  # a kind of str, as numpy's is
    for made in (files.urls, files.uproot(tree), files.fileset(tree), dict.fromkeys(files.by_dataset())):
        assert msgspec.json.decode(msgspec.json.encode(made)) == made
        assert json.loads(json.dumps(made)) == made
        assert yaml.safe_load(yaml.safe_dump(made)) == made


# Written before entries shared anything: a.1, b.1 and a string of the user's own.
_OLD = zlib.decompress(
    base64.b64decode(
        "eNqFkM9r1EAUx1PT7q4gLtjSQ+mheJAGabJrvbieSruFuroraT3KOpO8ZQLJTswkbS+CPexC4d36/P8E/xEnY5psBXFOM8P7/nif7+s/"
        "fj6yzMHNrAgiOY0Zd1kaubMoBkXYmWagcpkB3ZGwsHUuiywoH84NfaZ93GpUgZ5yExlCTNj24Wuhhc2grQYBLQjXQ0gkoUWO6I5vRRf4"
        "N8Jnf7mEUUhon5ydaD2u6Rp24PZpSTfaWc73cpYCqZF964wsB/iiDBBtfOKDkvElhKe6e50sNsUW2qzSm9caM/cFvfvya9vCTo/1+avg"
        "MCRtopuncRSwpnnneOiPD4aTc8K9TMp84HkglQvXLEljGPR7b16bH6/MEF20r9icRhZwsV85tC78s08fTgl3RJ6nShvkWVQks3uPSikO"
        "StXStHgPs3xSNPxqr8emzcXRxyHhdlWn5FF7ede1lR54yDUDpuRc82z55tbYv8WNY1aoEhu2J+OpCViQT5pvSXis19nQ1XZXofIVqOJ5"
        "g5eb3+UfvOLFfXfx8j8A+QqGWtT7JzX+gJpTVcSnXp6kXhLN9b46jWCp13B/A5AeETo="
    )
)


def test_reads_what_older_versions_pickled() -> None:
    files = pickle.loads(_OLD)
    assert repr(files).startswith("2 of 3 files") or "1 missing" in repr(files)
    first, second, own = files
    assert (first.did, first.dataset, first.bytes, first.adler32) == (
        DID("s", "a.1"),
        DID("s", "a"),
        1_500_000,
        "0a1b2c3d",
    )
    assert [replica.rse for replica in first.replicas] == ["CERN-EOS", "TRIUMF"]
    assert [left.reason for left in first.left_out] == ["it is on tape (a rule can bring a copy to disk)"]
    assert (second.left_out, type(own)) == ((), str)
    assert pickle.loads(pickle.dumps(files)) == files


def test_sorts_in_place(files: FileList) -> None:
    files.sort(reverse=True)
    assert type(files) is FileList
    assert [entry.did.name for entry in files] == ["b.1", "a.2", "a.1"]


def test_an_entry_pickles_to_a_plain_string(files: FileList) -> None:
    entry = pickle.loads(pickle.dumps(files[0]))
    assert type(entry) is str
    assert entry == files[0]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_of_an_entry_knows_its_file(files: FileList, copied: Callable[[Any], Any]) -> None:
    assert copied(files[0]).did == DID("s", "a.1")
    assert copied({"first": files[0], "rest": files[1:]})["first"].did == DID("s", "a.1")


def test_unpickles_without_rucio(files: FileList, tmp_path) -> None:
    (tmp_path / "files.pickle").write_bytes(pickle.dumps(files))
    code = (
        "import pickle, sys\n"
        "files = pickle.load(open('files.pickle', 'rb'))\n"
        "print(files[0].did, repr(files))\n"
        "print([name for name in ('rucio', 'requests', 'IPython', 'uproot') if name in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert output.splitlines() == ["s:a.1 3 files, 4.5 MB, from CERN-EOS over root", "[]"]


@pytest.mark.parametrize(
    ("resolution", "text"),
    [
        (answer(file("a")), "1 file, 1.5 MB, from CERN-EOS over root"),
        (answer(file("a", "d"), open=(DID("s", "d"),)), "1 file, 1.5 MB, from CERN-EOS over root, dataset still open"),
        (
            answer(file("a", "d"), open=(DID("s", "c"),)),
            "1 file, 1.5 MB, from CERN-EOS over root, container still open",
        ),
        (answer(file("a"), total=1234), "1 of 1,234 files, 1.5 MB, from CERN-EOS over root"),
        (
            answer(file("a"), total=2, missing={DID("s", "b"): "on tape"}),
            "1 file, 1.5 MB, from CERN-EOS over root, 1 missing",
        ),
        (answer(file("a", "d", "e"), shared=1), "1 file, 1.5 MB, from CERN-EOS over root, 1 in several datasets"),
        (answer(file("a", url="/mnt/eos/a", rse="LOCAL")), "1 file, 1.5 MB, from LOCAL mounted"),
        (
            answer(
                file("a"), file("b", rse="B"), file("c", rse="C", url="https://c/c"), file("d", rse="C", url="/mnt/d")
            ),
            "4 files, 6.0 MB, from C, CERN-EOS and 1 more over root and https and mounted",
        ),
        (answer(), "0 files"),
    ],
)
def test_says_in_one_line_what_it_is(resolution: Resolution, text: str) -> None:
    assert repr(FileList(resolution)) == text


def test_a_part_of_what_a_limit_cut_says_so_too() -> None:
    files = FileList(answer(file("a"), file("b"), total=1234))
    assert repr(files[:1]).startswith("1 of 1,234 files")


def test_ipython_shows_the_line_and_the_table(files: FileList) -> None:
    formats, _ = DisplayFormatter().format(files)
    assert formats["text/plain"] == "3 files, 4.5 MB, from CERN-EOS over root"
    assert formats["text/html"].count("<tr>") == 1 + 3


def test_table_has_twenty_rows_at_most() -> None:
    html = FileList(answer(*(file(f"f{i:03}", "d") for i in range(100))))._repr_html_()
    assert html.count("<tr>") == 1 + 20
    assert "and 80 more files" in html


def test_what_rucio_says_is_no_html_and_no_escape_sequence() -> None:
    nasty = "<img src=x onerror=alert(1)>\x1bc"
    left = (LeftOut(Replica(nasty, f"root://{nasty}/x"), Reason(Cause.NO_READER, (nasty,))),)
    files = FileList(
        answer(
            file(nasty, nasty, rse=nasty, left_out=left),
            missing={DID(nasty, nasty): nasty},
            total=2,
            notes=(nasty,),
            shared=1,
        )
    )
    for html in (files._repr_html_(), files.explain()._repr_html_()):
        assert "<img" not in html
        assert "&lt;img" in html
    for text in (repr(files), repr(files.explain()), *files.notes):
        assert "\x1b" not in text


def test_shows_no_signature_anywhere() -> None:
    files = FileList(
        answer(
            file("a", "d", url=SIGNED, left_out=(LeftOut(Replica("X", SIGNED), Reason(Cause.NO_READER, ("dead",))),))
        )
    )
    files.append("https://user:hunter2@other.example/f?token=s3cr3t")
    html, explained = files._repr_html_(), files.explain()
    for shown in (repr(files), html, repr(files[0]), repr(explained), explained._repr_html_()):
        assert "s3cr3t" not in shown
        assert "hunter2" not in shown
    assert files[0] == SIGNED


def test_strings_that_users_add_break_nothing(files: FileList) -> None:
    files.append("/tmp/mine.root")
    files.insert(0, "https://me.example/<b>.root")
    assert repr(files) == "3 files, 4.5 MB, from CERN-EOS over root, 2 of your own"
    assert "&lt;b&gt;" in files._repr_html_()
    assert len(files.urls) == 5
    assert pickle.loads(pickle.dumps(files)) == files
    assert len(files.by_dataset()) == 2
    assert "missing" not in repr(files.explain())


_names = st.sampled_from(["f.root", "a/f.root", "a b.root", "ü%41.root", "f.root?x=1", "\0", "x\0", "/", "f"])
_sums = st.sampled_from([None, "0a1b2c3d", "0A1B2C3D", "1b2c3d", "0" * 32, "0a 1b2c3", ""])


@st.composite
def _resolved(draw: st.DrawFn) -> ResolvedFile:
    name = draw(_names)
    ends = st.sampled_from([name, quote(name), f"4f/3a/{name}", f"4f/3a/{quote(name)}", f"{name}?sign=1", "elsewhere"])
    bases = st.sampled_from(
        ["root://eos.example:1094//eos/s/", "https://b.example/", "rucio://test/s/", "/mnt/", "", "x"]
    )

    def replica() -> Replica:
        url, pfn = (draw(bases) + draw(ends) for _ in range(2))
        return Replica(draw(st.sampled_from("AB")), url, draw(st.sampled_from([url, pfn, ""])), "lan", draw(_numbers))

    replicas = tuple(replica() for _ in range(draw(st.integers(1, 3))))
    left_out = tuple(LeftOut(replica(), Reason(Cause.ON_TAPE)) for _ in range(draw(st.integers(0, 2))))
    datasets = tuple(DID("s", each) for each in draw(st.sampled_from(["", "a", "ab"])))
    size = draw(st.sampled_from([0, 1, 2**63 - 1]))
    return ResolvedFile(DID("s", name), datasets, size, draw(_sums), replicas, left_out, draw(_sums))


@given(st.lists(_resolved(), max_size=5))
def test_gives_back_what_was_resolved(resolved: list[ResolvedFile]) -> None:
    files = FileList(answer(*resolved))
    for same in (files, pickle.loads(pickle.dumps(files))):
        assert [entry._file for entry in same] == resolved
        for entry, whole in zip(same, resolved, strict=True):
            assert (entry, entry.did, entry.bytes, entry.adler32) == (whole.url, whole.did, whole.bytes, whole.adler32)
            assert (entry.rse, entry.scheme) == (whole.replica.rse, whole.replica.scheme)


@pytest.mark.parametrize("lake", [False, True])
def test_a_hundred_thousand_entries_are_little_more_than_their_addresses(lake: bool) -> None:
    names = [f"data_2026.GamGam._{i:06}.root" for i in range(100_000)]
    resolved = answer(*(file(name, "d", url=f"rucio://test/s/{name}" if lake else "") for name in names))
    tracemalloc.start()
    files = FileList(resolved)
    ours, _ = tracemalloc.get_traced_memory()
    urls = files.urls
    plain = tracemalloc.get_traced_memory()[0] - ours
    tracemalloc.stop()
    assert len(urls) == len(files) == 100_000
    assert ours < 2.2 * plain
