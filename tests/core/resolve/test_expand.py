"""Which files a request asks for: DIDs, patterns, limits, incomplete listings."""

from __future__ import annotations

from uuid import uuid4

import pytest

from rucio_lab.core.catalogue import pfns
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, LakeBroken, NotFound
from rucio_lab.core.model import Access, Request
from rucio_lab.core.resolve.resolution import resolve
from tests.lake.lake import FullLake
from tests.support.checks import assert_clear
from tests.support.middle import Answer, middle_of
from tests.support.resolving import SCOPE, Configure, attach, register


def test_a_container_of_containers() -> None:
    resolution = attach("GamGam")
    expected = {info.did: info for info in Lake(load_instances().get()).files(DID(SCOPE, "GamGam"))}
    assert [file.did for file in resolution.files] == sorted(expected)
    assert resolution.total == len(expected)
    assert resolution.request.instance == "test"
    for file in resolution.files:
        assert (file.bytes, file.adler32) == (expected[file.did].bytes, expected[file.did].adler32)
        assert file.replica.rse in ("CERN-EOS", "TRIUMF-DISK")
        assert file.url.startswith("root://127.0.0.1:")
        sample = file.did.name.split(".GamGam")[0]
        assert file.datasets == (DID(SCOPE, f"{sample}.GamGam"),)


def test_each_file_is_found_once_however_often_it_is_requested() -> None:
    whole = attach("GamGam")
    first = whole.files[0].did.name
    again = attach("GamGam", "data_A.GamGam", "GamGam", "GamGam.Data", first, "data_A.GamGam", first)
    assert [file.did for file in again.files] == [file.did for file in whole.files]
    assert again.files[0].datasets == (DID(SCOPE, "data_A.GamGam"),)
    assert again.shared == 0


def test_a_file_in_two_datasets_is_found_once_and_counted_as_shared() -> None:
    resolution = attach("shared", "data_A.GamGam")
    assert len(resolution.files) == len({file.did for file in resolution.files})
    assert resolution.shared == 1
    (both,) = [file for file in resolution.files if len(file.datasets) == 2]
    assert both.datasets == (DID(SCOPE, "shared"), DID(SCOPE, "data_A.GamGam"))


@pytest.mark.parametrize(
    ("names", "access", "questions", "chain"),
    [
        (("data_D.GamGam",), "auto", 2, 2),  # the DID, its replicas
        (("data_D.GamGam",), "lake", 2, 2),  # the DID, its files
        (("web._0001.root",), "auto", 2, 2),
        (("data_D.GamGam", "data_A.GamGam"), "auto", 4, 2),  # two DIDs; then their files and their replicas
        (("web._0001.root", "data_A.GamGam"), "auto", 4, 2),
        (("GamGam.Data",), "auto", 4, 3),  # the DID; its datasets and its replicas; the files of the datasets
        (("GamGam",), "auto", 6, 4),
        (("GamGam",), "lake", 5, 4),
        (("data_*.GamGam",), "auto", 7, 3),  # the search; four DIDs; their files and their replicas
    ],
)
def test_few_questions_wait_for_each_other(
    lake: FullLake, configure: Configure, names: tuple[str, ...], access: Access, questions: int, chain: int
) -> None:
    expected = attach(*names, access=access)
    with middle_of(lake) as middle:
        configure(url=middle.url, auth_url=lake.url, timeout=30.0)
        attach("closed")  # signs in
        middle.forget()
        middle.slow = 0.4
        assert attach(*names, access=access).files == expected.files
        assert len(middle.asked) == questions, middle.asked
        assert middle.chain == chain


def test_a_dataset_that_was_small_before_is_asked_about_at_once(
    lake: FullLake, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"growing.{uuid4().hex[:8]}"
    files = [f"{name}._{number}" for number in range(3)]
    register(lake, "WEB-DISK", dict.fromkeys(files, 1))
    dids = [{"scope": SCOPE, "name": file} for file in files]
    lake.rest("POST", "/dids", json=[{"scope": SCOPE, "name": name, "type": "DATASET", "dids": dids[:2]}])
    with middle_of(lake) as middle:
        configure(url=middle.url, auth_url=lake.url, timeout=30.0)
        first = attach(name)
        middle.forget()
        middle.slow = 0.4
        assert attach(name).files == first.files
        assert (len(middle.asked), middle.chain) == (2, 1)
        middle.slow = 0
        lake.rest("POST", f"/dids/{SCOPE}/{name}/dids", json={"dids": dids[2:]})
        assert [file.did.name for file in attach(name).files] == files
        with monkeypatch.context() as patch:
            patch.setattr(pfns, "MANY", 2)  # as if it had grown to many files
            assert [file.did.name for file in attach(name).files] == files
        lake.rest("DELETE", f"/dids/{SCOPE}/{name}/dids", json={"dids": dids})
        with pytest.raises(NotFound, match="is empty"):
            attach(name)


def test_an_incomplete_answer_about_replicas_is_completed(lake: FullLake, configure: Configure) -> None:
    """A file can be added to a dataset between the two questions, and a proxy can cut an answer short."""
    expected = [attach(*names).files for names in (("data_D.GamGam",), ("GamGam.Data",))]
    with middle_of(lake) as middle:
        configure(url=middle.url, auth_url=lake.url)

        def first_only(path: str, answer: Answer) -> Answer:
            if path.startswith("/replicas/list"):
                middle.change = lambda path, answer: answer
                return Answer(answer.status, answer.headers, answer.body.partition(b"\n")[0] + b"\n")
            return answer

        middle.change = first_only
        assert attach("data_D.GamGam").files == expected[0]
        middle.change = first_only
        assert attach("GamGam.Data").files == expected[1]


def test_a_file_by_itself() -> None:
    (file,) = attach("web._0001.root").files
    assert (file.did.name, file.datasets) == ("web._0001.root", ())


def test_patterns() -> None:
    assert [file.did for file in attach("GamGam*").files] == [file.did for file in attach("GamGam").files]
    of_data = attach("data_*.GamGam")
    assert {dataset.name for file in of_data.files for dataset in file.datasets} == {
        f"data_{period}.GamGam" for period in "ABCD"
    }
    assert of_data.open == (DID(SCOPE, "data_D.GamGam"),)
    assert [file.did.name for file in attach("partly._0001*").files] == ["partly._0001.root"]


def test_a_pattern_that_matches_nothing() -> None:
    with pytest.raises(NotFound, match=r"matches opendata13TeV:zz\*") as caught:
        attach("zz*")
    assert_clear(caught.value)


def test_a_dataset_that_matches_a_pattern_may_be_empty() -> None:
    resolution = attach("emp*", "web")
    assert [file.did.name for file in resolution.files] == ["web._0001.root"]
    assert resolution.notes == (f"{SCOPE}:empty is empty.",)


@pytest.mark.parametrize("limit", [1, 5, 10**6])
def test_limit(limit: int) -> None:
    whole = attach("GamGam")
    some = attach("GamGam", limit=limit)
    assert [file.did for file in some.files] == [file.did for file in whole.files][:limit]
    assert some.total == whole.total
    assert [file.datasets for file in some.files] == [file.datasets for file in whole.files][:limit]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request((), ""), "No DID"),
        (Request(("GamGam",), ""), "no colon"),
        (Request((f"{SCOPE}:GamGam", "x:"), ""), "name is empty"),
        (Request((f"{SCOPE}:GamGam",), "", limit=0), "limit of 0"),
        (Request((f"{SCOPE}:GamGam",), "", limit=-1), "limit of -1"),
        (Request((f"{SCOPE}:GamGam",), "", rse="NOPE"), "'NOPE'"),
        (Request((f"{SCOPE}:GamGam",), "", rse="(("), "'\\(\\('"),
    ],
)
def test_invalid_requests(request_: Request, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as caught:
        resolve(request_)
    assert_clear(caught.value)


@pytest.mark.parametrize(
    ("name", "scope", "words"),
    [
        ("nope", SCOPE, "has no DID opendata13TeV:nope"),
        ("GamGam", "opendata13", "no scope 'opendata13'"),
        ("empty", SCOPE, "opendata13TeV:empty is empty"),
    ],
)
def test_dids_without_files(name: str, scope: str, words: str) -> None:
    with pytest.raises(NotFound, match=words) as caught:
        attach(name, scope=scope)
    assert_clear(caught.value)


def test_an_empty_dataset_among_others() -> None:
    with pytest.raises(NotFound, match="empty is empty"):
        attach("empty", "web")
    resolution = attach("empty", "web", allow_missing=True)
    assert [file.did.name for file in resolution.files] == ["web._0001.root"]
    assert resolution.notes == (f"{SCOPE}:empty is empty.",)


def test_several_empty_datasets(lake: FullLake) -> None:
    name = f"hollow.{uuid4().hex[:8]}"
    lake.rest("POST", "/dids", json=[{"scope": SCOPE, "name": name, "type": "DATASET"}])
    with pytest.raises(NotFound, match=f"empty, {SCOPE}:{name} are empty: Rucio lists no files in them") as caught:
        attach("empty", name)
    assert_clear(caught.value)


def test_open_datasets_are_reported() -> None:
    assert attach("open", "web").open == (DID(SCOPE, "open"),)


def test_more_files_than_rucio_accepts_in_a_request(lake: FullLake) -> None:
    name = f"many.{uuid4().hex[:8]}"
    files = [f"{name}._{number:04d}.root" for number in range(1010)]
    register(lake, "WEB-DISK", {file: number + 1 for number, file in enumerate(files)})
    dids = [{"scope": SCOPE, "name": file} for file in files]
    lake.rest("POST", "/dids", json=[{"scope": SCOPE, "name": name, "type": "DATASET", "dids": dids}])
    resolution = attach(name, limit=1005)  # with a limit, files are looked up one by one
    assert [file.bytes for file in resolution.files] == list(range(1, 1006))
    assert resolution.total == 1010
    asked = Lake(load_instances().get())
    missing = [DID(SCOPE, f"nope.{number}") for number in range(1000)]
    assert len(list(asked.files_of([*missing, DID(SCOPE, name)]))) == 1010
    assert len(list(asked.replicas([*missing, DID(SCOPE, "web._0001.root")]))) == 1


def test_an_incomplete_listing_is_refused(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy can end an answer early without any sign; some of the files must not pass for all of them."""

    def cut(path: str, answer: Answer) -> Answer:
        body = answer.body.splitlines(keepends=True)[:-1] if "bulkfiles" in path else [answer.body]
        return Answer(answer.status, answer.headers, b"".join(body))

    with middle_of(lake) as middle:
        middle.change = cut
        config = lake.config(test={"url": middle.url, "auth_url": middle.url})
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(config))
        for name, access in (("GamGam.Data", "auto"), ("data_D.GamGam", "lake")):
            with pytest.raises(LakeBroken, match="arrived") as caught:
                resolve(Request((f"{SCOPE}:{name}",), "", access))
            assert_clear(caught.value)
