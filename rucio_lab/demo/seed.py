"""Register the content of a lake in its Rucio server, with Rucio's own client.

It runs in a separate process, ``python -m rucio_lab.demo.seed JOB``, because the client has one configuration per
process and must not see that of the user or the server.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from rucio_lab.demo.content import Account, Catalogue, Dataset, File, Protocol, Rse
from rucio_lab.demo.processes import Child, Children, closed_environment
from rucio_lab.demo.server import ROOT_USER, write_private

_BULK = 300  # DIDs per call; SQLite rejects a thousand


@dataclass(frozen=True)
class SeedJob:
    """What to register, and where.

    Attributes
    ----------
    url
        Address of the Rucio server.
    root_password
        Password of the account root.
    catalogue
        What to register.
    ca
        PEM file with the CA of the server; empty without TLS.
    """

    url: str
    root_password: str = field(repr=False)
    catalogue: Catalogue
    ca: str = ""


def start_seed(job: SeedJob, folder: Path, children: Children) -> Child:
    """Start the registration; the child ends when everything is registered.

    Parameters
    ----------
    job
        What to register, and where.
    folder
        Scratch folder; it is created.
    children
        Runs the process.
    """
    (folder / "etc").mkdir(parents=True, mode=0o700, exist_ok=True)
    # only the configuration can set the token path of Rucio's client; by default all lakes of a user share one token
    write_private(folder / "etc" / "rucio.cfg", {"client": {"auth_token_file_path": str(folder / "token")}})
    path = folder / "job.json"
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(job))
    env = closed_environment({"RUCIO_HOME": str(folder), "RUCIO_CLIENT_MODE": "1"})
    return children.start("the registration of the data", [sys.executable, "-m", __name__, path], env=env)


class _Registrar:
    """Registers a catalogue in Rucio."""

    def __init__(self, client: Any, catalogue: Catalogue) -> None:
        self._client = client
        self._catalogue = catalogue
        self._rses = {rse.name: rse for rse in catalogue.rses}

    def register(self) -> None:
        for account in self._catalogue.accounts:
            self._add_account(account)
        for rse in self._catalogue.rses:
            self._add_rse(rse)
        for dataset in self._catalogue.datasets:
            self._add_dataset(dataset)
        for container in self._catalogue.containers:
            self._client.add_container(container.scope, container.name)
            self._attach(container.scope, container.name, container.contents)
            self._client.close(container.scope, container.name)
        for rule in self._catalogue.rules:
            did = {"scope": rule.scope, "name": rule.name}
            self._client.add_replication_rule([did], 1, rule.rse, account=rule.account, lifetime=rule.lifetime)

    def _add_account(self, account: Account) -> None:
        email = f"{account.name}@lake.invalid"
        if account.name != "root":
            self._client.add_account(account.name, account.type, email)
        for identity in account.identities:
            self._client.add_identity(
                account=account.name,
                identity=identity.name,
                authtype=identity.kind,
                email=email,
                password=identity.password,
                default=True,
            )
        for scope in account.scopes:
            self._client.add_scope(account.name, scope)

    def _add_rse(self, rse: Rse) -> None:
        self._client.add_rse(rse.name, **rse.settings)
        for protocol in rse.protocols:
            self._client.add_protocol(rse.name, _protocol(protocol))
        for key, value in rse.attributes.items():
            self._client.add_rse_attribute(rse.name, key, value)
        for name in {account.name for account in self._catalogue.accounts}:
            self._client.set_local_account_limit(name, rse.name, -1)

    def _add_dataset(self, dataset: Dataset) -> None:
        scope, name = dataset.scope, dataset.name
        self._client.add_dataset(scope, name)
        for files in _batches(dataset.files):
            rows = {file.name: _row(scope, file) for file in files}
            for rse in dict.fromkeys(rse for file in files for rse in file.rses):
                here = [file for file in files if rse in file.rses]
                if rse in self._rses:
                    self._place(self._rses[rse], scope, here)
                pfns = [{"pfn": file.pfns[rse]} if rse in file.pfns else {} for file in here]
                replicas = [{**rows[file.name], **pfn} for file, pfn in zip(here, pfns, strict=True)]
                self._client.add_replicas(rse, replicas)
            self._attach(scope, name, [file.name for file in files])
            for file in files:
                self._describe(scope, file.name, file.metadata)
        self._describe(scope, name, dataset.metadata)
        if not dataset.is_open:
            self._client.close(scope, name)

    def _attach(self, scope: str, name: str, contents: Sequence[str]) -> None:
        self._client.attach_dids(scope, name, [{"scope": scope, "name": content} for content in contents])

    def _describe(self, scope: str, name: str, metadata: Mapping[str, str | int]) -> None:
        # separately, because add_dataset accepts only the data types that Rucio's metadata conventions list
        if metadata:
            self._client.set_metadata_bulk(scope, name, dict(metadata))

    def _place(self, rse: Rse, scope: str, files: Sequence[File]) -> None:
        """Copy the files to the paths in their PFNs."""
        sources = {f"{scope}:{file.name}": file.source for file in files if file.source}
        if not rse.folder or not sources:
            return
        for did, pfn in self._client.lfns2pfns(rse.name, list(sources), operation="read").items():
            target = Path(rse.folder) / unquote(urlsplit(pfn).path).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sources[did], target)


def _batches(files: Sequence[File]) -> Iterator[list[File]]:
    rest = iter(files)
    while batch := list(islice(rest, _BULK)):
        yield batch


def _row(scope: str, file: File) -> dict[str, Any]:
    """Return a file in the form that Rucio's add_replicas expects."""
    row: dict[str, Any] = {"scope": scope, "name": file.name, "bytes": file.bytes, "adler32": file.adler32}
    if file.source:
        content = Path(file.source).read_bytes()
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        row |= {"bytes": len(content), "adler32": f"{zlib.adler32(content):08x}", "md5": md5}
    return row


def _protocol(protocol: Protocol) -> dict[str, Any]:
    """Return a protocol in the form that Rucio's add_protocol expects."""
    operations = {"read": protocol.read, "write": protocol.write, "delete": protocol.delete}
    never = dict.fromkeys(operations, 0)
    domains = {domain: operations if domain in protocol.domains else never for domain in ("lan", "wan")}
    copies = {"third_party_copy_read": protocol.read, "third_party_copy_write": protocol.write}
    return {
        "scheme": protocol.scheme,
        "hostname": protocol.hostname,
        "port": protocol.port,
        "prefix": protocol.prefix,
        "impl": protocol.impl,
        "domains": {"lan": domains["lan"], "wan": {**domains["wan"], **(copies if "wan" in protocol.domains else {})}},
    }


def main(path: Path) -> None:
    """Run a job.

    Parameters
    ----------
    path
        JSON file with the job; it is removed.
    """
    from rucio.client import Client

    job = msgspec.json.decode(path.read_bytes(), type=SeedJob)
    path.unlink()
    client = Client(
        rucio_host=job.url,
        auth_host=job.url,
        account="root",
        auth_type="userpass",
        creds={"username": ROOT_USER, "password": job.root_password},
        ca_cert=job.ca or None,
        vo="def",
        timeout=60,
    )
    _Registrar(client, job.catalogue).register()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
