"""The search for leaked secrets finds them in every kind of file and output, and makes the run fail."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.leaks import Secrets, look_into

PASSWORD = "open/sesame of Ali"
TOKEN = f"alice-/CN=Alice-unknown-{'0123456789abcdef' * 2}"


@pytest.fixture
def secrets() -> Secrets:
    known = Secrets()
    known.add(PASSWORD, "a password")
    known.add(TOKEN, "a token")
    return known


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("member", content)
    return file.getvalue()


@pytest.mark.parametrize("secret", [PASSWORD, TOKEN])
@pytest.mark.parametrize(
    "pack",
    [
        lambda text: f"password = {text}\n".encode(),
        lambda text: f"GET /auth?x={quote(text, safe='')}&y=1 HTTP/1.1".encode(),
        lambda text: gzip.compress(text.encode()),
        lambda text: gzip.compress(zipped(bz2.compress(text.encode()))),
        lambda text: zipped(text.encode()),
        lambda text: pickle.dumps({"files": [gzip.compress(text.encode())]}),
        lambda text: json.dumps({"cells": [{"outputs": [{"text": [text]}]}]}).encode(),
    ],
    ids=["file", "url", "gz", "nested", "zip", "pickle", "notebook"],
)
def test_a_secret_is_found_in_every_format(
    tmp_path: Path, secrets: Secrets, secret: str, pack: Callable[[str], bytes]
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "left").write_bytes(pack("nothing"))
    assert list(look_into(tmp_path, secrets)) == []
    (tmp_path / "sub" / "left").write_bytes(pack(secret))
    (leak,) = look_into(tmp_path, secrets)
    assert "left holds a " in leak
    assert secret not in leak


@pytest.mark.parametrize("before", ["", "u:", "us:"])
def test_a_password_is_found_in_base64(tmp_path: Path, secrets: Secrets, before: str) -> None:
    (tmp_path / "left").write_bytes(b"Authorization: Basic " + base64.b64encode(f"{before}{PASSWORD}!".encode()))
    assert len(list(look_into(tmp_path, secrets))) == 1


def test_files_that_may_contain_a_secret_must_be_private(tmp_path: Path, secrets: Secrets) -> None:
    store = tmp_path / "rucio-lab" / "tokens"
    store.mkdir(parents=True)
    kept = store / "0123abcd"
    kept.write_text(TOKEN)
    kept.chmod(0o600)
    store.chmod(0o755)
    assert list(look_into(tmp_path, secrets)) == []
    kept.chmod(0o640)
    assert list(look_into(tmp_path, secrets)) == [f"{kept} (the token store) can be read by others"]
    store.chmod(0o700)
    assert list(look_into(tmp_path, secrets)) == []
    (store / "other").write_text(TOKEN)
    assert list(look_into(tmp_path, secrets)) == [f"{store / 'other'} holds a token"]


LEAKY = """
import logging, subprocess, sys

def test_file(tmp_path): (tmp_path / "left").write_text("{secret}")
def test_print(): print("{secret}")
def test_log(caplog): logging.warning("{secret}")
def test_failure(): assert not "{secret}"
def test_child(): subprocess.run([sys.executable, "-c", "", "{secret}"], check=True)
def test_grandchild():
    code = "import subprocess, sys; subprocess.run(['sh', '-c', 'sleep 1; true', *sys.stdin.read().split()])"
    subprocess.run([sys.executable, "-c", code], input="{secret}", text=True, check=True)
"""


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("secret", ["hush-hush-hush", "harmless"])
def test_a_run_that_leaks_fails(tmp_path: Path, secret: str, workers: int) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests.support.leaks import SECRETS, Watch\n"
        "def pytest_configure(config):\n"
        "    SECRETS.add('hush-hush-hush', 'the one that is hushed')\n"
        "    config.pluginmanager.register(Watch())\n"
    )
    (tmp_path / "test_leaky.py").write_text(LEAKY.replace("{secret}", secret))
    command = [sys.executable, "-m", "pytest", "--rootdir", str(tmp_path), "-p", "no:cacheprovider", str(tmp_path)]
    command += [f"--basetemp={tmp_path / 'base'}", "--deselect", "test_leaky.py::test_failure", f"-n{workers}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    _, found, leaks = done.stdout.partition("secrets that leaked")
    if secret == "harmless":
        assert (done.returncode, found) == (0, ""), done.stdout
        return
    assert done.returncode == 1, done.stdout
    for where in (
        "left holds",
        "test_print holds",
        "test_log holds",
        f"an argument of {sys.executable}",
        "an argument of sh",
    ):
        assert where in leaks, done.stdout
    assert "hush-hush" not in leaks
