"""Addresses of IPv6, locales without UTF-8, and warnings as errors, along the main paths."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import pytest

from rucio_lab import attach, download
from rucio_lab.core.reading import probe
from tests.lake.hostile import CONTAINER, CONTENT, FILES, RSE, SCOPE, HostileRucio, hostile_rucio, stream
from tests.lake.lake import FullLake

DID = f"{SCOPE}:{CONTAINER}"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **environment}
    )


# ------------------------------------------------------------------------------------------------ IPv6


@pytest.mark.parametrize("from_rucio_cfg", [True, False])
def test_rucio_and_storage_at_an_address_of_ipv6(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_rucio_cfg: bool
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "*")
    probe.forget()
    with hostile_rucio("::1") as rucio:
        if from_rucio_cfg:
            monkeypatch.delenv("RUCIO_LAB_CONFIG", raising=False)
            lines = (
                f"rucio_host = {rucio.url}",
                f"auth_host = {rucio.url}",
                "auth_type = userpass",
                "username = alice",
            )
            (tmp_path / "rucio.cfg").write_text("\n".join(["[client]", *lines]))
            monkeypatch.setenv("RUCIO_CONFIG", str(tmp_path / "rucio.cfg"))
            name = f"[::1]:{rucio.server_port}"
            rucio.instance(name=name, rucio_cfg=str(tmp_path / "rucio.cfg"))  # signs in
        else:
            monkeypatch.setenv("RUCIO_LAB_CONFIG", str(rucio.config(tmp_path / "rucio_lab.toml")))
        with pytest.warns(UserWarning, match="fsspec takes a plain URL with :: for two addresses"):
            files = attach(DID)
        for address in (files[0], attach(DID, access="lake")[0]):
            with fsspec.open(address) as file:
                assert file.read() == CONTENT
        assert attach(DID, access="stream", instance=f"[::1]:{rucio.server_port}")[0] == f"{rucio.url}/storage/f0.root"
        assert [Path(path).read_bytes() for path in download(DID, to=tmp_path / "to")] == [CONTENT] * FILES


# ------------------------------------------------------------------------------------------------ locales

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def rows_of(rucio: HostileRucio, name: str, **change: Any) -> list[dict[str, Any]]:
    """Give the one row for a file, with a different name or other values."""
    row = rucio.rows()["/replicas/list"][0]
    return [{**row, "name": name, **change}]


def test_a_name_that_is_not_ascii_in_an_ascii_locale(hostile: HostileRucio) -> None:
    name, quoted = "caf\u00e9", "caf%C3%A9"
    about = {"scope": SCOPE, "name": name, "type": "FILE", "bytes": len(CONTENT), "adler32": "0aff020e"}
    hostile.replies[f"/dids/{SCOPE}/{quoted}"] = stream([about])
    address = f"root://127.0.0.1:{hostile.server_port}//{name}"
    about = next(iter(rows_of(hostile, name)[0]["pfns"].values()))
    hostile.replies["/replicas/list"] = stream(rows_of(hostile, name, pfns={address: about}, rses={RSE: [address]}))
    done = run("-m", "rucio_lab.cli", "resolve", f"{SCOPE}:{name}", "--access", "lake", **ASCII)
    assert (done.stdout, done.returncode) == (f"rucio://evil/{SCOPE}/{quoted}\n", 0), done.stderr
    done = run("-m", "rucio_lab.cli", "resolve", f"{SCOPE}:na{name}", **ASCII)
    assert (done.stdout, done.returncode) == ("", 1)
    assert r"s:nacaf\xe9" in done.stderr


# ------------------------------------------------------------------------------------------------ warnings as errors


def test_a_failover_is_no_failure_where_warnings_are_errors(hostile: HostileRucio, tmp_path: Path) -> None:
    rows = hostile.rows()["/replicas/list"]
    for row in rows:
        ((good, about),) = row["pfns"].items()
        bad = f"{hostile.url}/missing/{row['name']}"
        row["pfns"] = {bad: {**about, "rse": "BAD", "priority": 1}, good: {**about, "priority": 2}}
        row["rses"] = {"BAD": [bad], RSE: [good]}
        row["states"] = {"BAD": "AVAILABLE", RSE: "AVAILABLE"}
    hostile.replies["/replicas/list"] = stream(rows)
    code = f"""
import fsspec
from rucio_lab import attach, download
files = attach({DID!r}, access="lake")
with fsspec.open(files[0]) as file:
    print(file.read())
print(len(attach({DID!r})), len(download({DID!r}, to={str(tmp_path)!r})))
"""
    done = run("-W", "error", "-c", code)
    assert (done.stdout, done.returncode) == (f"{CONTENT!r}\n{FILES} {FILES}\n", 0), done.stderr
    assert "Reading continues from" in done.stderr


@pytest.mark.parametrize("scheme", ["https", "root"])
def test_the_main_paths_warn_of_nothing(lake: FullLake, tmp_path: Path, scheme: str) -> None:
    code = f"""
import fsspec, uproot
from rucio_lab import attach, download, ls, search
did = "opendata13TeV:GamGam.Data"
files = attach(did, scheme={scheme!r}, limit=2)
with uproot.open(files[0] + ":mini") as tree:
    print(tree.num_entries)
with fsspec.open("rucio://test/" + str(files[0].did).replace(":", "/")) as file:
    print(file.read(4))
print(len(download(did, scheme={scheme!r}, limit=2, to={str(tmp_path)!r})), len(ls(did)), len(search(did + "*")))
"""
    done = run("-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "b'root'" in done.stdout
