"""What a notebook asks of the lake, without magics: attach, download, search, ls, login, logout."""

from __future__ import annotations

import fnmatch
import itertools
import os
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import get_args

from rucio_lab.api.files import FileList, answer_to
from rucio_lab.api.sign_in_page import ask_secret, sign_in_at_page
from rucio_lab.api.tables import html_table, text_table
from rucio_lab.core.catalogue.lake import Lake
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, RucioLabError, SignInNeeded
from rucio_lab.core.identity import oidc
from rucio_lab.core.identity.signing_in import can_renew, sign_in, sign_out
from rucio_lab.core.identity.token_store import SignIn
from rucio_lab.core.identity.voms import make_proxy as new_proxy
from rucio_lab.core.identity.voms import wants_passphrase
from rucio_lab.core.identity.x509 import proxy_path
from rucio_lab.core.model import Access, DidInfo, DIDType, Request
from rucio_lab.core.storage.known_schemes import schemes_of
from rucio_lab.core.storage.shown import StorageFacts, describe
from rucio_lab.core.text import printable
from rucio_lab.core.transfer.base_folder import checked_base
from rucio_lab.core.words import count, several, size

SEARCH_LIMIT = 1000
"""A search stops after so many DIDs, unless it is told otherwise."""


def attach(
    *dids: str | DID,
    access: Access | None = None,
    scheme: str | Sequence[str] | None = None,
    rse: str | None = None,
    instance: str | None = None,
    limit: int | None = None,
    allow_missing: bool = False,
) -> FileList:
    """Make the files of some DIDs usable; downloads them only if told so. Never asks for a password.

    Parameters
    ----------
    dids
        Files, datasets and containers as ``scope:name``; a name may hold the wildcard ``*``.
    access
        ``stream`` gives URLs, ``mount`` paths on mounted RSEs, ``lake`` addresses (``rucio://``) that are resolved when
        they are opened and go on when a replica dies, ``auto`` whichever is best; by default the instance's, else auto.
        ``download`` brings the files to this machine, as `download` does, and gives their paths.
    scheme
        The only schemes to use, best first, for example ``"https"`` or ``"root,https"``; by default the instance's.
    rse
        RSE expression that limits the replicas.
    instance
        Name or host of a Rucio instance; by default the default one.
    limit
        At most so many files, the first by scope and name.
    allow_missing
        Leave out files that cannot be read from here, with a warning, instead of raising `FilesUnavailable`.

    Raises
    ------
    RucioLabError
        Of the kind that says what went wrong; see `rucio_lab.core.errors`.
    """
    files = find_files(
        dids, access=access, scheme=scheme, rse=rse, instance=instance, limit=limit, allow_missing=allow_missing
    )
    for note in files.notes:
        warnings.warn(note, stacklevel=2)
    return files


def find_files(
    dids: Iterable[str | DID],
    *,
    access: Access | None,
    scheme: str | Sequence[str] | None,
    rse: str | None,
    instance: str | None,
    limit: int | None,
    allow_missing: bool,
    to: str | os.PathLike[str] | None = None,
) -> FileList:
    """Do what `attach` and `download` do, and leave the notes to the caller."""
    for did in dids:
        if not isinstance(did, str | DID):
            raise BadRequest(f"{did!r} is no DID.", "Give each DID as text of its own: attach('scope:a', 'scope:b').")
        DID.parse(str(did))  # what is malformed is refused before anybody is asked
    if not dids:
        raise BadRequest("No DID was given.", "Name one or more, for example opendata13TeV:GamGam.")
    if access is not None and access not in get_args(Access):
        raise BadRequest(f"There is no access {access!r}.", f"It is one of {', '.join(get_args(Access))}.")
    if limit is not None and limit < 1:
        raise BadRequest(f"A limit of {limit} leaves no file.", "Give 1 or more.")
    request = Request(
        dids=tuple(map(str, dids)),
        instance=instance or "",
        access=access or "",
        schemes=schemes_of(scheme or ()),
        rse=rse or "",
        limit=limit,
        allow_missing=allow_missing,
        folder=os.fspath(checked_base(os.fspath(to))) if to is not None else "",
    )
    return FileList(answer_to(request))


def download(
    *dids: str | DID,
    to: str | os.PathLike[str] | None = None,
    scheme: str | Sequence[str] | None = None,
    rse: str | None = None,
    instance: str | None = None,
    limit: int | None = None,
    allow_missing: bool = False,
) -> FileList:
    """Bring the files of some DIDs to this machine, each checked against the checksum that Rucio has of it.

    What is there and right is not fetched again; what was interrupted goes on where it stopped. An interrupt (Ctrl-C,
    the stop button) ends it soon, and nothing is lost.

    Parameters
    ----------
    dids
        Files, datasets and containers as ``scope:name``; a name may hold the wildcard ``*``.
    to
        Folder to download into, where the files lie as ``DATASET/NAME``. By default the one that is configured (see
        ``rucio-lab downloads``), where they lie as ``INSTANCE/SCOPE/DATASET/NAME``.
    scheme, rse, instance, limit
        As for `attach`.
    allow_missing
        Leave out files that cannot be had, with a warning, instead of raising `FilesUnavailable` in the end.

    Returns
    -------
    FileList
        The paths, with what Rucio knows of each file.

    Raises
    ------
    FilesUnavailable
        If some files cannot be had; the others are there then.
    NoSpace
        If the disk is full, or too small.
    RucioLabError
        Of the kind that says what went wrong; see `rucio_lab.core.errors`.
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
    for note in files.notes:
        warnings.warn(note, stacklevel=2)
    return files


def search(
    pattern: str | DID,
    *,
    type: DIDType = "collection",
    filters: Sequence[str] = (),
    limit: int = SEARCH_LIMIT,
    instance: str | None = None,
) -> DidList:
    """Find DIDs by name, in one scope.

    Parameters
    ----------
    pattern
        ``scope:name``, where the name may hold the wildcard ``*``.
    type
        ``collection`` (containers and datasets), ``container``, ``dataset``, ``file`` or ``all``.
    filters
        Conditions on metadata, for example ``"events>=1000"``; all must hold.
    limit
        At most so many DIDs. The result says whether there are more.
    instance
        Name or host of a Rucio instance; by default the default one.

    Raises
    ------
    BadRequest
        If the pattern names no scope (the error then names some), or a filter makes no sense.
    NotFound
        If there is no such scope.
    """
    if type not in get_args(DIDType):
        raise BadRequest(f"There is no type {type!r}.", f"It is one of {', '.join(get_args(DIDType))}.")
    if limit < 1:
        raise BadRequest(f"A limit of {limit} leaves no DID.", "Give 1 or more.")
    lake = Lake(load_instances().get(instance))
    did = _one_scope(lake, str(pattern))
    found = list(itertools.islice(lake.search(did, type=type, filters=filters, limit=limit + 1), limit + 1))
    if len(found) > limit:
        return DidList(
            found[:limit], f"The first {count(limit, 'DID')} of {lake.instance.name} that fit {did}", more=True
        )
    if not found and type == "collection":
        return DidList(
            [], f"No container or dataset of {lake.instance.name} fits {did}; with type file there may be some"
        )
    return DidList(found, f"{count(len(found), 'DID')} of {lake.instance.name} that fit {did}")


def ls(did: str | DID, *, instance: str | None = None) -> DidList:
    """List what a container or dataset holds, one level down; a file is listed itself.

    Parameters
    ----------
    did
        The DID as ``scope:name``.
    instance
        Name or host of a Rucio instance; by default the default one.

    Raises
    ------
    NotFound
        If Rucio has no such DID.
    """
    target = DID.parse(str(did))
    if target.is_pattern:
        raise BadRequest(f"{target} is a pattern, and one DID can be listed at a time.", "Use search for patterns.")
    lake = Lake(load_instances().get(instance))
    info = lake.info(target)
    if info.type == "file":
        return DidList([info], f"{target} is a file")
    about = [info.type]
    if info.length is not None:
        about.append(f"{count(info.length, 'file')} in all")
    if info.bytes is not None:
        about.append(size(info.bytes))
    if info.open:
        about.append("still open")
    return DidList(lake.contents(target), f"{target} ({', '.join(about)})")


def login(
    instance: str | None = None,
    *,
    username: str | None = None,
    password: str | None = None,
    code: bool = False,
    timeout: float = oidc.SECONDS,
) -> SignIn:
    """Sign in to a Rucio instance anew, whatever sign-in there is; asks for what is missing.

    With an identity provider (``auth = "oidc"``) it shows a link to its page, and waits until somebody has signed in
    there; an interrupt ends that.

    Parameters
    ----------
    instance
        Name or host; by default the default one.
    username, password
        For an instance with user names and passwords. The password is kept nowhere.
    code
        With an identity provider: ask for the code that its page shows at the end, instead of asking Rucio meanwhile.
    timeout
        With an identity provider: how long to wait for somebody to sign in, in seconds; 300 at most.

    Raises
    ------
    SignInNeeded
        If the credentials are refused, or nobody signs in or is there to be asked.
    """
    where = load_instances().get(instance)
    if where.auth == "oidc":
        return sign_in_at_page(oidc.begin(where, code=code), timeout)
    if where.auth != "userpass" or password is not None:
        return sign_in(where, username=username, password=password)
    if can_renew(where) and not username:
        try:
            return sign_in(where)
        except SignInNeeded as error:
            refused = error  # the password of rucio.cfg is wrong: ask for another
    else:
        refused = None
    username, password = _ask(where, username or where.username, refused)
    return sign_in(where, username=username, password=password)


def make_proxy(instance: str | None = None, *, voms: str = "") -> StorageFacts:
    """Make an X.509 proxy with ``voms-proxy-init``, where storages look for one; asks for the passphrase of the key.

    Parameters
    ----------
    instance
        Name or host; by default the default one.
    voms
        VO whose attributes the proxy is to have.

    Raises
    ------
    RucioLabError
        If it cannot be made: the program is not installed, the passphrase is wrong, or the VO does not answer.
    """
    where = load_instances().get(instance)
    wants = wants_passphrase(where)
    passphrase = ask_secret(where, "passphrase", "Passphrase of the key of your certificate: ") if wants else ""
    new_proxy(where, proxy_path(where), voms=voms, passphrase=passphrase)
    return describe(where)


def logout(instance: str | None = None) -> None:
    """Forget the sign-in to a Rucio instance.

    Parameters
    ----------
    instance
        Name or host; by default the default one.
    """
    sign_out(load_instances().get(instance))


class DidList(list[DidInfo]):
    """DIDs that were found, as a list of `DidInfo` which is shown as a table.

    Attributes
    ----------
    title
        What they are.
    more
        Whether there are more than these.
    """

    _HEADER = ("DID", "type", "files", "size")
    _MOST_ROWS = 50

    def __init__(self, dids: Iterable[DidInfo], title: str, *, more: bool = False) -> None:
        super().__init__(sorted(dids, key=lambda info: info.did))
        self.title = printable(title)
        self.more = more

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                str(info.did),
                info.type,
                "" if info.length is None or info.type == "file" else f"{info.length:,}",
                "" if info.bytes is None else size(info.bytes),
            )
            for info in self[: self._MOST_ROWS]
        ]

    def _notes(self) -> list[str]:
        notes = []
        if len(self) > self._MOST_ROWS:
            notes.append(f"Shown are {self._MOST_ROWS} of {len(self):,}; the list holds them all.")
        if self.more:
            notes.append("There are more: narrow the pattern, or give a larger limit.")
        return notes

    def __repr__(self) -> str:
        table = [text_table(self._HEADER, self._rows())] if self else []
        return "\n".join([f"{self.title}{':' if self else '.'}", *table, *self._notes()])

    def _repr_html_(self) -> str:
        return html_table(self._HEADER, self._rows(), self.title, self._notes())


def _one_scope(lake: Lake, pattern: str) -> DID:
    """Read a search pattern; where its scope is missing or a pattern itself, say which scopes there are."""
    scope, colon, name = pattern.strip().partition(":")
    if colon and "*" not in scope:
        return DID.parse(pattern)
    wanted = scope if colon else "*"
    scopes: list[str] = []
    with suppress(RucioLabError):  # what is wrong is the pattern, whether or not Rucio can be asked just now
        scopes = fnmatch.filter(lake.scopes(), wanted)
    where = f"{lake.instance.name} has {several(scopes, 3)}" if scopes else "a scope is what stands before the colon"
    example = f"{scopes[0] if scopes else 'scope'}:{name if colon else pattern.strip()}"
    raise BadRequest(f"{pattern!r} names no single scope to search in: {where}.", f"Write it like {example}.")


def _ask(instance: Instance, username: str, refused: SignInNeeded | None) -> tuple[str, str]:
    """Ask the user for a name, where it is not known, and a password."""
    from IPython.core.error import StdinNotImplementedError

    with suppress(StdinNotImplementedError, EOFError):
        username = username or input(f"User name for {instance.name}: ").strip()
    try:
        return username, ask_secret(instance, "password", f"Password of {username} for {instance.name}: ")
    except SignInNeeded as error:
        if refused:
            raise SignInNeeded(refused.message, f"Mend the password in {instance.rucio_cfg}.") from error
        raise
