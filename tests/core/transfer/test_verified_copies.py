"""A copy that was downloaded and verified before is the best replica."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

import rucio_lab
from rucio_lab.api.files import FileList
from rucio_lab.core.catalogue.replies import FileReplicas
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.copies import verified
from rucio_lab.core.copies.folder import STAMPS
from rucio_lab.core.did import DID
from rucio_lab.core.reading import probe
from tests.lake.lake import FullLake
from tests.support.downloads import SCOPE, Configure
from tests.support.lake_files import forget, url
from tests.support.put import dataset_of, put

FAULTY = "faulty.http"
DATASET, FILE = f"{SCOPE}:{FAULTY}", f"{SCOPE}:{FAULTY}._0001.root"


@pytest.fixture(autouse=True)
def nothing_known(configure: Configure) -> Iterator[None]:
    configure(storage={"timeout": 1.0, "patience": 1.0})
    forget()
    yield
    forget()


@pytest.fixture
def downloaded(lake: FullLake) -> Path:
    """The copy of a file, whose only storage refuses connections by now."""
    (copy,) = rucio_lab.download(DATASET)
    lake.faulty["http"].refuse()
    lake.faulty["http"].forget()
    probe.forget()
    return Path(copy)


def test_auto_takes_it_and_asks_no_storage(lake: FullLake, downloaded: Path) -> None:
    files = rucio_lab.attach(DATASET)
    assert files.urls == [str(downloaded)]
    assert lake.faulty["http"].connections == 0
    assert repr(files).startswith("1 file, ")
    assert repr(files).endswith(", downloaded before")
    assert "downloaded" in repr(files.explain())
    assert rucio_lab.attach(FILE).urls == [str(downloaded)]  # though it was downloaded as part of a dataset
    assert rucio_lab.attach(f"{SCOPE}:{dataset_of(lake, f'{FAULTY}._0001.root')}").urls == [str(downloaded)]


def test_only_some_files(lake: FullLake, downloaded: Path) -> None:
    files = rucio_lab.attach(DATASET, f"{SCOPE}:web")
    assert [file.scheme for file in files] == ["file", "http"]
    assert "1 downloaded before, from WEB-DISK over http" in repr(files)


def test_rucio_addresses_are_read_from_it(lake: FullLake, downloaded: Path) -> None:
    files = rucio_lab.attach(DATASET, access="lake")
    assert files.urls == [url(f"{FAULTY}._0001.root")]
    assert "downloaded" in repr(files.explain())
    with warnings.catch_warnings(), fsspec.open(files[0]) as file:
        warnings.simplefilter("error")
        assert file.read() == downloaded.read_bytes()
    assert lake.faulty["http"].connections == 0


def test_reading_continues_elsewhere_when_it_is_removed(lake: FullLake, downloaded: Path) -> None:
    lake.faulty["http"].forward()
    content = downloaded.read_bytes()
    with fsspec.open(url(f"{FAULTY}._0001.root"), block_size=100, cache_type="none") as file:
        downloaded.unlink()
        with pytest.warns(UserWarning, match=r"the copy .* is no longer there\. Reading continues from FAULTY-HTTP"):
            assert file.read(1000) == content[:1000]


def test_reading_continues_elsewhere_when_it_has_changed(lake: FullLake, downloaded: Path) -> None:
    lake.faulty["http"].forward()
    content = downloaded.read_bytes()
    for changed in (False, True):
        if changed:
            downloaded.write_bytes(bytes([content[0] ^ 1]) + content[1:])
            warned = pytest.warns(UserWarning, match="the copy .* has changed since it was verified")
        else:
            warned = contextlib.nullcontext()
        with warned, fsspec.open(url(f"{FAULTY}._0001.root"), block_size=100, cache_type="none") as file:
            assert file.read(1000) == content[:1000]


@pytest.mark.parametrize("how", [{"rse": "FAULTY-HTTP"}, {"scheme": "http"}, {"access": "stream"}], ids=str)
def test_what_the_user_asks_for_comes_before_it(lake: FullLake, downloaded: Path, how: dict[str, str]) -> None:
    lake.faulty["http"].forward()
    (file,) = rucio_lab.attach(DATASET, **how)
    assert (file.scheme, file.rse) == ("http", "FAULTY-HTTP")


def rewritten(copy: Path) -> None:
    copy.write_bytes(copy.read_bytes())


def grown(copy: Path) -> None:
    status = copy.stat()
    with copy.open("ab") as file:
        file.write(b"x")
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced(copy: Path) -> None:
    copy.with_name("new").write_bytes(copy.read_bytes())
    os.utime(copy.with_name("new"), ns=(copy.stat().st_atime_ns, copy.stat().st_mtime_ns))
    copy.with_name("new").replace(copy)


def linked(copy: Path) -> None:
    copy.rename(copy.with_name("other"))
    copy.symlink_to(copy.with_name("other"))


def open_to_others(copy: Path) -> None:
    copy.chmod(0o666)


def stamps_open_to_others(copy: Path) -> None:
    (copy.parent / STAMPS).chmod(0o666)


def folder_through_a_link(copy: Path) -> None:
    copy.parent.rename(copy.parents[2] / "elsewhere")
    copy.parent.symlink_to(copy.parents[2] / "elsewhere")


def checksum_changed_in_rucio(copy: Path) -> None:
    stamps = copy.parent / STAMPS
    stamps.write_text(stamps.read_text().replace("adler32:", "adler32:0"))


CHANGES = [
    *(rewritten, grown, replaced, linked, Path.unlink, open_to_others, stamps_open_to_others),
    *(folder_through_a_link, checksum_changed_in_rucio),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_that_may_have_changed_is_not_used(
    lake: FullLake, downloaded: Path, change: Callable[[Path], None]
) -> None:
    lake.faulty["http"].forward()
    change(downloaded)
    assert rucio_lab.attach(DATASET)[0].scheme == "http"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["copy", "stamps"])
def test_a_copy_of_somebody_else_is_not_used(lake: FullLake, downloaded: Path, what: str) -> None:
    lake.faulty["http"].forward()
    os.chown(downloaded if what == "copy" else downloaded.parent / STAMPS, 12345, -1)
    assert rucio_lab.attach(DATASET)[0].scheme == "http"


def test_without_a_checksum_nothing_is_verified(lake: FullLake) -> None:
    name = put(lake, b"bytes", "WEB-DISK", adler32=None)
    assert rucio_lab.download(f"{SCOPE}:{name}")[0].scheme == "file"
    assert rucio_lab.attach(f"{SCOPE}:{name}")[0].scheme == "http"


def test_other_instances_and_folders_are_not_looked_at(
    lake: FullLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rucio_lab.download(f"{SCOPE}:web", to=tmp_path / "elsewhere")
    assert rucio_lab.attach(f"{SCOPE}:web")[0].scheme == "http"
    rucio_lab.download(f"{SCOPE}:web")
    path = lake.config("other", other={})
    path.write_text(path.read_text() + f'\n[downloads]\nfolder = "{tmp_path / "downloads"}"\n')
    monkeypatch.setenv("RUCIO_LAB_CONFIG", str(path))
    assert rucio_lab.attach(f"{SCOPE}:web")[0].scheme == "http"


def test_very_many_files_cost_one_look_if_none_was_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    rucio_lab.download(f"{SCOPE}:web")
    looks: list[str] = []
    mine = threading.get_ident()

    def look(path: object) -> None:
        if threading.get_ident() == mine:
            looks.append(str(path))

    for name in ("stat", "lstat", "open", "scandir"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, real=real, **kw: (look(a[0]), real(*a, **kw))[1])

    def cost(scope: str, count: int) -> int:
        """Count the looks at the disk, including those at the configuration."""
        forget()
        verified.forget()
        looks.clear()
        rows = [FileReplicas(DID(scope, f"f{number}"), 1, "00000001", (), {}) for number in range(count)]
        assert verified.verified_copies(load_instances().get(), rows) == {}
        return len(looks)

    cost("another", 10)  # what is looked at once in a process
    assert cost("another", 10_000) <= cost("another", 10)
    assert cost(SCOPE, 10_000) <= cost(SCOPE, 10)


def test_a_list_of_copies_downloads_nothing_again(downloaded: Path) -> None:
    files: FileList = rucio_lab.attach(DATASET)
    assert files.download().urls == [str(downloaded)]
    assert files.refresh().urls == [str(downloaded)]
