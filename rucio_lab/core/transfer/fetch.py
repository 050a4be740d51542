"""Download files: verified before they appear, resumed where they stopped, from the next replica where one breaks.

The data flows one way: `Fetcher` looks at what is there already and at the disk, then brings file after file in a few
threads. Each file is written to a partial file beside its target, which is locked meanwhile and which says in its name
what it is a part of; when its checksum is the one that Rucio has registered, it takes the target's name in one step.
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
from rucio_lab.core.config.instances import Instance
from rucio_lab.core.errors import ConfigurationError, NoSpace, StorageFailed
from rucio_lab.core.model import Replica, ResolvedFile
from rucio_lab.core.private import is_own
from rucio_lab.core.transfer.base_folder import free_bytes
from rucio_lab.core.transfer.folder import Folder, Stamp
from rucio_lab.core.transfer.outcome import Fault, Outcome, Progress
from rucio_lab.core.transfer.places import Place
from rucio_lab.core.transfer.sources import CHUNK, Sources, Stream

TICK = 0.1
"""So often the progress is told, in seconds."""

_ROUNDS = 2  # so often a replica is asked whose failure may pass
_MOST_TRIES = 50  # so often one is asked that breaks off, but each time gives more
_PAUSE = 0.5  # seconds before a replica is asked again
_REMEMBER = 60.0  # seconds for which a server that failed is asked last
_LOCK_TICK = 0.05
_LEAVE = 1.5  # seconds in which reads that are under way are waited for, when all is to end
_MOST_PLANTED = 3  # so often what is in the way of a partial file is removed
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Fetcher:
    """Brings files to this machine.

    Parameters
    ----------
    instance
        Whose files they are.
    wanted
        The files, each with its place below the base; places are different from one another.
    base
        The folder.
    parallel
        How many files at a time.
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
        self._lines = threading.Semaphore(self._parallel)
        self._stopped = threading.Event()
        self._streams: set[Stream] = set()
        self._broken: BaseException | None = None

    def run(self, watch: Callable[[Progress], None] = lambda _: None) -> list[Outcome]:
        """Bring all files; returns when nothing more can be done.

        Parameters
        ----------
        watch
            Is told the progress several times a second, in the calling thread. What it raises ends the transfer, as
            does an interrupt; what came is kept, and the next transfer goes on from it.

        Returns
        -------
        list of Outcome
            One for each file, in the order in which they were given.

        Raises
        ------
        NoSpace
            If the disk is too small, or is full in the middle.
        """
        self._check_disk()
        workers = self._parallel + 1  # one more than lines: while it waits for the disk, the lines are busy
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
        """End it soon: what came is kept."""
        self._stopped.set()
        self._lines.release(self._parallel + 1)  # nobody waits for one any more
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.abort()

    # ---------------------------------------------------------------------------------------- the whole

    def _check_disk(self) -> None:
        """Look before the first byte whether the disk can take what is not there yet."""
        lacking = 0
        for parts, items in _grouped(self._todo):
            try:
                with Folder(self._base, parts) as folder:
                    names = folder.names()  # one question, where a disk over the network would be asked for each file
                    lacking += sum(_lacking(folder, names, file, where[-1]) for file, where in items)
            except ConfigurationError:
                continue  # its files fail, each by itself
        free = free_bytes(self._base)
        if lacking > free:
            raise NoSpace(
                f"{_size(lacking)} are to be downloaded, and {self._base} has room for {_size(free)}.",
                "Free some, or choose another folder with --to or downloads in rucio_lab.toml.",
            )

    def _work(self) -> None:
        while not self._stopped.is_set():
            with self._lock:
                if not self._todo:
                    return
                number, (file, where) = self._todo.popleft()
            try:
                outcome = self._bring(file, where)
            except BaseException as error:  # noqa: BLE001 - of a thread: raised again by run()
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
        """Open a replica when a line is free, so that `stop` can end it."""
        with self._lines:
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

    def _bring(self, file: ResolvedFile, where: Place) -> Outcome:
        """Bring one file, or say why not; what speaks for the whole transfer is raised."""
        path = self._base.joinpath(*where)
        faults: list[Fault] = []
        try:
            folder = self._folders.get(where[:-1])
            arrival = _Arrival(self, folder, file, where[-1])
            state, replica = arrival.bring(faults)
        except ConfigurationError as error:
            return Outcome(file, path, "failed", None, error.message.rstrip("."), tuple(faults))
        except _Hopeless as error:
            return Outcome(file, path, "failed", None, str(error), tuple(faults))
        except OSError as error:
            if error.errno in _FULL:
                raise self._full() from None
            reason = f"it cannot be written to {path}: {error.strerror or error}"
            return Outcome(file, path, "failed", None, reason, tuple(faults))
        return Outcome(file, path, state, replica, "", tuple(faults))

    def _full(self) -> NoSpace:
        done, free = self.progress.files_done, free_bytes(self._base)
        return NoSpace(
            f"The disk of {self._base} is full ({_size(free)} left): {done:,} of {self.progress.files:,} files came.",
            "Free some and ask again: what came is kept.",
        )


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"


def _grouped(
    todo: Iterable[tuple[int, tuple[ResolvedFile, Place]]],
) -> Iterable[tuple[Place, list[tuple[ResolvedFile, Place]]]]:
    groups: dict[Place, list[tuple[ResolvedFile, Place]]] = {}
    for _, (file, where) in todo:
        groups.setdefault(where[:-1], []).append((file, where))
    return groups.items()


def _lacking(folder: Folder, names: frozenset[str], file: ResolvedFile, name: str) -> int:
    """Say how many bytes of a file are not there, by the sizes alone."""
    part = folder.partial_name(name, file.bytes, Checksum(file).expected)
    status, partial = (folder.status(each) if each in names else None for each in (name, part))
    if status is not None and status.st_size == file.bytes:
        return 0
    return max(0, file.bytes - (partial.st_size if partial else 0))


class _Folders:
    """The folders of the files that are under way, each open as long as one of its files is to come."""

    def __init__(self, base: Path, wanted: Iterable[Place]) -> None:
        self._base = base
        self._left = Counter(wanted)
        self._open: dict[Place, Folder] = {}
        self._lock = threading.Lock()

    def get(self, parts: Place) -> Folder:
        with self._lock:
            if parts not in self._open:
                self._open[parts] = Folder(self._base, parts)
            return self._open[parts]

    def done(self, parts: Place) -> None:
        with self._lock:
            self._left[parts] -= 1
            if not self._left[parts] and (folder := self._open.pop(parts, None)):
                folder.__exit__()


@dataclass
class _Servers:
    """Which servers failed lately: they are asked last."""

    failed: dict[str, float] = field(default_factory=dict)

    def order(self, replicas: Iterable[Replica]) -> list[Replica]:
        now = time.monotonic()
        return sorted(replicas, key=lambda replica: now - self.failed.get(replica.endpoint, -_REMEMBER) < _REMEMBER)

    def note(self, replica: Replica) -> None:
        if replica.scheme != "file":
            self.failed[replica.endpoint] = time.monotonic()


class _Hopeless(Exception):  # noqa: N818 - never leaves this module
    """One file cannot be had, and why."""


class _Stopped(Exception):  # noqa: N818 - never leaves this module
    """The transfer is to end."""


class _Arrival:
    """One file on its way."""

    def __init__(self, fetcher: Fetcher, folder: Folder, file: ResolvedFile, name: str) -> None:
        self._fetcher = fetcher
        self._folder = folder
        self._file = file
        self._name = name
        self._checksum = Checksum(file)
        self._part = folder.partial_name(name, file.bytes, self._checksum.expected)
        self._at = self._began = 0

    def bring(self, faults: list[Fault]) -> tuple[Literal["there", "fetched", "stopped"], Replica | None]:
        """Bring it, unless it is there."""
        try:
            if self._is_there():
                return "there", None
            with self._own_part() as part:
                if part is None:
                    return "there", None
                return "fetched", self._fetch(part, faults)
        except _Stopped:
            return "stopped", None

    # ---------------------------------------------------------------------------------------- what is there

    def _is_there(self) -> bool:
        """Whether the file is there and right: by its stamp, else by reading it."""
        status = self._folder.status(self._name)
        if status is None:
            return False
        path = self._folder.path / self._name
        if not stat.S_ISREG(status.st_mode):
            raise _Hopeless(f"{path} is there, and is no plain file")
        stamp = self._folder.stamp(self._name, status)
        trusted = stamp == Stamp.of(status, self._checksum.expected)
        if status.st_size == self._file.bytes and (trusted or self._is_right()):
            self._fetcher._count(self._file.bytes)
            return True
        if stamp is None:
            raise _Hopeless(f"{path} is there, is another file, and was not downloaded by us")
        return False  # ours, and changed since, or registered anew: replaced

    def _is_right(self) -> bool:
        checksum = Checksum(self._file)
        with os.fdopen(self._folder.open(self._name, os.O_RDONLY), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())  # before the first byte: who changes one now also changes the stamp's time
            self._read(file.fileno(), checksum)
        if checksum.found != checksum.expected:
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
            if size > self._file.bytes:  # somebody goes on to write to it
                break
        return size

    def _check_stopped(self) -> None:
        if self._fetcher._stopped.is_set():
            raise _Stopped

    # ---------------------------------------------------------------------------------------- the partial file

    @contextmanager
    def _own_part(self) -> Iterator[int | None]:
        """Hold the partial file, which nobody else writes to then; None if another process brought the file meanwhile.

        The lock is on the partial file itself: it goes with the process that holds it, and leaves nothing behind.
        """
        while True:
            fd = self._open_part()
            try:
                self._wait_for_lock(fd)
                mine, there = os.fstat(fd), self._folder.status(self._part)
                if there is None or (there.st_ino, there.st_dev) != (mine.st_ino, mine.st_dev):
                    if self._is_there():  # who held it is done
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
                    fcntl.flock(fd, fcntl.LOCK_UN)  # a process that was forked meanwhile would hold it on
                os.close(fd)

    def _open_part(self) -> int:
        """Open the partial file, or make it; what others put in its place is removed.

        Who has it open for writing could change it when it has been verified, and who has another name of it, too.
        """
        for _ in range(_MOST_PLANTED):
            try:
                fd = self._folder.open(self._part, os.O_RDWR | os.O_CREAT)
            except (FileExistsError, PermissionError):
                if self._folder.status(self._part) is None:  # it is the folder that may not be written to
                    raise
            else:
                status = os.fstat(fd)
                if self._folder.made_by_us(status) and status.st_nlink <= 1:
                    return fd
                os.close(fd)
            with suppress(PermissionError):
                self._folder.remove(self._part)
        raise _Hopeless(f"{self._folder.path / self._part} is in the way, and is somebody else's")

    def _wait_for_lock(self, fd: int) -> None:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._check_stopped()
                time.sleep(_LOCK_TICK)
            except OSError as error:
                raise _Hopeless(f"the disk of {self._folder.path} has no file locks ({error.strerror})") from None
            else:
                return

    def _restart(self, part: int) -> None:
        os.ftruncate(part, 0)
        os.lseek(part, 0, os.SEEK_SET)
        self._fetcher._count(-self._at)
        self._at, self._checksum = 0, Checksum(self._file)

    # ---------------------------------------------------------------------------------------- the bytes

    def _fetch(self, part: int, faults: list[Fault]) -> Replica | None:
        """Fill the partial file from the replicas, in turn, until it is whole and right."""
        self._resume(part)
        source: Replica | None = None
        waiting = deque((replica, 1) for replica in self._fetcher._servers.order(self._file.replicas))
        while True:
            if self._at == self._file.bytes:
                if self._checksum.found == self._checksum.expected:
                    self._publish(part)
                    return source
                if source is not None and self._began == 0:
                    faults.append(Fault(source.rse, f"{_where(source)} {self._wrong_bytes()}"))
                elif source is not None:  # parts of several: whose are wrong is not known, so it is asked for all
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
                went_on = self._at - self._began >= CHUNK
                if (went_on or error.concerns == "server") and tries < (_MOST_TRIES if went_on else _ROUNDS):
                    waiting.append((replica, tries + 1))

    def _resume(self, part: int) -> None:
        """Take up what an earlier transfer left, by reading it again."""
        size = os.fstat(part).st_size
        if size > self._file.bytes:
            os.ftruncate(part, 0)
        elif size:
            self._at = self._read(part, self._checksum)
            self._fetcher._count(self._at)

    def _take(self, part: int, replica: Replica, tries: int, *, last: bool) -> None:
        """Write what one replica gives, from where the partial file ends."""
        fetcher = self._fetcher
        self._began = self._at
        if tries > 1 and fetcher._stopped.wait(_PAUSE):
            raise _Stopped
        settings = fetcher._instance.storage
        with fetcher._stream(self._file, replica, self._at, settings.patience if last else settings.timeout) as stream:
            if stream.start != self._at:
                self._restart(part)
                self._began = 0
            while some := stream.read():
                self._check_stopped()
                if self._at + len(some) > self._file.bytes:
                    raise StorageFailed(f"has more than the {self._file.bytes:,} bytes that Rucio has registered")
                _write(part, some)
                self._checksum.update(some)
                self._at += len(some)
                fetcher._count(len(some), fetched=True)
        if self._at < self._file.bytes:
            words = f"broke off after {self._at:,} of {self._file.bytes:,} bytes"
            raise StorageFailed(words, concerns="server")

    def _wrong_bytes(self) -> str:
        return f"has wrong bytes: their checksum is {self._checksum.found}, and Rucio has {self._checksum.expected}"

    def _publish(self, part: int) -> None:
        os.fsync(part)  # or the name could be on the disk before the bytes are, when the power fails
        mine = os.fstat(part)
        if self._folder.status(self._name) is None and self._folder.publish(self._part, self._name):
            pass
        elif self._is_there():  # brought by others meanwhile
            self._fetcher._count(-self._file.bytes)
            self._folder.remove(self._part)
            return
        else:
            self._folder.rename(self._part, self._name)
        there = self._folder.status(self._name)
        if there is None or not os.path.samestat(there, mine):
            raise _Hopeless(f"{self._folder.path / self._name} was replaced by somebody else just now")
        self._folder.write_stamp(self._name, Stamp.of(mine, self._checksum.expected))


def _write(fd: int, some: bytes) -> None:
    view = memoryview(some)
    while view:
        view = view[os.write(fd, view) :]


def _where(replica: Replica) -> str:
    return replica.endpoint if "://" in replica.url else replica.url


def _why(faults: Iterable[Fault]) -> str:
    return "; ".join(dict.fromkeys(map(str, faults))) or "Rucio has no replica of it that can be read from here"
