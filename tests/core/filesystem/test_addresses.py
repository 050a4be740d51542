"""``rucio://`` addresses without an instance, and the path by which files of others name the file system."""

from __future__ import annotations

import json
import pickle

import fsspec
import pytest
import uproot

from rucio_lab.core.address import Address
from rucio_lab.core.errors import ConfigurationError
from rucio_lab.core.filesystem.lake_filesystem import LakeFileSystem
from tests.lake.content import CMS_DATASET, SCOPE
from tests.lake.lake import FullLake

LARGE = "large.GamGam._0001.root"
PUBLIC = "rucio_lab.core.filesystem:LakeFileSystem"


@pytest.fixture
def fs() -> LakeFileSystem:
    return fsspec.filesystem("rucio")


def test_the_short_form_of_other_tools_is_the_default_instance(lake: FullLake, fs: LakeFileSystem) -> None:
    short, full = f"rucio://{SCOPE}:{LARGE}", f"test/{SCOPE}/{LARGE}"
    assert fsspec.url_to_fs(short)[1] == full
    assert fs.info(short) == fs.info(full)
    assert fs.cat_file(short, 0, 100) == lake.path("CERN-EOS", SCOPE, LARGE).read_bytes()[:100]
    with fsspec.open(short) as file:
        assert file.read(4) == b"root"
    with uproot.open({short: "mini"}) as tree:
        assert tree.num_entries > 0
    assert fs.ls(f"rucio://{SCOPE}:large", detail=False) == [full]
    assert fs.find(f"rucio://{SCOPE}:large") == [full]
    assert fs.glob(f"rucio://{SCOPE}:large.Gam*root") == [full]
    assert fs.glob(f"rucio://{SCOPE}:large/*.root") == fs.glob(f"test/{SCOPE}/large/*.root") == [full]
    assert fs.isdir(f"rucio://{SCOPE}:{CMS_DATASET}")
    assert fs.info(f"rucio://{SCOPE}:{CMS_DATASET}")["name"] == Address("test", SCOPE, CMS_DATASET).path


def test_a_port_is_no_did(lake: FullLake, fs: LakeFileSystem) -> None:
    host = lake.url.removeprefix("https://")
    assert fs.info(f"rucio://{host}/{SCOPE}/{LARGE}")["size"] == fs.size(f"test/{SCOPE}/{LARGE}")
    assert fs.isdir(f"rucio://{host}")


def test_an_address_without_an_instance_is_answered_with_the_full_form(lake: FullLake, fs: LakeFileSystem) -> None:
    for path, full in (
        (f"{SCOPE}/{LARGE}", f"rucio://test/{SCOPE}/{LARGE}"),
        ("cms/store/data/x.root", "rucio://test/cms/store%2Fdata%2Fx.root"),
    ):
        for look in (fs.info, fs.ls, fs.cat_file, fs.find):
            with pytest.raises(ConfigurationError, match=f"There is no Rucio instance .* write {full}\\."):
                look(f"rucio://{path}")


@pytest.mark.parametrize("stored", [PUBLIC, PUBLIC.replace(":", ".")])
def test_what_others_store_names_the_public_path(fs: LakeFileSystem, stored: str) -> None:
    written = json.loads(fs.to_json())
    assert written["cls"] == PUBLIC
    assert fsspec.AbstractFileSystem.from_json(json.dumps({**written, "cls": stored})) is fs
    pickled = pickle.dumps(fs, protocol=0)
    assert b"crucio_lab.core.filesystem\nLakeFileSystem\n" in pickled
    assert pickle.loads(pickled) is fs
