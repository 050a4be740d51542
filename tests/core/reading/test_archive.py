"""Files in zip archives: read, streamed and downloaded as what they are, never as the archive."""

from __future__ import annotations

import io
import os
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
import uproot

import rucio_lab
from rucio_lab.core.catalogue.replies import FileReplicas, Pfn
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.did import DID
from rucio_lab.core.errors import FilesUnavailable
from rucio_lab.core.filesystem.lake_filesystem import LakeFileSystem
from rucio_lab.core.model import Request
from rucio_lab.core.reading import archive
from rucio_lab.core.reasons import Cause
from rucio_lab.core.resolve.choose import Sorter
from tests.lake.lake import FullLake
from tests.support.lake_files import BRANCHES, LARGE, configure, content_of, forget, read_branches, url
from tests.support.put import SCOPE, dataset_of, flipped, put, put_archive, write

METHODS = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED}


@pytest.fixture(autouse=True)
def nothing_known(lake: FullLake, monkeypatch: pytest.MonkeyPatch) -> None:
    forget()
    configure(lake, monkeypatch)


@pytest.fixture
def fs() -> LakeFileSystem:
    return fsspec.filesystem("rucio")


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    """Pack files into an archive, after 3 MB of another one."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as index:
        index.writestr("other", os.urandom(3_000_000), zipfile.ZIP_STORED)
        for name, content in members.items():
            index.writestr(name, content)
        index.comment = comment
    return packed.getvalue()


def member(lake: FullLake, content: bytes, *rses: str, method: int = zipfile.ZIP_STORED) -> str:
    """Put a file into an archive on some RSEs, and register both."""
    name = f"member.{uuid4().hex[:8]}"
    put_archive(lake, zipped({name: content}, method), {name: content}, *rses)
    return name


def reason(name: str, **how: str) -> str:
    """Say why a file cannot be attached."""
    with pytest.raises(FilesUnavailable) as caught:
        rucio_lab.attach(f"{SCOPE}:{name}", **how)
    return caught.value.reasons[f"{SCOPE}:{name}"]


# ------------------------------------------------------------------------------------------------ what it is


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scheme", ["root", "https", "http", "file"])
def test_every_way_gives_the_bytes_of_the_member(
    lake: FullLake, monkeypatch: pytest.MonkeyPatch, fs: LakeFileSystem, tmp_path: Path, scheme: str, method: str
) -> None:
    rse = "NOTEBOOK-POSIX" if scheme == "file" else "CERN-EOS"
    mounts = {rse: lake.mount(rse)} if scheme == "file" else {}
    configure(lake, monkeypatch, schemes=["root" if scheme == "file" else scheme], mounts=mounts)
    content = os.urandom(100_000) + bytes(100_000)
    name = member(lake, content, rse, method=METHODS[method])
    (address,) = rucio_lab.attach(f"{SCOPE}:{name}")
    assert address == url(name)
    with fsspec.open(address) as file:
        file.seek(150_000)
        assert file.read(10) == content[150_000:150_010]
        file.seek(99_990)
        assert file.read(20) == content[99_990:100_010]
    assert fs.cat(address) == content
    assert fs.cat_ranges([address] * 2, [5, 100], [10, 200]) == [content[5:10], content[100:200]]
    fs.get(address, str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == content
    (path,) = rucio_lab.download(f"{SCOPE}:{name}", to=tmp_path / "folder")
    assert Path(path).read_bytes() == content


def test_attach_says_why_it_gives_rucio_addresses(lake: FullLake) -> None:
    name = member(lake, b"bytes" * 100, "CERN-EOS")
    files = rucio_lab.attach(f"{SCOPE}:{name}")
    assert files.notes == (
        "The file is read as rucio://, because it is in a zip archive, which a plain URL cannot look into.",
    )


@pytest.mark.parametrize("how", [{"access": "stream"}, {"access": "mount"}, {"scheme": "https"}])
def test_no_plain_address_leads_to_the_archive(
    lake: FullLake, monkeypatch: pytest.MonkeyPatch, how: dict[str, str]
) -> None:
    configure(lake, monkeypatch, mounts={"NOTEBOOK-POSIX": lake.mount("NOTEBOOK-POSIX")})
    name = member(lake, b"bytes" * 100, "CERN-EOS", "NOTEBOOK-POSIX")
    assert "it is in a zip archive, which only rucio:// and downloads can look into" in reason(name, **how)


@pytest.mark.usefixtures("gfal2")
def test_other_tools_do_not_download_the_archive() -> None:
    """They would put the archive under the name of the file."""
    did = DID(SCOPE, "member")
    pfn = Pfn("gsiftp://127.0.0.1:1/a.zip?xrdcl.unzip=member", "TOOLS", "DISK", "zip", 1)
    row = FileReplicas(did, 1, None, (pfn,), {"TOOLS": "AVAILABLE"})
    draft = Sorter(load_instances().get(), Request((), "test", "download")).draft(did, row)
    assert draft.candidates == []
    assert [left.why.cause for left in draft.left_out] == [Cause.IN_ARCHIVE]
    plain = row._replace(pfns=(pfn._replace(domain="wan"),))
    assert Sorter(load_instances().get(), Request((), "test", "download")).draft(did, plain).candidates


def test_a_dataset_of_members(lake: FullLake, tmp_path: Path) -> None:
    """Of a dataset, Rucio lists no archives."""
    contents = {f"member.{uuid4().hex[:8]}": os.urandom(2_000) for _ in range(3)}
    put_archive(lake, zipped(contents), contents, "CERN-EOS")
    plain = put(lake, b"plain", "CERN-EOS")
    name = dataset_of(lake, plain, *contents)
    files = rucio_lab.attach(f"{SCOPE}:{name}")
    assert {file.did.name: fsspec.open(file).open().read() for file in files} == {plain: b"plain", **contents}
    assert {file.scheme for file in files if file.did.name in contents} == {"rucio"}
    assert files.notes[0].startswith("3 of 4 files are read as rucio://, because they are in zip archives")
    assert len(rucio_lab.download(f"{SCOPE}:{name}", to=tmp_path)) == 4
    why = reason_of_dataset(name, access="stream")
    assert "zip archive" in why
    assert "RSE expression" not in why
    assert "does not match the RSE expression" in reason_of_dataset(name, rse="CERN-TAPE")


def reason_of_dataset(name: str, **how: str) -> str:
    with pytest.raises(FilesUnavailable) as caught:
        rucio_lab.attach(f"{SCOPE}:{name}", **how)
    return str(caught.value)


def test_a_root_file_in_an_archive(lake: FullLake) -> None:
    content = content_of(lake)
    name = member(lake, content, "CERN-EOS")
    with uproot.open({str(lake.path("CERN-EOS", SCOPE, LARGE)): "mini"}) as tree:
        assert read_branches(url(name)) == tree.arrays(BRANCHES).tolist()


@pytest.mark.parametrize("scheme", ["root", "http"])
def test_the_archive_is_never_read_as_a_whole(
    lake: FullLake, monkeypatch: pytest.MonkeyPatch, fs: LakeFileSystem, scheme: str
) -> None:
    configure(lake, monkeypatch, schemes=[scheme])
    content = os.urandom(3_000)
    name = member(lake, content, "CERN-EOS")
    before = lake.storages[scheme].sent()
    assert fs.cat(url(name)) == content
    assert lake.storages[scheme].sent() - before < 100_000


def test_the_index_is_read_once_for_many_files(lake: FullLake, fs: LakeFileSystem) -> None:
    many = {f"member.{uuid4().hex[:8]}": os.urandom(10) for _ in range(20)}
    fillers = {f"{n:05d}": b"" for n in range(5_000)}
    put_archive(lake, zipped({**many, **fillers}), many, "CERN-EOS")
    before = lake.storages["root"].sent()
    assert {name: fs.cat(url(name)) for name in many} == many
    assert lake.storages["root"].sent() - before < 600_000


def test_an_archive_that_was_replaced(lake: FullLake, fs: LakeFileSystem) -> None:
    """Its size differs, so its index is read again."""
    content, name = os.urandom(1_000), f"member.{uuid4().hex[:8]}"
    archive_name = put_archive(lake, zipped({name: content}), {name: content}, "CERN-EOS")
    assert fs.cat(url(name)) == content
    forget()
    write(lake, "CERN-EOS", archive_name, zipped({"before": b"x" * 77, name: content}))
    assert fs.cat(url(name)) == content


def test_a_plain_replica_comes_first(lake: FullLake) -> None:
    content = os.urandom(1_000)
    name = member(lake, content, "CERN-EOS")
    put(lake, content, "WEB-DISK", name=name)
    (file,) = rucio_lab.attach(f"{SCOPE}:{name}")
    assert (file.rse, file.scheme) == ("WEB-DISK", "http")


def test_after_wrong_bytes_in_an_archive_the_next_replica_is_copied(
    lake: FullLake, monkeypatch: pytest.MonkeyPatch, fs: LakeFileSystem
) -> None:
    configure(lake, monkeypatch, schemes=["root", "http"])
    content, name = os.urandom(1_000), f"member.{uuid4().hex[:8]}"
    put_archive(lake, zipped({name: flipped(content)}), {name: content}, "CERN-EOS")
    with pytest.raises(OSError, match="wrong bytes"):
        fs.cat(url(name))
    forget()
    put_archive(lake, zipped({name: content}), {name: content}, "WEB-DISK")
    with pytest.warns(UserWarning, match="wrong bytes"):
        assert fs.cat(url(name)) == content


# ------------------------------------------------------------------------------------------------ hostile archives


def changed(packed: bytes, name: str, offset: int, value: bytes) -> bytes:
    """Change some bytes of the entry of a file in the index."""
    at = packed.rindex(b"PK\1\2", 0, packed.rindex(name.encode())) + offset
    return packed[:at] + value + packed[at + len(value) :]


def encrypted(packed: bytes, name: str) -> bytes:
    return changed(packed, name, 8, b"\1\0")


def lying_about_the_size(packed: bytes, name: str) -> bytes:
    """Let a bomb of 100 MB look like a file of 1,000 bytes."""
    bomb = zipped({name: bytes(100_000_000)}, zipfile.ZIP_DEFLATED)
    return changed(bomb, name, 24, (1_000).to_bytes(4, "little"))


def another_size(_packed: bytes, name: str) -> bytes:
    return zipped({name: bytes(100_000_000)}, zipfile.ZIP_DEFLATED)


def leading_outside(packed: bytes, name: str) -> bytes:
    return changed(packed, name, 42, (2_000_000_000).to_bytes(4, "little"))


def too_short(packed: bytes, name: str) -> bytes:
    whole = zipped({name: os.urandom(990)}, zipfile.ZIP_DEFLATED)
    return changed(whole, name, 24, (1_000).to_bytes(4, "little"))


def another_method(_packed: bytes, name: str) -> bytes:
    return zipped({name: bytes(1_000)}, zipfile.ZIP_LZMA)


HOSTILE: dict[Callable[[bytes, str], bytes], str] = {
    encrypted: "is an archive with this file encrypted",
    another_size: "is an archive with 100,000,000 bytes of this file, but Rucio has registered 1,000",
    lying_about_the_size: "is not a zip archive that can be read",
    leading_outside: "is not a zip archive that can be read",
    too_short: "is not a zip archive that can be read",
    another_method: "packed by a method that cannot be read",
    lambda packed, _: packed[:-50]: "is not a zip archive that can be read",
    lambda *_: b"no archive": "is not a zip archive that can be read",
    lambda *_: b"": "is ",
    lambda *_: zipped({"another": bytes(1_000)}): "is an archive without this file",
}


@pytest.mark.parametrize("how", HOSTILE)
@pytest.mark.parametrize("rse", ["CERN-EOS", "WEB-DISK"])
def test_hostile_archives(
    lake: FullLake, fs: LakeFileSystem, tmp_path: Path, how: Callable[[bytes, str], bytes], rse: str
) -> None:
    name, content = f"member.{uuid4().hex[:8]}", os.urandom(1_000)
    put_archive(lake, how(zipped({name: content}), name), {name: content}, rse)
    with pytest.raises(OSError, match=re.escape(HOSTILE[how])):
        fs.cat(url(name))
    with pytest.raises(FilesUnavailable, match=re.escape(HOSTILE[how])):
        rucio_lab.download(f"{SCOPE}:{name}", to=tmp_path / "to")
    assert not [path for path in (tmp_path / "to").rglob("*") if path.is_file() and path.stat().st_size]


def test_an_index_without_end(lake: FullLake, fs: LakeFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_MOST_INDEX", 70_000)
    name, content = f"member.{uuid4().hex[:8]}", os.urandom(1_000)
    many = {f"{n:05d}": b"" for n in range(2_000)}
    put_archive(lake, zipped({name: content, **many}), {name: content}, "CERN-EOS")
    with pytest.raises(OSError, match="is an archive with an index of more than"):
        fs.cat(url(name))


def test_a_long_comment_and_a_large_index(lake: FullLake, fs: LakeFileSystem) -> None:
    name, content = f"member.{uuid4().hex[:8]}", os.urandom(1_000)
    many = {f"{n:05d}": b"" for n in range(2_000)}
    put_archive(lake, zipped({name: content, **many}, comment=b"c" * 65_535), {name: content}, "CERN-EOS")
    assert fs.cat(url(name)) == content


def test_names_that_lead_outside(lake: FullLake, tmp_path: Path) -> None:
    """The name of a member is only compared, and never becomes a path."""
    content = os.urandom(1_000)
    name = f"member.{uuid4().hex[:8]}"
    put_archive(lake, zipped({f"../{name}": b"other", name: content}), {name: content}, "CERN-EOS")
    (path,) = rucio_lab.download(f"{SCOPE}:{name}", to=tmp_path / "to")
    assert Path(path).read_bytes() == content
    assert [each for each in tmp_path.rglob("*member*") if each.is_file()] == [Path(path)]


def test_an_empty_member(lake: FullLake, tmp_path: Path) -> None:
    name = member(lake, b"", "CERN-EOS")
    (address,) = rucio_lab.attach(f"{SCOPE}:{name}")
    assert fsspec.open(address).open().read() == b""
    (path,) = rucio_lab.download(f"{SCOPE}:{name}", to=tmp_path)
    assert Path(path).read_bytes() == b""
    assert zlib.adler32(b"") == 1
