"""Put files of any content on storages of the test lake, and register whatever Rucio should think of them."""

from __future__ import annotations

import zlib
from typing import Any
from uuid import uuid4

from tests.lake.lake import FullLake, quoted

SCOPE = "opendata13TeV"


def put(lake: FullLake, content: bytes, *rses: str, name: str = "", **sums: str | None) -> str:
    """Create a file on some RSEs and register it.

    Parameters
    ----------
    lake
        The lake.
    content
        Its bytes.
    rses
        The RSEs.
    name
        Its name; a new one by default.
    sums
        The checksums to register: ``adler32``, ``md5``; None for none. By default the right adler32.

    Returns
    -------
    str
        The name.
    """
    name = name or f"put.{uuid4().hex[:8]}"
    for rse in rses:
        write(lake, rse, name, content)
        lake.rest("POST", "/replicas", json={"rse": rse, "files": [registered(name, content, **sums)]})
    return name


def registered(name: str, content: bytes, **sums: str | None) -> dict[str, Any]:
    """Describe a file as Rucio's REST interface takes it."""
    known = sums or {"adler32": f"{zlib.adler32(content):08x}"}
    return {
        "scope": SCOPE,
        "name": name,
        "bytes": len(content),
        **{kind: value for kind, value in known.items() if value},
    }


def write(lake: FullLake, rse: str, name: str, content: bytes) -> None:
    """Write the bytes of a replica to its storage."""
    path = lake.path(rse, SCOPE, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def flipped(content: bytes) -> bytes:
    """Change one byte."""
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


def dataset_of(lake: FullLake, *names: str) -> str:
    """Register a new dataset of some files, and give its name."""
    name = f"set.{uuid4().hex[:8]}"
    files = [{"scope": SCOPE, "name": each} for each in names]
    lake.rest("POST", "/dids", json=[{"scope": SCOPE, "name": name, "type": "DATASET", "dids": files}])
    return name


def put_archive(lake: FullLake, packed: bytes, members: dict[str, bytes], *rses: str) -> str:
    """Put a zip archive on some RSEs, and register what is in it.

    Parameters
    ----------
    lake
        The lake.
    packed
        The bytes of the archive.
    members
        Its members as Rucio should know them: name -> bytes.
    rses
        The RSEs.
    """
    archive = put(lake, packed, *rses, name=f"archive.{uuid4().hex[:8]}.zip")
    inside = [registered(name, content) for name, content in members.items()]
    lake.rest("POST", quoted("dids", SCOPE, archive, "dids"), json={"dids": inside})
    return archive
