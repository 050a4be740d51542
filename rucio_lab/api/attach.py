"""Attach the files of DIDs, or download them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Unpack, get_args

from rucio_lab.api.dids import DidLike, did_text, flat, instance_of
from rucio_lab.api.files import FileList, answer_to, folder_of
from rucio_lab.api.options import AttachOptions
from rucio_lab.core.address import did_of
from rucio_lab.core.errors import BadRequest
from rucio_lab.core.model import Access, Request
from rucio_lab.core.notice import notice
from rucio_lab.core.storage.readable_schemes import schemes_of


def attach(
    *dids: DidLike | Iterable[DidLike],
    access: Access | None = None,
    scheme: str | Iterable[str] | None = None,
    rse: str | None = None,
    instance: str | None = None,
    limit: int | None = None,
    allow_missing: bool = False,
) -> FileList:
    """Make the files of some DIDs usable. Downloads them only if asked to, and never asks for a password.

    Parameters
    ----------
    dids
        Files, datasets and containers: as ``scope:name``, where the name may contain the wildcard ``*``, or what
        `search` and `ls` return.
    access
        ``stream`` gives URLs, ``mount`` paths on mounted RSEs, ``lake`` addresses (``rucio://``) that are resolved when
        they are opened and survive a dead replica, ``auto`` whichever is best. ``download`` downloads the files, as
        `download` does, and gives their paths. The default is the instance's, or else ``auto``.
    scheme
        The only schemes to use, best first, for example ``"https"`` or ``"root,https"``; the default is the instance's.
    rse
        RSE expression that limits the replicas.
    instance
        Name or host of a Rucio instance. The default is the one in which `search` or `ls` found the DIDs, or else the
        default instance.
    limit
        The largest number of files; the first by scope and name are taken.
    allow_missing
        Leave out files that cannot be read from here, with a warning, instead of raising `FilesUnavailable`.

    Raises
    ------
    RucioLabError
        If anything goes wrong; the class says what, see `rucio_lab.core.errors`.
    """
    files = find_files(
        dids, access=access, scheme=scheme, rse=rse, instance=instance, limit=limit, allow_missing=allow_missing
    )
    return _warn_of_notes(files)


def download(
    *dids: DidLike | Iterable[DidLike],
    to: str | os.PathLike[str] | None = None,
    scheme: str | Iterable[str] | None = None,
    rse: str | None = None,
    instance: str | None = None,
    limit: int | None = None,
    allow_missing: bool = False,
) -> FileList:
    """Download the files of some DIDs, and compare each with its checksum in Rucio.

    Complete files are not downloaded again, and interrupted downloads resume. You can interrupt it (Ctrl-C, the stop
    button) without losing anything.

    Parameters
    ----------
    dids
        Files, datasets and containers: as ``scope:name``, where the name may contain the wildcard ``*``, or what
        `search` and `ls` return.
    to
        Folder to download into; the files become ``DATASET/NAME``. The default is the configured folder (see
        ``rucio-lab downloads``), where they become ``INSTANCE/SCOPE/DATASET/NAME``.
    scheme, rse, instance, limit
        As for `attach`.
    allow_missing
        Leave out files that cannot be downloaded, with a warning, instead of raising `FilesUnavailable` at the end.

    Returns
    -------
    FileList
        The paths, with what Rucio knows about each file.

    Raises
    ------
    FilesUnavailable
        If some files cannot be downloaded. The others are.
    NoSpace
        If the disk is full or too small.
    RucioLabError
        If anything goes wrong; the class says what, see `rucio_lab.core.errors`.
    """
    files = find_files(
        dids,
        access="download",
        to=to,
        scheme=scheme,
        rse=rse,
        instance=instance,
        limit=limit,
        allow_missing=allow_missing,
    )
    return _warn_of_notes(files)


def find_files(dids: Iterable[DidLike | Iterable[DidLike]], **options: Unpack[AttachOptions]) -> FileList:
    """Do the same as `attach` and `download`, but leave the notes to the caller."""
    return FileList(answer_to(_request(dids, **options)))


def _request(dids: Iterable[DidLike | Iterable[DidLike]], **options: Unpack[AttachOptions]) -> Request:
    """Make a request of DIDs and options; whatever is wrong with them is an error before Rucio is asked."""
    given = list(flat(dids))
    texts = tuple(str(did_of(did_text(did))) for did in given)
    access, to = options.get("access"), options.get("to")
    if access is not None and access not in get_args(Access):
        raise BadRequest(f"There is no access {access!r}.", f"It is one of {', '.join(get_args(Access))}.")
    return Request(
        dids=texts,
        instance=instance_of(given, options.get("instance")) or "",
        access=access or "",
        schemes=schemes_of(options.get("scheme") or ()),
        rse=options.get("rse") or "",
        limit=options.get("limit"),
        allow_missing=options.get("allow_missing", False),
        folder=folder_of(to),
    )


def _warn_of_notes(files: FileList) -> FileList:
    for note in files.notes:
        notice(note, stacklevel=3)
    return files
