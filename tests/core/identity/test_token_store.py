"""Where the token of a sign-in is stored, and what happens if it cannot be."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.identity.signing_in import sign_in, sign_out, signed_in
from tests.lake.lake import FullLake
from tests.support.checks import instance_of
from tests.support.middle import Middle
from tests.support.sign_ins import SECRETS, stored, who


def test_the_token_is_in_a_private_file(lake: FullLake) -> None:
    before = os.umask(0)
    try:
        instance = instance_of(lake)
        sign_in(instance)
    finally:
        os.umask(before)
    folder = Path(os.environ["JUPYTER_DATA_DIR"]) / "rucio-lab" / "tokens"
    assert folder.stat().st_mode & 0o777 == 0o700
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert stored(instance) in path.read_text()
    assert not any(secret in path.read_text() for secret in SECRETS)
    sign_out(instance)
    assert not list(folder.iterdir())


def test_a_folder_with_too_open_a_mode_is_corrected(lake: FullLake) -> None:
    folder = Path(os.environ["JUPYTER_DATA_DIR"]) / "rucio-lab" / "tokens"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    sign_in(instance_of(lake))
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_token_that_cannot_be_stored(
    middle: Middle, lake: FullLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full or read-only disk, as in a container on a batch node, this process keeps using it."""
    (tmp_path / "a-file").touch()
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "a-file"))
    instance = instance_of(lake, url=middle.url)
    with pytest.warns(UserWarning, match="ends with this process"):
        sign_in(instance)
    with ThreadPoolExecutor() as pool:  # another thread has another client
        assert pool.submit(Lake(instance).scopes).result()
    assert middle.count("/auth/") == 1
    sign_out(instance)
    assert signed_in(instance) is None


def test_another_process_uses_the_same_token(middle: Middle, lake: FullLake) -> None:
    instance = instance_of(lake, url=middle.url)
    who(instance)
    code = (
        "import pickle, sys\nfrom rucio_lab.core.catalogue.lake import Lake\n"
        "Lake(pickle.load(sys.stdin.buffer)).scopes()"
    )
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(instance), check=True)
    assert middle.count("/auth/") == 1


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"token": 1}', "\x00"])
def test_a_damaged_token_file_is_replaced(lake: FullLake, broken: str) -> None:
    instance = instance_of(lake)
    sign_in(instance)
    folder = Path(os.environ["JUPYTER_DATA_DIR"]) / "rucio-lab" / "tokens"
    (path,) = folder.iterdir()
    path.write_text(broken)
    assert who(instance) == "alice"
    assert json.loads(path.read_text())["account"] == "alice"
