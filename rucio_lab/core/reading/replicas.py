"""Reading one replica: byte ranges over http(s), root(s) or from a mounted folder, with short time limits.

`open_replica` gives a `Reader`. What goes wrong is a `StorageFailed` that says what happened, and whether it speaks
for the whole server, the credentials, or only this file; nothing here tries another replica.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.model import Replica
from rucio_lab.core.reading.http import HttpReader
from rucio_lab.core.reading.mounts import LocalReader
from rucio_lab.core.reading.reader import Reader
from rucio_lab.core.reading.xrootd_reader import RootReader

if TYPE_CHECKING:
    pass


def open_replica(replica: Replica, instance: Instance, size: int, *, silence: float | None = None) -> Reader:
    """Open a replica for reading.

    Parameters
    ----------
    replica
        What to read.
    instance
        Whose it is; gives the credentials and time limits.
    size
        Of the file in bytes, as registered in Rucio; a replica of another size is refused.
    silence
        How long the storage may be silent, in seconds; by default the instance's time limit.

    Raises
    ------
    StorageFailed
        If it cannot be opened. Over http nothing is asked before the first read.
    """
    limit = silence or instance.storage.timeout
    if replica.scheme in ("http", "https"):
        return HttpReader(replica, instance, size)
    if replica.scheme in ("root", "roots"):
        return RootReader(replica, instance, size, limit)
    return LocalReader(replica, size, limit)
