"""Resolved files and resolutions, made up."""

from __future__ import annotations

from dataclasses import replace

from rucio_lab.core.did import DID
from rucio_lab.core.model import LeftOut, Replica, Request, Resolution, ResolvedFile


def file(
    name: str, *datasets: str, url: str = "", rse: str = "CERN-EOS", left_out: tuple[LeftOut, ...] = ()
) -> ResolvedFile:
    replica = Replica(rse, url or f"root://eos.example:1094//eos/{name}", domain="wan")
    reserve = Replica("TRIUMF", f"https://triumf.example/{name}")
    parents = tuple(DID("s", dataset) for dataset in datasets)
    return ResolvedFile(DID("s", name), parents, 1_500_000, "0a1b2c3d", (replica, reserve), left_out)


def answer(*files: ResolvedFile, **changes: object) -> Resolution:
    resolution = Resolution(Request(("s:c",), "demo"), files, total=len(files))
    return replace(resolution, **changes)
