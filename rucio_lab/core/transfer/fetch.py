"""Fetch files: verified before they appear, resumed where they stopped, from another replica if one fails.

`Fetcher` checks the disk and which files already exist, then fetches the others in a few threads. Each file is first
written to a partial file next to its target. The partial file is locked meanwhile, and its name says what it is a part
of. When its checksum matches the one registered in Rucio, it is renamed to the target in one step.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rucio_lab.core.checksum import Checksum
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.copies.base_folder import free_bytes
from rucio_lab.core.copies.folder import Folder, Stamp
from rucio_lab.core.copies.places import Place
from rucio_lab.core.errors import ConfigurationError, NoSpace, StorageFailed
from rucio_lab.core.model import Replica, ResolvedFile
from rucio_lab.core.private import is_own
from rucio_lab.core.transfer.outcome import Fault, Outcome, Progress
from rucio_lab.core.transfer.sources import CHUNK, Sources, Stream
from rucio_lab.core.words import count, size

TICK = 0.1
"""Seconds between two calls with the progress."""

_ROUNDS = 2  # tries of a replica whose server failed
_MOST_TRIES = 50  # tries of a replica that breaks off, but gives more each time
_PAUSE = 0.5  # seconds before a replica is tried again
_REMEMBER = 60.0  # seconds for which a server that failed is tried last
_LOCK_TICK = 0.05
_LEAVE = 1.5  # seconds to wait for running reads when the download is stopped
_MOST_PLANTED = 3  # tries to remove what is in the place of a partial file
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Fetcher:
    """Fetches files from storages to this machine.

    Parameters
    ----------
    instance
        The instance of the files.
    wanted
        The files, each with its place below the base. No place occurs twice.
    base
        The folder.
    parallel
        The number of files to fetch at a time.

    Attributes
    ----------
    progress
        The progress.
    without_locks
        Whether a file was fetched to a disk without locks.
    """

    def __init__(
        self, instance: Instance, wanted: Sequence[tuple[ResolvedFile, Place]], base: Path, *, parallel: int
    ) -> None:
        self.progress = Progress(len(wanted), sum(file.bytes for file, _ in wanted))
        self._instance = instance
        self._base = base
        self._parallel = max(1, min(parallel, len(wanted)))
        self._folders = _Folders(base, [where[:-1] for _, where in wanted])
        self._todo = deque(sorted(enumerate(wanted), key=lambda item: item[1][1]))
        self._outcomes: dict[int, Outcome] = {}
        self._sources = Sources(instance, self._parallel)
        self._servers = _Servers()
        self._lock = threading.Lock()
        self._connections = threading.Semaphore(self._parallel)
        self._stopped = threading.Event()
        self._streams: set[Stream] = set()
        self._broken: BaseException | None = None
        self.without_locks = False

    def run(self, watch: Callable[[Progress], None] = lambda _: None) -> list[Outcome]:
        """Fetch all files. Returns when each has been fetched or has failed.

        Parameters
        ----------
        watch
            Is called with the progress several times a second, in the calling thread. If it raises, the download stops
            as after an interrupt: what was fetched is kept, and the next download continues from it.

        Returns
        -------
        list of Outcome
            One for each file, in the given order.

        Raises
        ------
        NoSpace
            If the disk is too small, or becomes full.
        """
        self._check_disk()
        workers = self._parallel + 1  # one more than connections, to keep these busy while a thread waits for the disk
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                watch(self.progress)
                threads[0].join(TICK)
                threads = [thread for thread in threads if thread.is_alive()] or threads
            watch(self.progress)
        except BaseException:
            self.stop()
            until = time.monotonic() + _LEAVE
            for thread in threads:
                thread.join(max(0.0, until - time.monotonic()))
            raise
        finally:
            self._sources.close()
        if self._broken is not None:
            raise self._broken
        return [self._outcomes[number] for number in sorted(self._outcomes)]

    def stop(self) -> None:
        """Stop the download soon; what was fetched is kept."""
        self._stopped.set()
        self._connections.release(self._parallel + 1)  # no thread may wait for one any longer
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.abort()

    # ---------------------------------------------------------------------------------------- all files

    def _check_disk(self) -> None:
        """Check that the disk has room for all that is to be fetched, before fetching anything."""
        lacking = 0
        for parts, items in _grouped(self._todo):
            try:
                with Folder(self._base, parts) as folder:
                    names = folder.names()  # one request, instead of one for each file, which is slow on a network disk
                    lacking += sum(_lacking(folder, names, file, where[-1]) for file, where in items)
            except ConfigurationError:
                continue  # each of its files will fail with this error
        free = free_bytes(self._base)
        if lacking > free:
            raise NoSpace(
                f"The download needs {size(lacking)}, and {self._base} has room for {size(free)}.",
                "Free some space, or choose another folder with --to or downloads in rucio_lab.toml.",
            )

    def _work(self) -> None:
        while not self._stopped.is_set():
            with self._lock:
                if not self._todo:
                    return
                number, (file, where) = self._todo.popleft()
            try:
                outcome = self._fetch_one(file, where)
            except BaseException as error:  # noqa: BLE001 - raised again by run()
                self._broken = self._broken or error
                self.stop()
                return
            finally:
                self._folders.done(where[:-1])
            with self._lock:
                self._outcomes[number] = outcome
                self.progress.files_done += outcome.state in ("there", "fetched")
                self.progress.files_failed += outcome.state == "failed"

    @contextmanager
    def _stream(self, file: ResolvedFile, replica: Replica, offset: int, silence: float) -> Iterator[Stream]:
        """Open a replica when a connection is free. `stop` can end the stream."""
        with self._connections:
            if self._stopped.is_set():
                raise _Stopped
            stream = self._sources.open(file, replica, offset, silence)
            with self._lock:
                self._streams.add(stream)
            try:
                yield stream
            finally:
                with self._lock:
                    self._streams.discard(stream)
                stream.close()

    def _count(self, more: int, *, fetched: bool = False) -> None:
        with self._lock:
            self.progress.bytes_done += more
            self.progress.fetched += more if fetched else 0

    # ---------------------------------------------------------------------------------------- one file

    def _fetch_one(self, file: ResolvedFile, where: Place) -> Outcome:
        """Fetch one file, or say why it failed. Raises only what ends the whole download."""
        path = self._base.joinpath(*where)
        faults: list[Fault] = []
        try:
            folder = self._folders.get(where[:-1])
            arrival = _Arrival(self, folder, file, where[-1])
            state, replica = arrival.fetch(faults)
        except ConfigurationError as error:
            return Outcome(file, path, "failed", None, error.message.rstrip("."), tuple(faults))
        except _Hopeless as error:
            return Outcome(file, path, "failed", None, str(error), tuple(faults))
        except OSError as error:
            if error.errno in _FULL:
                raise self._full() from None
            reason = f"{path} cannot be written: {error.strerror or error}"
            return Outcome(file, path, "failed", None, reason, tuple(faults))
        return Outcome(file, path, state, replica, "", tuple(faults))

    def _full(self) -> NoSpace:
        share = f"{self.progress.files_done:,} of {count(self.progress.files, 'file')}"
        return NoSpace(
            f"The disk of {self._base} is full ({size(free_bytes(self._base))} left) after {share}.",
            "Free some space and download again: what was fetched is kept.",
        )


def _grouped(
    todo: Iterable[tuple[int, tuple[ResolvedFile, Place]]],
) -> Iterable[tuple[Place, list[tuple[ResolvedFile, Place]]]]:
    groups: dict[Place, list[tuple[ResolvedFile, Place]]] = {}
    for _, (file, where) in todo:
        groups.setdefault(where[:-1], []).append((file, where))
    return groups.items()


def _lacking(folder: Folder, names: frozenset[str], file: ResolvedFile, name: str) -> int:
    """Give the number of bytes of a file that are missing, judging by the sizes only."""
    part = folder.partial_name(name, file.bytes, Checksum(file.adler32, file.md5).expected)
    status, partial = (folder.status(each) if each in names else None for each in (name, part))
    if status is not None and status.st_size == file.bytes:
        return 0
    return max(0, file.bytes - (partial.st_size if partial else 0))


class _Folders:
    """The folders of the files, each kept open until all its files are done."""

    def __init__(self, base: Path, wanted: Iterable[Place]) -> None:
        self._base = base
        self._left = Counter(wanted)
        self._open: dict[Place, Folder] = {}
        self._lock = threading.Lock()

    def get(self, parts: Place) -> Folder:
        with self._lock:
            if parts not in self._open:
                folder = self._open[parts] = Folder(self._base, parts)
                if not folder.has_locks:
                    folder.remove_abandoned()
            return self._open[parts]

    def done(self, parts: Place) -> None:
        with self._lock:
            self._left[parts] -= 1
            if not self._left[parts] and (folder := self._open.pop(parts, None)):
                folder.__exit__()


@dataclass
class _Servers:
    """Which servers failed lately: they are tried last."""

    failed: dict[str, float] = field(default_factory=dict)

    def order(self, replicas: Iterable[Replica]) -> list[Replica]:
        now = time.monotonic()
        return sorted(replicas, key=lambda replica: now - self.failed.get(replica.endpoint, -_REMEMBER) < _REMEMBER)

    def note(self, replica: Replica) -> None:
        if replica.scheme != "file":
            self.failed[replica.endpoint] = time.monotonic()


class _Hopeless(Exception):  # noqa: N818 - never leaves this module
    """A file cannot be fetched; the text says why."""


class _Stopped(Exception):  # noqa: N818 - never leaves this module
    """The download is being stopped."""


class _Arrival:
    """One file that is being fetched."""

    def __init__(self, fetcher: Fetcher, folder: Folder, file: ResolvedFile, name: str) -> None:
        self._fetcher = fetcher
        self._folder = folder
        self._file = file
        self._name = name
        self._checksum = Checksum(file.adler32, file.md5)
        self._part = folder.partial_name(name, file.bytes, self._checksum.expected)
        self._at = self._began = 0
        self._waited = 0.0  # seconds, for busy storages
        self._not_before: dict[Replica, float] = {}  # busy storages: the time when they may be asked again

    def fetch(self, faults: list[Fault]) -> tuple[Literal["there", "fetched", "stopped"], Replica | None]:
        """Fetch the file, unless it exists."""
        try:
            if self._is_there():
                return "there", None
            with self._own_part() if self._folder.has_locks else self._part_without_lock() as part:
                if part is None:
                    return "there", None
                return "fetched", self._fill(part, faults)
        except _Stopped:
            return "stopped", None

    # ---------------------------------------------------------------------------------------- the target

    def _is_there(self) -> bool:
        """Whether the file exists and is correct, by its stamp or else by reading it."""
        status = self._folder.status(self._name)
        if status is None:
            return False
        path = self._folder.path / self._name
        if not stat.S_ISREG(status.st_mode):
            raise _Hopeless(f"{path} exists and is not a regular file")
        stamp = self._folder.stamp(self._name, status)
        trusted = self._folder.is_verified(self._name, stamp, self._file.bytes, self._checksum.expected)
        if trusted or (status.st_size == self._file.bytes and self._is_correct()):
            self._fetcher._count(self._file.bytes)
            return True
        if stamp is None:
            raise _Hopeless(f"{path} exists, is another file, and was not downloaded by rucio-lab")
        return False  # our own, but it changed, or its checksum in Rucio did: replace it

    def _is_correct(self) -> bool:
        checksum = self._new_checksum()
        with os.fdopen(self._folder.open(self._name, os.O_RDONLY), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())  # before reading: a change from now on will differ from the stamp
            self._read(file.fileno(), checksum)
        if checksum.fault:
            return False
        if is_own(status):
            self._folder.write_stamp(self._name, Stamp.of(status, checksum.expected))
        return True

    def _read(self, fd: int, checksum: Checksum) -> int:
        size = 0
        while some := os.read(fd, CHUNK):
            self._check_stopped()
            checksum.update(some)
            size += len(some)
            if size > self._file.bytes:  # somebody is writing to it
                break
        return size

    def _check_stopped(self) -> None:
        if self._fetcher._stopped.is_set():
            raise _Stopped

    # ---------------------------------------------------------------------------------------- the partial file

    @contextmanager
    def _own_part(self) -> Iterator[int | None]:
        """Lock the partial file, so that nobody else writes to it; None if another process fetched the file meanwhile.

        The lock is on the partial file itself: it ends with the process that holds it, and leaves nothing behind.
        """
        while True:
            fd = self._open_part()
            try:
                self._wait_for_lock(fd)
                mine, there = os.fstat(fd), self._folder.status(self._part)
                if there is None or (there.st_ino, there.st_dev) != (mine.st_ino, mine.st_dev):
                    if self._is_there():  # the process that held the lock has fetched it
                        yield None
                        return
                    continue
                try:
                    yield fd
                finally:
                    if self._at == 0:
                        self._folder.remove(self._part)
                return
            finally:
                with suppress(OSError):
                    fcntl.flock(fd, fcntl.LOCK_UN)  # or a process that was forked meanwhile would keep it
                os.close(fd)

    @contextmanager
    def _part_without_lock(self) -> Iterator[int]:
        """Use a partial file of this download alone, because the disk has no locks.

        So two downloads of the same file never write to the same partial file. When a download stops, it gives its
        partial file a free name; the next one continues it if it is the first to rename it.
        """
        self._fetcher.without_locks = True
        self._part, free = self._folder.partial_names_without_locks(self._part)
        with suppress(FileNotFoundError):
            self._folder.rename(free, self._part)
        fd = self._open_part()
        try:
            yield fd
        finally:
            os.close(fd)
            if self._at == 0:
                self._folder.remove(self._part)
            with suppress(FileNotFoundError):  # it was published
                self._folder.rename(self._part, free)

    def _open_part(self) -> int:
        """Open or create the partial file. What others put in its place is removed.

        Otherwise somebody who has it open for writing, or has a hard link to it, could change it after it was verified.
        """
        for _ in range(_MOST_PLANTED):
            try:
                fd = self._folder.open(self._part, os.O_RDWR | os.O_CREAT)
            except (FileExistsError, PermissionError):
                if self._folder.status(self._part) is None:  # it is the folder that is not writable
                    raise
            else:
                status = os.fstat(fd)
                if self._folder.made_by_us(status) and status.st_nlink <= 1:
                    return fd
                os.close(fd)
            with suppress(PermissionError):
                self._folder.remove(self._part)
        raise _Hopeless(f"{self._folder.path / self._part} belongs to somebody else and cannot be replaced")

    def _wait_for_lock(self, fd: int) -> None:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._check_stopped()
                time.sleep(_LOCK_TICK)
            else:
                return

    def _new_checksum(self) -> Checksum:
        return Checksum(self._file.adler32, self._file.md5)

    def _restart(self, part: int) -> None:
        os.ftruncate(part, 0)
        os.lseek(part, 0, os.SEEK_SET)
        self._fetcher._count(-self._at)
        self._at, self._checksum = 0, self._new_checksum()

    # ---------------------------------------------------------------------------------------- the bytes

    def _fill(self, part: int, faults: list[Fault]) -> Replica | None:
        """Fill the partial file from one replica after another, until it is complete and correct."""
        self._resume(part)
        source: Replica | None = None
        waiting = deque((replica, 1) for replica in self._fetcher._servers.order(self._file.replicas))
        while True:
            if self._at == self._file.bytes:
                if not self._checksum.fault:
                    self._publish(part)
                    return source
                if source is not None and self._began == 0:
                    faults.append(Fault(source.rse, f"{_where(source)} {self._checksum.fault}"))
                elif source is not None:  # the wrong bytes may be another replica's: ask this one for all
                    waiting.append((source, 1))
                self._restart(part)
            if not waiting:
                raise _Hopeless(_why(faults))
            replica, tries = waiting.popleft()
            try:
                self._take(part, replica, tries, last=not waiting)
                source = replica
            except StorageFailed as error:
                self._check_stopped()
                faults.append(Fault(replica.rse, f"{_where(replica)} {error.message}", error.concerns))
                if error.concerns == "server":
                    self._fetcher._servers.note(replica)
                if again := self._next_try(replica, tries, error):
                    waiting.append((replica, again))

    def _next_try(self, replica: Replica, tries: int, error: StorageFailed) -> int:
        """Give the number of the next try of a replica that failed; 0 if there is none."""
        if error.retry_after:  # it is busy
            self._not_before[replica] = time.monotonic() + error.retry_after
            return tries if self._waited + error.retry_after <= self._fetcher._instance.storage.patience else 0
        gave_more = self._at - self._began >= CHUNK
        again = gave_more or error.concerns == "server"
        return tries + 1 if again and tries < (_MOST_TRIES if gave_more else _ROUNDS) else 0

    def _resume(self, part: int) -> None:
        """Continue the partial file of an earlier download; it is read again for its checksum."""
        size = os.fstat(part).st_size
        if size > self._file.bytes:
            os.ftruncate(part, 0)
        elif size:
            self._at = self._read(part, self._checksum)
            self._fetcher._count(self._at)

    def _take(self, part: int, replica: Replica, tries: int, *, last: bool) -> None:
        """Append what one replica gives to the partial file."""
        fetcher = self._fetcher
        self._began = self._at
        pause = max(_PAUSE if tries > 1 else 0, self._not_before.pop(replica, 0) - time.monotonic())
        if pause > 0:
            self._waited += pause
            if fetcher._stopped.wait(pause):
                raise _Stopped
        settings = fetcher._instance.storage
        with fetcher._stream(self._file, replica, self._at, settings.patience if last else settings.timeout) as stream:
            if stream.start != self._at:
                self._restart(part)
                self._began = 0
            while some := stream.read():
                self._check_stopped()
                if self._at + len(some) > self._file.bytes:
                    raise StorageFailed(f"has more than the {self._file.bytes:,} bytes registered in Rucio")
                _write(part, some)
                self._checksum.update(some)
                self._at += len(some)
                fetcher._count(len(some), fetched=True)
        if self._at < self._file.bytes:
            words = f"broke off after {self._at:,} of {self._file.bytes:,} bytes"
            raise StorageFailed(words, concerns="server")

    def _publish(self, part: int) -> None:
        os.fsync(part)  # or after a power failure the name could be on the disk without the bytes
        mine = os.fstat(part)
        if self._folder.status(self._name) is None and self._folder.publish(self._part, self._name):
            pass
        elif self._is_there():  # another process fetched it meanwhile
            self._fetcher._count(-self._file.bytes)
            self._folder.remove(self._part)
            return
        else:
            self._folder.rename(self._part, self._name)
        there = self._folder.status(self._name)
        if there is None or not os.path.samestat(there, mine):
            raise _Hopeless(f"{self._folder.path / self._name} was just replaced by somebody else")
        self._folder.write_stamp(self._name, Stamp.of(mine, self._checksum.expected))


def _write(fd: int, some: bytes) -> None:
    view = memoryview(some)
    while view:
        view = view[os.write(fd, view) :]


def _where(replica: Replica) -> str:
    return replica.endpoint if "://" in replica.url else replica.url


def _why(faults: Iterable[Fault]) -> str:
    return "; ".join(dict.fromkeys(map(str, faults))) or "Rucio has no replica of it that can be read from here"
