"""Files that are being read over ``rucio://``: their replicas, which one is open, and what happens when it fails.

`known_file` asks Rucio once for the replicas of a file and, if the file is in a list that was attached, for those of
the next files in the list. `LakeFile.read` uses the best replica, and continues with the next one if it fails.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from operator import itemgetter
from pathlib import Path

from rucio_lab.core.catalogue import read_ahead
from rucio_lab.core.catalogue.replies import FileReplicas
from rucio_lab.core.checksum import Checksum
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.copies.verified import verified_copies
from rucio_lab.core.did import DID
from rucio_lab.core.errors import FilesUnavailable, NotFound, RucioLabError, StorageFailed
from rucio_lab.core.model import DidInfo, Replica
from rucio_lab.core.notice import notice
from rucio_lab.core.reading import probe
from rucio_lab.core.reading.reader import Reader, Span
from rucio_lab.core.reading.replicas import open_replica
from rucio_lab.core.resolve.choose import readable_replicas
from rucio_lab.core.text import printable

_REMEMBER_BAD = 120.0  # seconds for which a replica that failed is tried after the others
_BLOCK = 16 << 20  # bytes of one read when the whole file is copied
_RESTART = 2.5  # seconds; XRootD's client does not connect again for 2 s to a server that refused (StreamErrorWindow)
_MOST_FILES = 256  # to keep in memory, each with an open replica


class NoSuchDid(NotFound, FileNotFoundError):  # noqa: N818
    """A DID, scope or instance does not exist."""


class NoReplicaLeft(FilesUnavailable, OSError):  # noqa: N818
    """A file cannot be read from any of its replicas."""


class LakeFile:
    """One file, read from any of its replicas that works. It is thread-safe, and created by `known_file`.

    Attributes
    ----------
    did
        The file.
    size
        Size in bytes, as registered in Rucio.
    adler32, md5
        Checksums, as registered in Rucio; None if there are none.
    """

    def __init__(self, instance: Instance, row: FileReplicas) -> None:
        self.did = row.did
        self.size = row.bytes
        self.adler32, self.md5 = row.adler32, row.md5
        self._instance = instance
        self._replicas, self._left_out = readable_replicas(instance, row)
        self._asked = time.monotonic()
        self._bad: dict[str, tuple[str, float]] = {}  # URL -> why, until when
        self._worked: set[Replica] = set()
        self._reader: Reader | None = None
        self._opening = threading.Lock()
        self._not_opened: dict[Replica, tuple[StorageFailed, float, float]] = {}  # why, when, within which time limit
        self._lock = threading.RLock()  # garbage collection can release the file in the thread that has the lock
        self._holds = 0

    def read(self, spans: Sequence[Span]) -> list[bytes]:
        """Read parts of the file, from another replica if one fails.

        Parameters
        ----------
        spans
            The bytes to read, all within the file.

        Raises
        ------
        NoReplicaLeft
            If no replica gives them. The error says why for each of them.
        """
        return [b""] * len(spans) if all(stop <= start for start, stop in spans) else self._read(spans, {})[0]

    def copy(self, write: Callable[[bytes], object], restart: Callable[[], object]) -> None:
        """Read the whole file and compare its checksum, if Rucio has one. A replica with wrong bytes is ruled out.

        Parameters
        ----------
        write
            Takes the bytes, in order.
        restart
            Forgets the bytes that were written so far, because they are wrong.

        Raises
        ------
        NoReplicaLeft
            If no replica gives the right bytes.
        """
        wrong: dict[Replica, StorageFailed] = {}
        news: list[str] = []
        for _ in range(2 * len(self._replicas) + 1):  # after a failover in the middle, nobody knows who was wrong
            checksum, sources = Checksum(self.adler32, self.md5), set()
            for start in range(0, self.size, _BLOCK):
                (block,), source = self._read([(start, min(start + _BLOCK, self.size))], dict(wrong))
                checksum.update(block)
                write(block)
                sources.add(source)
            if not checksum.fault:
                if news:
                    _warn(f"{self.did}: {'; '.join(news)}. It was copied from another replica.")
                return
            if not self.size:
                words = f"{self.did} is empty, but Rucio has registered the checksum {checksum.expected}."
                raise NoReplicaLeft(words, "Tell its owner.")
            if len(sources) == 1:
                (source,) = sources
                wrong[source] = StorageFailed(checksum.fault)
                news += self._note(source, wrong[source])
            restart()
        raise self._unreadable(wrong)

    def _read(self, spans: Sequence[Span], failures: dict[Replica, StorageFailed]) -> tuple[list[bytes], Replica]:
        """Read some parts, and say which replica gave them. The replicas in `failures` are not used."""
        news: list[str] = []
        asked_again = False
        retries = _Retries(self._instance.storage.patience)
        while True:
            replica = self._next(failures) or retries.wait_for(failures, self._worked)
            if replica is None and not asked_again and self._ask_again(failures):
                asked_again = True
                continue
            if replica is None:
                return self._last_chance(spans, failures)
            try:
                parts = self._read_from(replica, spans, self._silence())
            except StorageFailed as error:
                failures[replica] = error
                news += self._note(replica, error)
                continue
            self._worked.add(replica)
            if news and replica not in failures:
                _warn(f"{self.did}: {'; '.join(news)}. Reading continues from {_where(replica)}.")
            return parts, replica

    def hold(self) -> Callable[[], None]:
        """Keep the current replica open until the returned function is called."""
        with self._lock:
            self._holds += 1
        process = os.getpid()

        def release() -> None:
            if os.getpid() != process:  # the replica is its parent's, and no thread may ever release the lock
                return
            with self._lock:
                self._holds -= 1
                if self._holds <= 0:
                    self._reader = None  # it closes when no thread reads from it any longer

        return release

    # ------------------------------------------------------------------------------------ which replica

    def _next(self, failures: dict[Replica, StorageFailed]) -> Replica | None:
        """Choose the replica that is open, or else the best. Those that failed earlier come last."""
        left = [replica for replica in self._replicas if replica not in failures]
        reader = self._reader
        in_use = reader.replica if reader else None
        return min(left, key=lambda replica: (replica != in_use, bool(self._known_bad(replica))), default=None)

    def _known_bad(self, replica: Replica) -> str:
        why, until = self._bad.get(replica.url, ("", 0.0))
        if why and until > time.monotonic():
            return why
        if replica.scheme == "file":
            return ""
        fault = probe.fault_of((replica.rse, replica.endpoint))
        return str(fault or "") or ("failed lately" if probe.is_suspect(replica) else "")

    def _silence(self) -> float:
        """How long a storage may stay silent: not long if there are other replicas."""
        limits = self._instance.storage
        return limits.timeout if len(self._replicas) > 1 else max(limits.timeout, limits.patience)

    def _ask_again(self, failures: dict[Replica, StorageFailed]) -> bool:
        """Ask Rucio again, unless that was just done: replicas move, and signed addresses expire."""
        if time.monotonic() - self._asked < 1:
            return False
        self._asked = time.monotonic()
        try:
            row = read_ahead.ask(self._instance, self.did)
        except RucioLabError:
            return False  # the faults of the known replicas will be reported instead
        if row is None:
            return False
        self._replicas, self._left_out = readable_replicas(self._instance, row)
        return any(replica not in failures for replica in self._replicas)

    def _last_chance(
        self, spans: Sequence[Span], failures: dict[Replica, StorageFailed]
    ) -> tuple[list[bytes], Replica]:
        """Wait longer for a replica that was only slow, or else report why each replica failed."""
        limits = self._instance.storage
        slow = [replica for replica, error in failures.items() if error.slow and limits.patience > self._silence()]
        for replica in slow[:1]:
            try:
                return self._read_from(replica, spans, limits.patience), replica
            except StorageFailed as error:
                failures[replica] = error
        raise self._unreadable(failures)

    def _unreadable(self, failures: dict[Replica, StorageFailed]) -> NoReplicaLeft:
        reasons = [f"{_where(replica)} {error.message}" for replica, error in failures.items()]
        reasons += [f"{left.replica.rse}: {left.reason}" for left in self._left_out]
        why = "; ".join(dict.fromkeys(reasons)) or "Rucio has no replica of it"
        remedies = dict.fromkeys(error.remedy for error in failures.values() if error.remedy)
        return NoReplicaLeft(
            f"{self.did} cannot be read from any of its replicas: {why}.",
            " ".join(remedies) or "Try again later, or ask for a copy elsewhere with a rule.",
            reasons={str(self.did): why},
        )

    # ------------------------------------------------------------------------------------ reading it

    def _read_from(self, replica: Replica, spans: Sequence[Span], silence: float) -> list[bytes]:
        reader = self._opened(replica, silence)
        try:
            return reader.read(spans, silence)
        except StorageFailed:
            with self._lock:
                if self._reader is reader:
                    self._reader = None
            raise

    def _opened(self, replica: Replica, silence: float) -> Reader:
        """Give the open replica. One thread opens it, or fails, for all that wait meanwhile."""
        began = time.monotonic()
        with self._opening:
            reader = self._reader
            if reader is not None and reader.replica == replica:
                return reader
            known = self._not_opened.get(replica)
            if known is not None and known[1] > began and known[2] >= silence:
                raise copy(known[0])
            try:
                self._check_copy(replica)
                reader = open_replica(replica, self._instance, self.size, name=self.did.name, silence=silence)
            except StorageFailed as error:
                self._not_opened[replica] = copy(error), time.monotonic(), silence  # without its traceback
                raise
            self._reader = reader
            return reader

    def _check_copy(self, replica: Replica) -> None:
        """Refuse a copy on this machine that has changed since this file was looked up."""
        if replica.kind == "copy":
            row = FileReplicas(self.did, self.size, self.adler32, (), {}, self.md5)
            if verified_copies(self._instance, [row]).get(self.did) != Path(replica.url):
                raise StorageFailed("has changed since it was verified, or is no longer there")

    def _note(self, replica: Replica, error: StorageFailed) -> list[str]:
        """Remember a failure. Returns its description, unless it was already known."""
        known = bool(self._known_bad(replica))
        lasts = min(error.retry_after or _REMEMBER_BAD, _REMEMBER_BAD)
        self._bad[replica.url] = (error.message, time.monotonic() + lasts)
        if error.concerns == "server" and replica.scheme != "file" and not error.busy:
            known = not probe.suspect(replica, error, self._instance.storage.redirects_to_http) or known
        return [] if known else [f"{_where(replica)} {error.message}"]


class _Retries:
    """Which of the replicas that failed is tried again in the same read, and when.

    Parameters
    ----------
    patience
        How long to wait for busy storages and servers that restart, in seconds.
    """

    def __init__(self, patience: float) -> None:
        self._until = time.monotonic() + patience
        self._tries: Counter[Replica] = Counter()

    def wait_for(self, failures: Mapping[Replica, StorageFailed], worked: Collection[Replica]) -> Replica | None:
        """Wait for the replica that can be tried again first; None if there is no reason to wait for any."""
        waits = {replica: self._wait(replica, error, replica in worked) for replica, error in failures.items()}
        wait, replica = min(
            ((wait, replica) for replica, wait in waits.items() if wait is not None),
            key=itemgetter(0),
            default=(0.0, None),
        )
        if replica is None or (wait and time.monotonic() + wait > self._until):
            return None
        time.sleep(wait)
        self._tries[replica] += 1
        return replica

    def _wait(self, replica: Replica, error: StorageFailed, worked: bool) -> float | None:
        tries = self._tries[replica]
        if error.retry_after is None:
            return None
        if error.busy:
            return error.retry_after
        return 0 if tries == 0 else _RESTART if tries == 1 and worked else None


def _warn(words: str) -> None:
    notice(printable(words), stacklevel=4)


def _where(replica: Replica) -> str:
    if replica.kind == "copy":
        return f"the copy {replica.url}"
    place = replica.url.partition("?")[0] if replica.scheme == "file" else replica.endpoint
    return f"{replica.rse} ({place})"


# ------------------------------------------------------------------------------------------------ files in memory

_Key = tuple[tuple[str, ...], DID]

_files: OrderedDict[_Key, LakeFile] = OrderedDict()
_lock = threading.Lock()
_asking = [threading.Lock() for _ in range(64)]


def known_file(instance: Instance, did: DID) -> LakeFile | None:
    """Give a file with its replicas. Asks Rucio, unless that was done a short time ago.

    Returns
    -------
    LakeFile or None
        None if Rucio has no replica of it: the DID may be a dataset, or may not exist.
    """
    file = in_memory(instance, did)
    if file is not None:
        return file
    key = (instance.key, did)
    with _asking[hash(key) % len(_asking)]:  # of several threads that open a file, only the first asks
        file = in_memory(instance, did)
        if file is not None:
            return file
        row = read_ahead.replicas_of_file(instance, did)
        return _kept(key, LakeFile(instance, row)) if row is not None else None


def in_memory(instance: Instance, did: DID) -> LakeFile | None:
    """Give a file that is being read, or was a short time ago, without asking Rucio; else None."""
    key = (instance.key, did)
    with _lock:
        file = _files.get(key)
        if file is None or file._instance != instance or not (file._holds or read_ahead.is_fresh(file._asked)):
            return None
        _files.move_to_end(key)
        return file


def file_without_replicas(instance: Instance, info: DidInfo) -> LakeFile:
    """Give a file that has no replica. Reading it fails, and the error says so."""
    row = FileReplicas(info.did, info.bytes or 0, info.adler32, (), {}, info.md5)
    return _kept((instance.key, info.did), LakeFile(instance, row))


def _kept(key: _Key, file: LakeFile) -> LakeFile:
    with _lock:
        held = _files.get(key)
        if held is not None and held._instance == file._instance and read_ahead.is_fresh(held._asked):
            return held  # another thread was faster
        _files[key] = file
        while len(_files) > _MOST_FILES:
            _files.popitem(last=False)
        return file


def _after_fork() -> None:
    """Forget all files in a forked child: their open replicas belong to the parent, and must not be touched."""
    global _files, _lock, _asking  # noqa: PLW0603
    _inherited.append(_files)
    _files, _lock = OrderedDict(), threading.Lock()
    _asking = [threading.Lock() for _ in range(64)]


_inherited: list[object] = []

os.register_at_fork(after_in_child=_after_fork)
