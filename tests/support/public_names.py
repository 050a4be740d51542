"""Every public name as a script of somebody else uses it. Only the type checker reads this file."""

from __future__ import annotations

from datetime import datetime
from typing import assert_type

import rucio_lab
from rucio_lab import (
    DID,
    Access,
    BadRequest,
    ConfigurationError,
    Conflict,
    DidInfo,
    DidLike,
    DidList,
    DIDType,
    Explanation,
    ExplanationRow,
    FileEntry,
    FileList,
    FilesUnavailable,
    LakeBroken,
    LakeTooSlow,
    LakeUnreachable,
    LeftOut,
    NoSpace,
    NotFound,
    Proxy,
    Refused,
    Replica,
    RucioLabError,
    SignIn,
    SignInNeeded,
    StorageFacts,
    StorageFailed,
    TokenFacts,
    attach,
    download,
    login,
    logout,
    ls,
    make_proxy,
    search,
)

assert_type(rucio_lab.__version__, str)

# ------------------------------------------------------------------------------------------------ what is found

found = search("scope:name*", type="dataset", filters=["events>=1000"], limit=10, instance="test")
assert_type(found, DidList)
assert_type(found[0], DidInfo)
assert_type(found.title, str)
assert_type(found.more, bool)
assert_type(found[0].did, DID)
assert_type(found[0].bytes, int | None)
assert_type(DID.parse("scope:name"), DID)
assert_type(ls(found[0]), DidList)
assert_type(search(DID("scope", "name*"), filters="events>=1000"), DidList)
kind: DIDType = "all"
assert_type(search("scope:name*", type=kind), DidList)

# ------------------------------------------------------------------------------------------------ what is attached

one: DidLike = found[0]
access: Access = "stream"
assert_type(attach("scope:name", one, found, (info.did for info in found), access=access), FileList)
assert_type(attach(*search("scope:name*"), scheme=(each for each in ("root", "https"))), FileList)
assert_type(download(*ls("scope:name"), to="folder", allow_missing=True), FileList)
files = attach("scope:name", limit=3, rse="EXPRESSION")
assert_type(files[0], FileEntry)
assert_type(files[:2], FileList)
assert_type(files.urls, list[str])
assert_type(files.missing, dict[DID, str])
assert_type(files.by_dataset(), dict[str, FileList])
assert_type(files.explain(), Explanation)
assert_type(files.explain().rows, list[ExplanationRow])
assert_type(files.refresh(), FileList)
assert_type(files[0].did, DID)
assert_type(files[0].replicas, tuple[Replica, ...])
assert_type(files[0].left_out, tuple[LeftOut, ...])
assert_type(files[0].left_out[0].reason, str)

# ------------------------------------------------------------------------------------------------ who one is

assert_type(login("test", username="alice", password="secret"), SignIn)
assert_type(login().expires, datetime | None)
logout("test")
facts = make_proxy("test", voms="atlas")
assert_type(facts, StorageFacts)
assert_type(facts.proxy, Proxy | None)
assert_type(facts.token, TokenFacts | None)

# ------------------------------------------------------------------------------------------------ what fails

try:
    attach("scope:name")
except (BadRequest, ConfigurationError, Conflict, NotFound, Refused, SignInNeeded) as error:
    assert_type(error.remedy, str)
except (LakeBroken, LakeTooSlow, LakeUnreachable, NoSpace, StorageFailed):
    pass
except FilesUnavailable as unavailable:
    assert_type(unavailable.message, str)
except RucioLabError as other:
    assert_type(other.rucio, str | None)
