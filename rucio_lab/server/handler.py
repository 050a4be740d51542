"""What all handlers of the REST interface share. A verb reads its arguments, asks the core in a thread, and answers.

Single things are JSON. Lists are NDJSON: lines ``{"row": ...}``, and as the last line one of ``{"end": true, ...}`` and
``{"end": false, "error": ...}``, so that a reader can tell a complete answer from a truncated one. An error before the
first row is an HTTP error with the same JSON.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

from jupyter_server.base.handlers import APIHandler
from tornado import web
from tornado.iostream import StreamClosedError

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.did import DID
from rucio_lab.core.errors import BadRequest, RucioLabError
from rucio_lab.server import rows
from rucio_lab.server.workers import Workers

if TYPE_CHECKING:
    from rucio_lab.core.catalogue.lake import Lake

T = TypeVar("T")
Verb = Callable[..., Awaitable[None]]


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
            self.log.debug("the reader of %s has left", self.request.path)

    return cast("Verb", web.authenticated(answer))


# The first request to Rucio imports rucio.client, in its thread. The import is slow, and fails if rucio.client's own
# configuration is broken; the Jupyter server must start anyway.


def lake_of(instance: Instance) -> Lake:
    """Give the catalogue of an instance; call it in a thread of the instance only."""
    from rucio_lab.core.catalogue.lake import Lake

    return Lake(instance)


class LakeHandler(APIHandler):  # type: ignore[misc]
    """The base of all handlers: reads arguments, asks Rucio, and answers."""

    task: asyncio.Task[Any] | None = None
    left = False  # whether the reader has left

    @property
    def workers(self) -> Workers:
        """The threads that ask Rucio."""
        workers: Workers = self.settings["rucio_lab_workers"]
        return workers

    def on_connection_close(self) -> None:
        """Stop the work when its reader has left."""
        self.left = True
        if self.task is not None:
            self.task.cancel()
        super().on_connection_close()

    def set_default_headers(self) -> None:
        """Forbid caching, because an answer can contain signed URLs."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")

    # ---------------------------------------------------------------------------------------- arguments

    async def instance(self) -> Instance:
        """Give the requested instance, or else the default one."""
        name = self.get_query_argument("instance", None) or None
        return await self.workers.run("", lambda: load_instances().get(name))

    def did(self, argument: str = "did") -> DID:
        """Give the requested DID."""
        return DID.parse(self.text(argument))

    def text(self, argument: str) -> str:
        """Give a required argument."""
        value: str = self.get_query_argument(argument, "")
        if not value:
            raise BadRequest(f"The argument {argument} is missing.", f"Add ?{argument}=... to the address.")
        return value

    def choice(self, argument: str, choices: Any, default: str) -> Any:
        """Give an argument that is one of the values of a Literal type."""
        value = self.get_query_argument(argument, default)
        if value not in get_args(choices):
            raise BadRequest(f"{argument} cannot be {value!r}.", f"It is one of {', '.join(get_args(choices))}.")
        return value

    def number(self, argument: str, default: int | None) -> int | None:
        """Give an argument that is a number, at least 1."""
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
        """Stream a list as NDJSON.

        Parameters
        ----------
        instance
            The instance; its threads do the work.
        source
            Gives the items. With a limit, it must give one more, to show that there are more.
        describe
            Turns an item into a row.
        limit
            The largest number of rows.
        end
            Further content of the last line; the source may fill it in.
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
        """Describe errors of the Jupyter server in the same form."""
        failure = kwargs.get("exc_info", (None, None))[1]
        said = failure.log_message if isinstance(failure, web.HTTPError) and failure.log_message else ""
        message = said or f"The Jupyter server answers with {status_code} {self._reason}."
        error = RucioLabError(message, "See the log of the Jupyter server." if status_code >= 500 else "")
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(rows.error(error)))

    def finish(self, *args: Any, **kwargs: Any) -> Any:
        """Finish the answer. A stream keeps its content type."""
        if self.get_status() == 200 and self._headers.get("Content-Type") == "application/x-ndjson":
            return web.RequestHandler.finish(self, *args, **kwargs)
        return super().finish(*args, **kwargs)
