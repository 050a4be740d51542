"""Copies over ``rucio://`` and downloads compare the checksum that Rucio has, whichever it is."""

from __future__ import annotations

import hashlib
import os
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from rucio_lab.core.catalogue import pfns
from rucio_lab.core.errors import FilesUnavailable
from rucio_lab.core.filesystem.lake_filesystem import LakeFileSystem
from rucio_lab.core.model import Request
from rucio_lab.core.resolve.resolution import resolve
from rucio_lab.core.transfer.download import download, download_resolution
from tests.lake.lake import FullLake
from tests.support.lake_files import configure, url
from tests.support.put import SCOPE, dataset_of, flipped, put, write

CONTENT = os.urandom(5000)
SUMS = {
    "adler32": {"adler32": f"{zlib.adler32(CONTENT):08x}"},
    "md5": {"md5": hashlib.md5(CONTENT).hexdigest()},
    "MD5": {"md5": hashlib.md5(CONTENT).hexdigest().upper()},
}


def by_get(fs: LakeFileSystem, name: str, target: Path) -> bytes:
    fs.get(url(name), str(target / "copy"))
    return (target / "copy").read_bytes()


def by_get_file(fs: LakeFileSystem, name: str, target: Path) -> bytes:
    fs.get_file(url(name), str(target / "copy"))
    return (target / "copy").read_bytes()


def to_a_stream(fs: LakeFileSystem, name: str, target: Path) -> bytes:
    with (target / "copy").open("wb") as stream:
        stream.write(b"before")
        fs.get_file(url(name), "", outfile=stream)
    return (target / "copy").read_bytes().removeprefix(b"before")


def by_cat(fs: LakeFileSystem, name: str, _target: Path) -> bytes:
    content: bytes = fs.cat(url(name))
    return content


def by_simplecache(_fs: LakeFileSystem, name: str, target: Path) -> bytes:
    with fsspec.open(f"simplecache::{url(name)}", simplecache={"cache_storage": str(target)}) as file:
        content: bytes = file.read()
    return content


def by_download(_fs: LakeFileSystem, name: str, target: Path) -> bytes:
    (file,) = download(Request((f"{SCOPE}:{name}",), "", access="download", folder=str(target))).files
    return Path(file.url).read_bytes()


def by_download_of_addresses(_fs: LakeFileSystem, name: str, target: Path) -> bytes:
    """As ``files.download()`` of a list that was attached with access lake."""
    found = resolve(Request((f"{SCOPE}:{name}",), "", access="lake", folder=str(target)))
    (file,) = download_resolution(found).files
    return Path(file.url).read_bytes()


Copy = Callable[[LakeFileSystem, str, Path], bytes]
COPIES = [by_get, by_get_file, to_a_stream, by_cat, by_simplecache, by_download, by_download_of_addresses]


@pytest.fixture(autouse=True)
def order(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read from WEB-DISK only after CERN-EOS."""
    configure(lake, monkeypatch, schemes=["root", "http"])


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("kind", SUMS)
def test_wrong_bytes_are_never_handed_out(
    lake: FullLake, fs: LakeFileSystem, tmp_path: Path, copy: Copy, kind: str
) -> None:
    name = put(lake, CONTENT, "CERN-EOS", **SUMS[kind])
    write(lake, "CERN-EOS", name, flipped(CONTENT))
    (tmp_path / "to").mkdir()
    with pytest.raises((OSError, FilesUnavailable), match=f"has wrong bytes: their checksum is {kind.lower()}:"):
        copy(fs, name, tmp_path / "to")
    assert [path.read_bytes() for path in (tmp_path / "to").rglob("*") if path.is_file()] in ([], [b"before"])


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("kind", SUMS)
def test_after_wrong_bytes_the_next_replica_is_copied(
    lake: FullLake, fs: LakeFileSystem, tmp_path: Path, copy: Copy, kind: str
) -> None:
    name = put(lake, CONTENT, "CERN-EOS", "WEB-DISK", **SUMS[kind])
    write(lake, "CERN-EOS", name, flipped(CONTENT))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert copy(fs, name, tmp_path) == CONTENT
    if copy not in (by_download, by_download_of_addresses):  # these have notes instead
        (said,) = {str(each.message) for each in caught if "wrong bytes" in str(each.message)}
        assert "CERN-EOS (root://" in said
        assert said.endswith("It was copied from another replica.")


@pytest.mark.parametrize("copy", COPIES)
def test_copies_succeed_where_warnings_are_errors(
    lake: FullLake, fs: LakeFileSystem, tmp_path: Path, copy: Copy
) -> None:
    name = put(lake, CONTENT, "CERN-EOS", "WEB-DISK")
    write(lake, "CERN-EOS", name, flipped(CONTENT))
    unchecked = put(lake, CONTENT, "CERN-EOS", adler32=None)
    for each in (name, unchecked):
        (tmp_path / each).mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            assert copy(fs, each, tmp_path / each) == CONTENT


def test_an_empty_file_with_another_checksum(lake: FullLake, fs: LakeFileSystem, tmp_path: Path) -> None:
    name = put(lake, b"", "CERN-EOS", adler32="0000abcd")
    with pytest.raises(OSError, match="is empty, but Rucio has registered the checksum adler32:0000abcd"):
        fs.get(url(name), str(tmp_path / "copy"))


@pytest.mark.parametrize("copy", COPIES)
def test_without_a_checksum_that_is_said(lake: FullLake, fs: LakeFileSystem, tmp_path: Path, copy: Copy) -> None:
    name = put(lake, CONTENT, "CERN-EOS", adler32=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert copy(fs, name, tmp_path) == CONTENT
    if copy not in (by_cat, by_download, by_download_of_addresses):
        assert f"Rucio has no checksum of {SCOPE}:{name}: only the size was checked." in map(
            str, (each.message for each in caught)
        )


def test_a_whole_dataset_without_checksums_is_one_warning(lake: FullLake, fs: LakeFileSystem, tmp_path: Path) -> None:
    names = [put(lake, CONTENT, "CERN-EOS", adler32=None) for _ in range(5)]
    with pytest.warns(UserWarning, match="and 2 more: only the size was checked") as caught:
        fs.get([url(name) for name in names], str(tmp_path) + "/")
    assert len([each for each in caught if "checksum" in str(each.message)]) == 1


def test_the_md5_of_very_many_files_is_known(lake: FullLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Their PFNs are worked out from the listing of the dataset, which has no md5."""
    monkeypatch.setattr(pfns, "MANY", 3)
    monkeypatch.setattr(pfns, "LEAST_SAMPLE", 1)
    tag = uuid4().hex[:8]
    names = [put(lake, CONTENT, "CERN-EOS", name=f"md5.{tag}.{n:03d}", **SUMS["md5"]) for n in range(20)]
    found = resolve(Request((f"{SCOPE}:{dataset_of(lake, *names)}",), ""))
    assert {file.md5 for file in found.files} == {SUMS["md5"]["md5"]}
