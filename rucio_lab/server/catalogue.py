"""REST: what the lake contains, and the files that attach would give."""

from __future__ import annotations

from functools import partial

from rucio_lab.core.model import DIDType, ReadAccess, Request, ResolvedFile
from rucio_lab.core.storage.readable_schemes import schemes_of
from rucio_lab.server import rows
from rucio_lab.server.handler import LakeHandler, lake_of, verb

MOST_ROWS = 10_000
"""The default limit of a search, in rows."""


def resolved(request: Request, end: rows.Row) -> tuple[ResolvedFile, ...]:
    """Resolve a request and put everything but the files into ``end``; call it in a thread of the instance only."""
    from rucio_lab.core.resolve.resolution import resolve

    resolution = resolve(request)
    end |= rows.resolution(resolution)
    return resolution.files


class ScopesHandler(LakeHandler):
    """``scopes``: all scopes of an instance."""

    @verb
    async def get(self) -> None:
        """List them."""
        instance = await self.instance()
        await self.send_rows(instance, lambda: lake_of(instance).scopes(), lambda scope: {"scope": scope})


class RsesHandler(LakeHandler):
    """``rses``: all RSEs of an instance."""

    @verb
    async def get(self) -> None:
        """List them."""
        instance = await self.instance()
        await self.send_rows(
            instance, lambda: lake_of(instance).rses().items(), lambda rse: {"rse": rse[0], "readable": rse[1]}
        )


class DidsHandler(LakeHandler):
    """``dids``: search."""

    @verb
    async def get(self) -> None:
        """List the DIDs that match ``pattern``, ``type`` and each ``filter``."""
        pattern, kind = self.did("pattern"), self.choice("type", DIDType, "collection")
        limit, filters = self.number("limit", MOST_ROWS) or MOST_ROWS, self.get_query_arguments("filter")
        instance = await self.instance()
        wanted = {"type": kind, "filters": filters, "limit": limit + 1}
        await self.send_rows(instance, lambda: lake_of(instance).search(pattern, **wanted), rows.did, limit=limit)


class DidHandler(LakeHandler):
    """``did``: one DID, with its metadata."""

    @verb
    async def get(self) -> None:
        """Describe it."""
        did, instance = self.did(), await self.instance()

        def describe() -> rows.Row:
            lake = lake_of(instance)
            return {**rows.did(lake.info(did)), "metadata": lake.metadata(did)}

        self.finish(rows.encode(await self.ask(instance, describe)))


class ContentsHandler(LakeHandler):
    """``contents``: the contents of a container or dataset, one level down."""

    @verb
    async def get(self) -> None:
        """List it."""
        did, instance = self.did(), await self.instance()
        await self.send_rows(instance, lambda: lake_of(instance).contents(did), rows.did)


class FilesHandler(LakeHandler):
    """``files``: all files below a DID."""

    @verb
    async def get(self) -> None:
        """List them."""
        did, instance = self.did(), await self.instance()
        await self.send_rows(instance, lambda: lake_of(instance).files(did), rows.did)


class ReplicasHandler(LakeHandler):
    """``replicas``: the RSEs that have a DID."""

    @verb
    async def get(self) -> None:
        """List the RSEs, and how many of the files each has available."""
        did, instance = self.did(), await self.instance()
        await self.send_rows(instance, lambda: lake_of(instance).holdings(did), rows.holding)


class ResolveHandler(LakeHandler):
    """``resolve``: the files that attach would give."""

    @verb
    async def get(self) -> None:
        """List the files with their addresses. The last line has the missing files and the notes."""
        instance = await self.instance()
        request = Request(
            dids=tuple(self.get_query_arguments("did")) or (self.text("did"),),
            instance=instance.name,
            access=self.choice("access", ReadAccess, "auto") if self.get_query_argument("access", "") else "",
            schemes=schemes_of(self.get_query_argument("scheme", "")),
            rse=self.get_query_argument("rse", ""),
            limit=self.number("limit", None),
            allow_missing=self.get_query_argument("allow_missing", "") == "true",
        )
        end: rows.Row = {}
        await self.send_rows(instance, partial(resolved, request, end), rows.file, end=end)
