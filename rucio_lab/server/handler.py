"""The REST interface: each verb reads its arguments, asks the core in a thread, and writes the answer.

Single things are JSON. Lists are NDJSON: lines ``{"row": ...}``, and as the last line one of ``{"end": true, ...}`` and
``{"end": false, "error": ...}``, so that a reader can tell a whole answer from a cut one. An error before the first row
is an HTTP error with the same JSON.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

from jupyter_server.base.handlers import APIHandler
from tornado import web
from tornado.iostream import StreamClosedError

from rucio_lab._version import __version__
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, RucioLabError
from rucio_lab.core.model import DIDType, ReadAccess, Request, ResolvedFile
from rucio_lab.core.storage.known_schemes import schemes_of
from rucio_lab.server import rows
from rucio_lab.server.workers import Workers

if TYPE_CHECKING:
    from rucio_lab.core.catalogue.lake import Lake
    from rucio_lab.core.identity.oidc import PendingSignIn

T = TypeVar("T")
Verb = Callable[..., Awaitable[None]]

MOST_ROWS = 10_000
"""Most rows of a search, unless its caller says otherwise."""


def verb(method: Verb) -> Verb:
    """Make a method a verb: for signed-in users of the Jupyter server only, with our errors as JSON."""

    @wraps(method)
    async def answer(self: LakeHandler) -> None:
        self.task = asyncio.current_task()
        try:
            await method(self)
        except RucioLabError as error:
            self.set_status(error.status)
            self.finish(json.dumps(rows.error(error)))
        except (StreamClosedError, asyncio.CancelledError):
            if not self.left:
                raise
            self.log.debug("%s was abandoned by its reader", self.request.path)

    return cast("Verb", web.authenticated(answer))


# rucio.client is imported with the first question, in its thread: it takes a while, and fails where its own
# configuration is broken, which must not keep the Jupyter server from starting.


def lake_of(instance: Instance) -> Lake:
    """Give what can be asked of an instance; for its threads only."""
    from rucio_lab.core.catalogue.lake import Lake

    return Lake(instance)


def resolved(request: Request, end: rows.Row) -> tuple[ResolvedFile, ...]:
    """Resolve a request, and say at the end what its files do not; for the threads of its instance only."""
    from rucio_lab.core.resolve.resolution import resolve

    resolution = resolve(request)
    end |= rows.resolution(resolution)
    return resolution.files


def sign_in(instance: Instance, given: dict[str, str]) -> None:
    """Sign in; for the threads of the instance only."""
    from rucio_lab.core.identity import signing_in

    signing_in.sign_in(instance, **given)


def begin_sign_in(instance: Instance, *, by_code: bool) -> PendingSignIn:
    """Begin to sign in at the page of an identity provider; for the threads of the instance only."""
    from rucio_lab.core.identity import oidc

    return oidc.begin(instance, code=by_code)


def pending_sign_in(instance: Instance) -> PendingSignIn | None:
    """Give the sign-in that waits; for threads only."""
    from rucio_lab.core.identity import oidc

    waiting = oidc.pending(instance)
    return waiting if waiting is not None and waiting.failure is None else None


def poll(waiting: PendingSignIn) -> None:
    """See whether somebody has signed in; for the threads of the instance only."""
    with suppress(RucioLabError):  # Rucio may be away for a moment; what ends the sign-in is in its description
        waiting.poll()


def sign_out(instance: Instance) -> None:
    """Sign out; for the threads of the instance only."""
    from rucio_lab.core.identity import signing_in

    signing_in.sign_out(instance)


class LakeHandler(APIHandler):  # type: ignore[misc]
    """What all handlers share: arguments, and ways to ask and to answer."""

    task: asyncio.Task[Any] | None = None
    left = False  # whether the reader has gone away

    @property
    def workers(self) -> Workers:
        """The threads in which Rucio is asked."""
        workers: Workers = self.settings["rucio_lab_workers"]
        return workers

    def on_connection_close(self) -> None:
        """Stop what nobody waits for any more."""
        self.left = True
        if self.task is not None:
            self.task.cancel()
        super().on_connection_close()

    def set_default_headers(self) -> None:
        """Let nobody keep an answer: it can hold signed addresses."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")

    # ---------------------------------------------------------------------------------------- arguments

    async def instance(self) -> Instance:
        """Give the instance that is asked for, by default the default one."""
        name = self.get_query_argument("instance", None) or None
        return await self.workers.run("", lambda: load_instances().get(name))

    def did(self, argument: str = "did") -> DID:
        """Give the DID that is asked for."""
        return DID.parse(self.text(argument))

    def text(self, argument: str) -> str:
        """Give an argument that must be there."""
        value: str = self.get_query_argument(argument, "")
        if not value:
            raise BadRequest(f"The argument {argument} is missing.", f"Add ?{argument}=... to the address.")
        return value

    def choice(self, argument: str, choices: Any, default: str) -> Any:
        """Give an argument that is one of the words of a Literal type."""
        value = self.get_query_argument(argument, default)
        if value not in get_args(choices):
            raise BadRequest(f"{argument} cannot be {value!r}.", f"It is one of {', '.join(get_args(choices))}.")
        return value

    def number(self, argument: str, default: int | None) -> int | None:
        """Give an argument that is a number of things, 1 at least."""
        value = self.get_query_argument(argument, "")
        if not value:
            return default
        if not value.isdecimal() or len(value) > 9 or int(value) < 1:
            raise BadRequest(f"{argument} cannot be {value!r}.", "It is a whole number from 1 on.")
        return int(value)

    # ---------------------------------------------------------------------------------------- asking, answering

    async def ask(self, instance: Instance, call: Callable[[], T]) -> T:
        """Ask Rucio, in a thread of the instance."""
        return await self.workers.run(instance.name, call)

    async def send_rows(
        self,
        instance: Instance,
        source: Callable[[], Iterable[T]],
        describe: Callable[[T], rows.Row],
        *,
        limit: int | None = None,
        end: rows.Row | None = None,
    ) -> None:
        """Send a list as NDJSON while it comes in.

        Parameters
        ----------
        instance
            Whose threads do the work.
        source
            Gives the items; where there is a limit, one more than it shows that there are more.
        describe
            Makes a row of an item.
        limit
            At most so many rows.
        end
            What the last line says besides; filled in by the source.
        """

        def lines() -> Iterator[bytes]:
            for item in source():
                yield rows.line(describe(item))

        count, more = 0, False
        async with self.workers.stream(instance.name, lines) as batches:
            try:
                async for batch in batches:
                    room = len(batch) if limit is None else limit - count
                    more = more or len(batch) > room
                    count += min(room, len(batch))
                    await self._send(b"".join(batch[:room]))
                    if more:
                        break
            except RucioLabError as error:
                if not count:
                    raise
                await self._send(rows.encode({"end": False, "error": rows.error(error)}))
                return
        await self._send(rows.encode({"end": True, "count": count, "more": more, **(end or {})}))

    async def _send(self, lines: bytes) -> None:
        self.set_header("Content-Type", "application/x-ndjson")
        self.set_header("X-Accel-Buffering", "no")
        self.write(lines)
        await self.flush()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Describe what is no error of ours in the same form."""
        failure = kwargs.get("exc_info", (None, None))[1]
        said = failure.log_message if isinstance(failure, web.HTTPError) and failure.log_message else ""
        message = said or f"The Jupyter server answers with {status_code} {self._reason}."
        error = RucioLabError(message, "See the log of the Jupyter server." if status_code >= 500 else "")
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(rows.error(error)))

    def finish(self, *args: Any, **kwargs: Any) -> Any:
        """End the answer; what was streamed keeps its type."""
        if self.get_status() == 200 and self._headers.get("Content-Type") == "application/x-ndjson":
            return web.RequestHandler.finish(self, *args, **kwargs)
        return super().finish(*args, **kwargs)


class InstancesHandler(LakeHandler):
    """``instances``: which there are, and who one is there."""

    @verb
    async def get(self) -> None:
        """List the instances, the default one by name."""
        known = await self.workers.run("", load_instances)
        described = await self.workers.run("", lambda: [rows.instance(instance) for instance in known])
        self.finish(
            json.dumps(
                {
                    "version": __version__,
                    "default": known.default_name,
                    "instances": described,
                    "problems": list(known.problems),
                }
            )
        )


class SessionHandler(LakeHandler):
    """``session``: the sign-in to an instance."""

    @verb
    async def get(self) -> None:
        """Say who one is; asks Rucio only while a sign-in waits for somebody at the page of an identity provider."""
        instance = await self.instance()
        waiting = await self.workers.run("", partial(pending_sign_in, instance))
        if waiting is not None and not waiting.wants_code:
            await self.ask(instance, partial(poll, waiting))
        await self.describe(instance)

    @verb
    async def post(self) -> None:
        """Sign in with what the instance wants; where that is a page to open, begin, or enter the code it shows."""
        instance = await self.instance()
        given = self.given()
        code, by_code = given.pop("code", None), given.pop("by_code", False)
        if instance.auth != "oidc":
            await self.ask(instance, partial(sign_in, instance, given))
        elif code is None:
            waiting = await self.ask(instance, partial(begin_sign_in, instance, by_code=by_code))
            asyncio.get_running_loop().call_later(waiting.seconds_left + 1, waiting.check_time)
        else:
            await self.enter(instance, code)
        await self.describe(instance)

    @verb
    async def delete(self) -> None:
        """Sign out, and give up a sign-in that waits."""
        instance = await self.instance()
        await self.ask(instance, partial(sign_out, instance))
        await self.describe(instance)

    async def enter(self, instance: Instance, code: str) -> None:
        """Enter the code of the page."""
        waiting = await self.workers.run("", partial(pending_sign_in, instance))
        if waiting is None:
            raise BadRequest(f"No sign-in to {instance.name} waits for a code.", "Begin one.")
        await self.ask(instance, partial(waiting.enter, code))

    async def describe(self, instance: Instance) -> None:
        """Answer with the sign-in as it is now, and, but for one that waits, with what storages are shown."""
        session = await self.workers.run("", partial(rows.session, instance))
        if session["pending"] is None:
            session["storage"] = await self.ask(instance, partial(rows.storage, instance))
        self.finish(json.dumps(session))

    def given(self) -> dict[str, Any]:
        """Read from the body what is given; what is null or missing is left out."""
        kinds = {"username": str, "password": str, "code": str, "by_code": bool}
        try:
            body: Any = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            body = None
        words = {key: body.get(key) for key in kinds} if isinstance(body, dict) else {"username": 0}
        if not all(value is None or isinstance(value, kinds[key]) for key, value in words.items()):
            raise BadRequest(
                "The body is none of a sign-in.",
                "Send a JSON object with username, password or code as text, or by_code as true or false.",
            )
        return {key: value for key, value in words.items() if value is not None}


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
        """List the DIDs that fit ``pattern``, ``type`` and each ``filter``."""
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
    """``contents``: what is in a container or dataset, one level down."""

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
    """``replicas``: on which RSEs a DID is."""

    @verb
    async def get(self) -> None:
        """List the RSEs, with how many of the files are available there."""
        did, instance = self.did(), await self.instance()
        await self.send_rows(instance, lambda: lake_of(instance).holdings(did), rows.holding)


class ResolveHandler(LakeHandler):
    """``resolve``: what attach would give."""

    @verb
    async def get(self) -> None:
        """List the files, each with its address; the last line has what is missing, and notes."""
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
