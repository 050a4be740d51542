"""Computed PFNs are those that Rucio gives, and if that is not certain, every file is looked up."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any
from uuid import uuid4

import pytest

from rucio_lab.core.catalogue import pfns
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.catalogue.replies import FileReplicas
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, FilesUnavailable
from rucio_lab.core.model import Request, Resolution
from rucio_lab.core.resolve.resolution import resolve
from tests.lake.content import CMS_DATASET, HOSTILE, HOSTILE_NAMES
from tests.lake.lake import FullLake, quoted

SCOPE = "opendata13TeV"
FILES = 40

Configure = Callable[..., None]


class Asked:
    """Counts the files whose replicas are looked up in Rucio."""

    def __init__(self) -> None:
        self.files = 0


@pytest.fixture(autouse=True)
def asked(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Count datasets of 10 files as large, with samples of 8: the usual numbers would take minutes."""
    monkeypatch.setattr(pfns, "MANY", 10)
    monkeypatch.setattr(pfns, "LEAST_SAMPLE", 8)
    count, replicas = Asked(), Lake.replicas

    def counted(self: Lake, dids: Any, **how: Any) -> Generator[FileReplicas, None, None]:
        for row in replicas(self, dids, **how):
            count.files += 1
            yield row

    monkeypatch.setattr(Lake, "replicas", counted)
    return count


@pytest.fixture
def configure(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Configure the instance."""

    def write(**settings: Any) -> None:
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(lake.config(test=settings)))

    return write


def answer(dids: Sequence[str], **how: Any) -> Resolution | dict[str, str]:
    """Resolve, and give the result or the reasons of the error."""
    try:
        return resolve(Request(tuple(dids), "", **how))
    except FilesUnavailable as error:
        return error.reasons


def both(monkeypatch: pytest.MonkeyPatch, *names: str, scope: str = SCOPE, **how: Any) -> Resolution | dict[str, str]:
    """Resolve with and without the shortcut, and check that the results are the same."""
    dids = [f"{scope}:{name}" for name in names]
    quick = answer(dids, **how)
    with monkeypatch.context() as context:
        context.setattr(pfns, "MANY", 10**9)
        sure = answer(dids, **how)
    assert plain(quick) == plain(sure)
    return quick


def plain(found: Resolution | dict[str, str]) -> Any:
    """Give all parts of a result in a form to compare. Rucio's order of the replicas left out varies."""
    if isinstance(found, dict):
        return {did: sorted(reason.split("; ")) for did, reason in found.items()}
    files = [
        (
            file.did,
            file.datasets,
            file.bytes,
            file.adler32,
            [(each.rse, each.url, each.pfn, each.domain, each.priority) for each in file.replicas],
            sorted((left.replica.rse, left.replica.url, left.reason) for left in file.left_out),
        )
        for file in found.files
    ]
    missing = {did: sorted(reason.split("; ")) for did, reason in found.missing.items()}
    return files, missing, found.total, found.open, found.shared, found.notes


def register(lake: FullLake, name: str, files: Sequence[str], *rses: str, scope: str = SCOPE, **more: Any) -> None:
    """Register files on some RSEs, and a dataset of all of them if a name is given."""
    known = [{"scope": scope, "name": file, "bytes": 1000 + len(file), "adler32": "0000abcd"} for file in files]
    for rse in rses:
        lake.rest("POST", "/replicas", json={"rse": rse, "files": [{**file, **more} for file in known]})
    if name:
        dids = [{"scope": scope, "name": file} for file in files]
        lake.rest("POST", "/dids", json=[{"scope": scope, "name": name, "type": "DATASET", "dids": dids}])


@pytest.fixture
def fresh(lake: FullLake) -> Callable[..., list[str]]:
    """Make a dataset of 40 files on some RSEs. Returns its name, followed by those of its files."""

    def make(*rses: str, name: str = "", **more: Any) -> list[str]:
        name = name or f"fresh.{uuid4().hex[:8]}"
        files = [f"{name}._{number:04d}.root" for number in range(FILES)]
        register(lake, name, files, *rses, **more)
        return [name, *files]

    return make


@pytest.fixture
def rse(lake: FullLake) -> Iterator[Callable[..., str]]:
    """Make an RSE with the server of BULK-MOCK and a folder of its own. It is deleted after the test."""
    made = []

    def make(*, deterministic: bool = True, attributes: dict[str, Any] | None = None) -> str:
        name = f"FRESH-{uuid4().hex[:8].upper()}"
        lake.rest("POST", quoted("rses", name), json={"deterministic": deterministic})
        made.append(name)
        (known,) = lake.rest("GET", quoted("rses", "BULK-MOCK")).json()["protocols"]
        own = {**known, "prefix": f"{known['prefix']}{name}/"}
        lake.rest("POST", quoted("rses", name, "protocols", "root"), json=own)
        for key, value in (attributes or {}).items():
            lake.rest("POST", quoted("rses", name, "attr", key), json={"value": value})
        return name

    yield make
    for name in made:
        lake.rest("DELETE", quoted("rses", name))


# ------------------------------------------------------------------------------------------------ the shortcut


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"schemes": ("https", "root")},
        {"rse": "country=CH"},
        {"limit": 12},
    ],
    ids=str,
)
def test_everything_in_the_lake(monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]) -> None:
    """All datasets together, including those with faults."""
    every = [
        info.did.name for info in Lake(load_instances().get()).search(DID(SCOPE, "*")) if "fresh" not in info.did.name
    ]
    every = [name for name in every if not name.startswith(("many.", "bulk."))]
    assert {"GamGam", "unavailable", "partly", "tape.and.disk", CMS_DATASET} <= {*every, CMS_DATASET}
    both(monkeypatch, *every, allow_missing=True, **how)


def test_hostile_names(monkeypatch: pytest.MonkeyPatch, asked: Asked) -> None:
    """The sample includes each odd character, so all these files are looked up, and must match."""
    assert not isinstance(both(monkeypatch, "all", scope=HOSTILE, allow_missing=True), dict)
    assert len(HOSTILE_NAMES) > 10


@pytest.mark.parametrize("where", [["CERN-EOS"], ["WEB-DISK"], ["CERN-EOS", "TRIUMF-DISK"], ["DEAD-DISK", "WEB-DISK"]])
def test_most_files_of_a_dataset_are_not_looked_up(
    monkeypatch: pytest.MonkeyPatch, fresh: Callable[..., list[str]], asked: Asked, where: list[str]
) -> None:
    name, *_ = fresh(*where)
    resolve(Request((f"{SCOPE}:{name}",), ""))
    assert asked.files < FILES / 2
    found = both(monkeypatch, name)
    assert isinstance(found, Resolution)
    assert {replica.rse for file in found.files for replica in file.replicas} == {*where} - {"DEAD-DISK"}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 4))])
def test_datasets_of_any_kind(monkeypatch: pytest.MonkeyPatch, lake: FullLake, asked: Asked, seed: int) -> None:
    """Random names in two scopes, completely on some RSEs and partly on others, in any state."""
    chance = random.Random(f"{seed}")
    some = string.ascii_letters + string.digits + "._-/"
    name = f"any.{uuid4().hex[:8]}"
    rses = ["CERN-EOS", "TRIUMF-DISK", "WEB-DISK", "BLOCKED-DISK", "CERN-TAPE", "DEAD-DISK", "NOTEBOOK-POSIX"]
    whole = chance.sample(rses, chance.randint(1, 3))
    dids = []
    for scope in (SCOPE, "user.alice"):
        ends = ["".join(chance.choices(some, k=chance.randint(1, 60))) for _ in range(FILES // 2)]
        files = [f"{name}{number}{end}x" for number, end in enumerate(ends)]
        register(lake, "", files, *whole, scope=scope)
        dids += [{"scope": scope, "name": file} for file in files]
        for other in set(rses) - {*whole}:
            if chance.random() < 0.3:
                register(lake, "", chance.sample(files, chance.randint(1, 3)), other, scope=scope, state="A")
        if chance.random() < 0.6:
            of_one = [{**did, "state": chance.choice("CDU")} for did in chance.sample(dids, 2)]
            lake.rest("PUT", "/replicas", json={"rse": chance.choice(whole), "files": of_one})
    lake.rest("POST", "/dids", json=[{"scope": SCOPE, "name": name, "type": "DATASET", "dids": dids}])
    both(monkeypatch, name, allow_missing=True)
    both(monkeypatch, name, allow_missing=True, rse="country=CH|site=WEB")


def test_replicas_on_other_rses_are_not_lost(
    monkeypatch: pytest.MonkeyPatch, lake: FullLake, fresh: Callable[..., list[str]], asked: Asked
) -> None:
    """One file has a second replica and one a bad replica, which do not show in Rucio's counts."""
    name, *files = fresh("CERN-EOS")
    register(lake, "", files[7:8], "WEB-DISK")
    register(lake, "", files[9:10], "TRIUMF-DISK", state="A")
    states = [{"scope": SCOPE, "name": files[9], "state": "D"}]
    lake.rest("PUT", "/replicas", json={"rse": "TRIUMF-DISK", "files": states})
    found = resolve(Request((f"{SCOPE}:{name}",), ""))
    assert asked.files < FILES / 2
    assert ["WEB-DISK" in {replica.rse for replica in file.replicas} for file in found.files].count(True) == 1
    assert [left.replica.rse for file in found.files for left in file.left_out].count("TRIUMF-DISK") >= 1
    both(monkeypatch, name)


def test_a_file_of_two_datasets(monkeypatch: pytest.MonkeyPatch, lake: FullLake, fresh: Callable[..., Any]) -> None:
    first, *files = fresh("CERN-EOS")
    second, *_ = fresh("WEB-DISK")
    children = [{"scope": SCOPE, "name": file} for file in files[:5]]
    lake.rest("POST", quoted("dids", SCOPE, second, "dids"), json={"dids": children})
    found = both(monkeypatch, first, second)
    assert isinstance(found, Resolution)
    assert (found.shared, found.total) == (5, 2 * FILES)


def test_a_local_site(monkeypatch: pytest.MonkeyPatch, configure: Configure, fresh: Any, asked: Asked) -> None:
    name, *_ = fresh("TRIUMF-DISK")
    configure(site="TRIUMF")
    resolve(Request((f"{SCOPE}:{name}",), ""))
    assert asked.files < FILES / 2
    both(monkeypatch, name)


# ------------------------------------------------------------------------------------------------ looking up every file


def looked_up(monkeypatch: pytest.MonkeyPatch, asked: Asked, name: str, **how: Any) -> Resolution:
    """Check that every file is looked up, and that the result is the same."""
    resolve(Request((f"{SCOPE}:{name}",), "", **how))
    assert asked.files >= FILES
    found = both(monkeypatch, name, **how)
    assert isinstance(found, Resolution)
    return found


def test_an_algorithm_unknown_to_clients(monkeypatch: pytest.MonkeyPatch, fresh: Any, rse: Any, asked: Any) -> None:
    name, *files = fresh(rse(attributes={"lfn2pfn_algorithm": "lake_flat"}))
    found = looked_up(monkeypatch, asked, name)
    assert found.files[0].url.endswith(f"/{SCOPE}/{files[0]}")


def test_another_of_rucios_algorithms(monkeypatch: pytest.MonkeyPatch, fresh: Any, rse: Any, asked: Any) -> None:
    name, *files = fresh(rse(attributes={"lfn2pfn_algorithm": "identity"}))
    found = resolve(Request((f"{SCOPE}:{name}",), ""))
    assert asked.files < FILES / 2
    assert found.files[0].url.endswith(f"/{SCOPE}/{files[0]}")
    both(monkeypatch, name)


def test_paths_that_are_not_derived_from_names(monkeypatch: Any, lake: FullLake, rse: Any, asked: Any) -> None:
    where, name = rse(deterministic=False), f"fresh.{uuid4().hex[:8]}"
    files = [f"{name}._{number:04d}.root" for number in range(FILES)]
    address = lake.rest("GET", quoted("rses", where)).json()["protocols"][0]
    known = [
        {
            "scope": SCOPE,
            "name": file,
            "bytes": 1,
            "adler32": "00000001",
            "pfn": f"root://127.0.0.1:{address['port']}//bulk/{where}/run{number}/{file}",
        }
        for number, file in enumerate(files)
    ]
    lake.rest("POST", "/replicas", json={"rse": where, "files": known})
    dids = [{"scope": SCOPE, "name": file} for file in files]
    lake.rest("POST", "/dids", json=[{"scope": SCOPE, "name": name, "type": "DATASET", "dids": dids}])
    assert "run3" in looked_up(monkeypatch, asked, name).files[3].url
    # now paths follow from names, but Rucio keeps the paths that it has, here for some files only
    lake.rest("PUT", quoted("rses", where), json={"deterministic": True})
    lake.execute(f"UPDATE replicas SET path = NULL WHERE name < '{files[3 * FILES // 4]}' AND name LIKE '{name}%'")
    urls = [file.url for file in looked_up(monkeypatch, asked, name).files]
    assert ["/run" in url for url in (urls[3], urls[-1])] == [False, True]


def test_options_that_rucio_adds(monkeypatch: pytest.MonkeyPatch, fresh: Any, rse: Any, asked: Any) -> None:
    name, *_ = fresh(rse(attributes={"simulate_multirange": 2}))
    looked_up(monkeypatch, asked, name)


def test_a_proxy_at_the_site(
    monkeypatch: pytest.MonkeyPatch, lake: FullLake, configure: Configure, fresh: Any, asked: Any
) -> None:
    name, *_ = fresh("WEB-DISK")
    configure(site="NOTEBOOK")
    looked_up(monkeypatch, asked, name)
    lake.rest("POST", "/config", json={"root-proxy-internal": {"NOTEBOOK": "127.0.0.1:1"}})
    try:
        with pytest.raises(FilesUnavailable, match="refuses"):  # by the proxy, which does not exist
            resolve(Request((f"{SCOPE}:{name}",), ""))
        both(monkeypatch, name)
    finally:
        lake.rest("DELETE", "/config/root-proxy-internal/NOTEBOOK")


def test_archives_do_not_count_as_replicas_of_their_contents(
    monkeypatch: pytest.MonkeyPatch, lake: FullLake, fresh: Any, asked: Any
) -> None:
    """Rucio counts them, but does not list them for a dataset."""
    name, *files = fresh("WEB-DISK")
    archive = f"{name}.zip"
    register(lake, "", [archive], "CERN-EOS")
    inside = [{"scope": SCOPE, "name": file, "bytes": 1000 + len(file), "adler32": "0000abcd"} for file in files]
    lake.rest("POST", quoted("dids", SCOPE, archive, "dids"), json={"dids": inside})
    assert {file.replica.rse for file in looked_up(monkeypatch, asked, name).files} == {"WEB-DISK"}


def test_an_attribute_named_like_an_rse(
    monkeypatch: pytest.MonkeyPatch, lake: FullLake, fresh: Any, rse: Any, asked: Any
) -> None:
    """The replicas on the RSE with the attribute must not be mistaken for those on the other."""
    first = rse()
    name, *files = fresh(first)
    second = rse(attributes={first: True})
    register(lake, "", files[7:8], second)
    found = looked_up(monkeypatch, asked, name)
    assert {replica.rse for replica in found.files[7].replicas} == {first, second}


def test_an_invalid_rse_expression(fresh: Any) -> None:
    name, *_ = fresh("WEB-DISK")
    for expression in ("((", "NOPE"):
        with pytest.raises(BadRequest, match="matches the RSE expression") as caught:
            resolve(Request((f"{SCOPE}:{name}",), "", rse=expression))
        assert repr(expression) in caught.value.message


def test_a_blocked_rse(monkeypatch: pytest.MonkeyPatch, lake: FullLake, fresh: Any, rse: Any) -> None:
    blocked = rse()
    name, *_ = fresh(blocked)
    both(monkeypatch, name)
    lake.rest("PUT", quoted("rses", blocked), json={"availability_read": False})
    found = both(monkeypatch, name)
    assert isinstance(found, dict)
    assert all("blocked for reading" in reason for reason in found.values())


def test_files_without_a_replica(monkeypatch: pytest.MonkeyPatch, lake: FullLake, fresh: Any) -> None:
    name, *files = fresh("WEB-DISK")
    lake.execute(f"DELETE FROM replicas WHERE name = '{files[5]}'")
    found = both(monkeypatch, name, allow_missing=True)
    assert isinstance(found, Resolution)
    assert list(found.missing.values()) == ["Rucio has no replica of it"]
