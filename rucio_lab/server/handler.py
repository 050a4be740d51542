"""The REST interface: each verb reads its arguments, asks the core in a thread, and writes the answer.

Single things are JSON. Lists are NDJSON: lines ``{"row": ...}``, and as the last line one of ``{"end": true, ...}`` and
``{"end": false, "error": ...}``, so that a reader can tell a whole answer from a cut one. An error before the first row
is an HTTP error with the same JSON.
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

from rucio_lab.core.config.instances import Instance, load_instances
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
            self.log.debug("%s was abandoned by its reader", self.request.path)

    return cast("Verb", web.authenticated(answer))


# rucio.client is imported with the first question, in its thread: it takes a while, and fails where its own
# configuration is broken, which must not keep the Jupyter server from starting.


def lake_of(instance: Instance) -> Lake:
    """Give what can be asked of an instance; for its threads only."""
    from rucio_lab.core.catalogue.lake import Lake

    return Lake(instance)


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
