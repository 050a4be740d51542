"""REST: the instances, and the sign-in to each."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from rucio_lab._version import __version__
from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import BadRequest, RucioLabError
from rucio_lab.server import rows
from rucio_lab.server.handler import LakeHandler, verb

if TYPE_CHECKING:
    from rucio_lab.core.identity.oidc import PendingSignIn


def sign_in(instance: Instance, given: dict[str, str]) -> None:
    """Sign in; call it in a thread of the instance only."""
    from rucio_lab.core.identity import signing_in

    signing_in.sign_in(instance, **given)


def begin_sign_in(instance: Instance, *, by_code: bool) -> PendingSignIn:
    """Start a sign-in at the page of an identity provider; call it in a thread of the instance only."""
    from rucio_lab.core.identity import oidc

    return oidc.begin(instance, code=by_code)


def pending_sign_in(instance: Instance) -> PendingSignIn | None:
    """Give the pending sign-in, if there is one; call it in a thread only."""
    from rucio_lab.core.identity import oidc

    waiting = oidc.pending(instance)
    return waiting if waiting is not None and waiting.failure is None else None


def poll(waiting: PendingSignIn) -> None:
    """Check whether the user has signed in; call it in a thread of the instance only."""
    with suppress(
        RucioLabError
    ):  # Rucio may be down for a moment; a failure of the sign-in itself is in its description
        waiting.poll()


def sign_out(instance: Instance) -> None:
    """Sign out; call it in a thread of the instance only."""
    from rucio_lab.core.identity import signing_in

    signing_in.sign_out(instance)


class InstancesHandler(LakeHandler):
    """``instances``: all instances, and who the user is at each."""

    @verb
    async def get(self) -> None:
        """List the instances, and name the default one."""
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
        """Say who the user is. Asks Rucio only while a sign-in at the page of an identity provider is pending."""
        instance = await self.instance()
        waiting = await self.workers.run("", partial(pending_sign_in, instance))
        if waiting is not None and not waiting.wants_code:
            await self.ask(instance, partial(poll, waiting))
        await self.describe(instance)

    @verb
    async def post(self) -> None:
        """Sign in with credentials, start a sign-in at an identity provider, or enter the code of its page."""
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
        """Sign out, and cancel a pending sign-in."""
        instance = await self.instance()
        await self.ask(instance, partial(sign_out, instance))
        await self.describe(instance)

    async def enter(self, instance: Instance, code: str) -> None:
        """Enter the code of the page."""
        waiting = await self.workers.run("", partial(pending_sign_in, instance))
        if waiting is None:
            raise BadRequest(f"No sign-in to {instance.name} is waiting for a code.", "Start one first.")
        await self.ask(instance, partial(waiting.enter, code))

    async def describe(self, instance: Instance) -> None:
        """Answer with the sign-in as it is now and, unless one is pending, with the credentials that storages get."""
        session = await self.workers.run("", partial(rows.session, instance))
        if session["pending"] is None:
            session["storage"] = await self.ask(instance, partial(rows.storage, instance))
        self.finish(json.dumps(session))

    def given(self) -> dict[str, Any]:
        """Read the body, and leave out values that are null or missing."""
        kinds = {"username": str, "password": str, "code": str, "by_code": bool}
        try:
            body: Any = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            body = None
        words = {key: body.get(key) for key in kinds} if isinstance(body, dict) else {"username": 0}
        if not all(value is None or isinstance(value, kinds[key]) for key, value in words.items()):
            raise BadRequest(
                "The body is not that of a sign-in.",
                "Send a JSON object with username, password or code as text, or by_code as true or false.",
            )
        return {key: value for key, value in words.items() if value is not None}
