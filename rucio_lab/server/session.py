"""Instances and the sign-in to each of them, over REST."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from rucio_lab._version import __version__
from rucio_lab.core.config.instances import Instance, load_instances
from rucio_lab.core.errors import BadRequest, RucioLabError
from rucio_lab.server import rows
from rucio_lab.server.handler import LakeHandler, verb

if TYPE_CHECKING:
    from rucio_lab.core.identity.oidc import PendingSignIn


def sign_in(instance: Instance, given: dict[str, str]) -> None:
    """Sign in; for the threads of the instance only."""
    from rucio_lab.core.identity import client

    client.sign_in(instance, **given)


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
    from rucio_lab.core.identity import client

    client.sign_out(instance)


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
