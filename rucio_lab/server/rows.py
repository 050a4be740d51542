"""The values of the core as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec

from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import RucioLabError
from rucio_lab.core.model import DidInfo, Replica, Resolution, ResolvedFile

if TYPE_CHECKING:
    from rucio_lab.core.catalogue.replies import Holding
    from rucio_lab.core.identity.oidc import PendingSignIn
    from rucio_lab.core.jobs.job import Job

Row = dict[str, Any]


def encode(value: Row) -> bytes:
    """Encode one line."""
    return json.dumps(value, default=str).encode() + b"\n"


def line(row: Row) -> bytes:
    """Encode one row of a list."""
    try:
        return _encoder.encode({"row": row}) + b"\n"
    except UnicodeEncodeError:  # half of a character, which Python's encoder escapes
        return encode({"row": row})


_encoder = msgspec.json.Encoder()


def error(error: RucioLabError) -> Row:
    """Describe an error."""
    return {"error": error.code, "message": error.message, "remedy": error.remedy, "rucio": error.rucio}


def instance(instance: Instance) -> Row:
    """Describe an instance, its default access, and who the user is."""
    return {"name": instance.name, "url": instance.url, "access": instance.access, "session": session(instance)}


def session(instance: Instance) -> Row:
    """Describe a sign-in, without asking Rucio.

    ``state`` is ``signed_in``, ``renewable`` (the next request signs in by itself) or ``signed_out``. ``renewed`` says
    whether it is renewed before it expires. ``fields`` are the credentials that a sign-in needs. ``pending`` is a
    sign-in that waits for the user at the page of an identity provider, ``failure`` why the last one failed. The caller
    fills in ``storage``, because that can take time; see `storage`.
    """
    from rucio_lab.core.identity import oidc  # imports rucio.client, so only in threads
    from rucio_lab.core.identity.signing_in import can_renew, signed_in

    known, renewed = signed_in(instance), can_renew(instance)
    waiting = oidc.pending(instance)
    state = "signed_in" if known else "renewable" if renewed else "signed_out"
    return {
        "instance": instance.name,
        "state": state,
        "auth": instance.auth,
        "account": known.account if known else None,
        "expires": known.expires.isoformat() if known and known.expires else None,
        "renewed": renewed or bool(known and instance.hub_token),
        "username": instance.username,
        "fields": ["username", "password"] if instance.auth == "userpass" else [],
        "storage": None,
        "pending": pending(waiting) if waiting and not waiting.failure else None,
        "failure": error(waiting.failure) if waiting and waiting.failure else None,
    }


def storage(instance: Instance) -> Row:
    """Describe the credentials that storages get: token, X.509 proxy, CAs. May run the command for the token."""
    from rucio_lab.core.storage.shown import describe

    facts = describe(instance)
    return {
        "token": _with_date(asdict(facts.token)) if facts.token else None,
        "proxy": _with_date(asdict(facts.proxy)) if facts.proxy else None,
        "ca": facts.ca,
        "problems": list(facts.problems),
    }


def _with_date(row: Row) -> Row:
    return {**row, "expires": row["expires"].isoformat() if row["expires"] else None}


def pending(waiting: PendingSignIn) -> Row:
    """Describe a pending sign-in."""
    return {"url": waiting.url, "wants_code": waiting.wants_code, "seconds_left": round(waiting.seconds_left)}


def did(info: DidInfo) -> Row:
    """Describe a DID."""
    return {
        "did": str(info.did),
        "scope": info.did.scope,
        "name": info.did.name,
        "type": info.type,
        "bytes": info.bytes,
        "length": info.length,
        "open": info.open if info.type == "dataset" else None,  # Rucio does not maintain it for containers
        "adler32": info.adler32,
        "md5": info.md5,
    }


def holding(holding: Holding) -> Row:
    """Describe how much of a DID an RSE has."""
    return {
        "rse": holding.rse,
        "files": holding.files,
        "available": holding.available,
        "bytes": holding.bytes,
    }


def resolution(resolution: Resolution) -> Row:
    """Describe a resolution, except its files."""
    return {
        "total": resolution.total,
        "missing": {str(did): reason for did, reason in resolution.missing.items()},
        "notes": list(resolution.notes),
    }


def file(file: ResolvedFile) -> Row:
    """Describe a file that can be read."""
    return {
        "did": str(file.did),
        "datasets": [str(dataset) for dataset in file.datasets],
        "url": file.url,
        "rse": file.replica.rse,
        "scheme": file.replica.scheme,
        "bytes": file.bytes,
        "replicas": [replica(each) for each in file.replicas],
        "left_out": [{**replica(left.replica), "reason": left.reason} for left in file.left_out],
    }


def replica(replica: Replica) -> Row:
    """Describe a replica: its RSE and server. Neither for a copy on this machine; no server on a mounted RSE."""
    return {"rse": replica.rse, "endpoint": replica.endpoint if "://" in replica.url else ""}


def job(job: Job) -> Row:
    """Describe a job."""
    return {**asdict(job), "active": job.active}
