"""Opening one replica: over http(s), root(s) or from a mounted folder, with short time limits.

`open_replica` gives a `Reader`. A failure is a `StorageFailed` that says what happened, and whether it affects the
whole server, the credentials, or only this file. Nothing here tries another replica.
"""

from __future__ import annotations

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.model import Replica
from rucio_lab.core.reading.archive import MemberReader
from rucio_lab.core.reading.http import HttpReader
from rucio_lab.core.reading.mounts import LocalReader
from rucio_lab.core.reading.reader import UNKNOWN, Reader
from rucio_lab.core.reading.xrootd_reader import RootReader


def open_replica(
    replica: Replica, instance: Instance, size: int, *, name: str = "", silence: float | None = None
) -> Reader:
    """Open a replica for reading. If it is in a zip archive, read only the file itself.

    Parameters
    ----------
    replica
        The replica to read.
    instance
        The instance it belongs to, for the credentials and time limits.
    size
        Size of the file in bytes, as registered in Rucio; a replica of a different size is refused.
    name
        Name of the file, by which it is found in an archive.
    silence
        How long the storage may send nothing, in seconds; by default the instance's time limit.

    Raises
    ------
    StorageFailed
        If it cannot be opened. Over http, nothing is requested before the first read.
    """
    limit = silence or instance.storage.timeout
    if replica.domain != "zip":
        return _opened(replica, instance, size, limit)
    return MemberReader(_opened(replica, instance, UNKNOWN, limit), name, size, limit)


def _opened(replica: Replica, instance: Instance, size: int, limit: float) -> Reader:
    if replica.scheme in ("http", "https"):
        return HttpReader(replica, instance, size)
    if replica.scheme in ("root", "roots"):
        return RootReader(replica, instance, size, limit)
    return LocalReader(replica, size, limit)
