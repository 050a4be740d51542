"""Signatures in addresses never appear in logs, errors or warnings."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from rucio_lab import attach, download
from rucio_lab.core.errors import RucioLabError
from rucio_lab.core.jobs.registry import Jobs
from rucio_lab.core.model import Request
from rucio_lab.core.reading import probe
from tests.lake.hostile import CONTAINER, CONTENT, FILES, SCOPE, HostileRucio, Reply, hostile_rucio, stream

SIGNATURE = "4f2b9c0d7e"
DID = f"{SCOPE}:{CONTAINER}"


@pytest.fixture
def signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileRucio]:
    """A Rucio that gives signed addresses of replicas."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    with hostile_rucio() as server:
        more = f'[downloads]\nfolder = "{tmp_path / "downloads"}"'
        monkeypatch.setenv("RUCIO_LAB_CONFIG", str(server.config(tmp_path / "rucio_lab.toml", more)))
        rows = server.rows()["/replicas/list"]
        for row in rows:
            row["pfns"] = {f"{url}?X-Amz-Signature={SIGNATURE}": about for url, about in row["pfns"].items()}
        server.replies["/replicas/list"] = stream(rows)
        probe.forget()
        yield server
    probe.forget()


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "aiohttp.client", "aiohttp.internal", "asyncio", "fsspec", "fsspec.http"):
        caplog.set_level(logging.DEBUG, name)
    return caplog


def test_no_log_shows_a_signature(
    signed: HostileRucio, tmp_path: Path, everything_logged: pytest.LogCaptureFixture
) -> None:
    files = attach(DID, access="stream")
    assert all(SIGNATURE in url for url in files)
    with fsspec.open(files[0]) as file:
        assert file.read() == CONTENT
    with fsspec.open(f"rucio://evil/{SCOPE}/f1.root") as file:
        assert file.read() == CONTENT
    assert len(download(DID, to=tmp_path / "to")) == FILES
    assert sum(SIGNATURE in path for path in signed.asked) > 3
    assert "?..." in everything_logged.text
    assert SIGNATURE not in everything_logged.text


@pytest.mark.parametrize("status", [200, 302, 403, 404, 500])
def test_no_error_shows_a_signature(
    signed: HostileRucio, tmp_path: Path, everything_logged: pytest.LogCaptureFixture, status: int
) -> None:
    headers = {"Location": "file:///etc/passwd"} if status == 302 else {}
    signed.replies["/storage/"] = Reply(b"other bytes", status=status, headers=headers)
    said: list[str] = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for ask in (
            lambda: attach(DID, access="stream"),
            lambda: fsspec.open(f"rucio://evil/{SCOPE}/f1.root").open().read(),
            lambda: download(DID, to=tmp_path / "to"),
        ):
            try:
                ask()
            except (RucioLabError, OSError) as error:
                said += [str(error), repr(error)]
    assert len(said) >= 4
    assert SIGNATURE not in "".join([*said, *(str(each.message) for each in warned), everything_logged.text])


def test_no_log_of_a_job_shows_a_signature(signed: HostileRucio) -> None:
    signed.replies["/storage/"] = Reply(b"", status=403)
    jobs = Jobs()
    job = jobs.start(Request((DID,), "evil", "download"))
    end = time.monotonic() + 40
    while (job := jobs.get(job.id)).active:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert job.state == "failed"
    assert "HTTP 403" in jobs.log(job.id)
    assert not [path for path in jobs.folder.rglob("*") if path.is_file() and SIGNATURE in path.read_text()]
