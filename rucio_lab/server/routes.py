"""All routes of the REST interface. This is the only module that knows all handlers."""

from __future__ import annotations

from jupyter_server.utils import url_path_join

from rucio_lab.server import jobs
from rucio_lab.server.catalogue import (
    ContentsHandler,
    DidHandler,
    DidsHandler,
    FilesHandler,
    ReplicasHandler,
    ResolveHandler,
    RsesHandler,
    ScopesHandler,
)
from rucio_lab.server.handler import LakeHandler
from rucio_lab.server.session import InstancesHandler, SessionHandler


def routes(base_url: str) -> list[tuple[str, type[LakeHandler]]]:
    """Give all routes below a server's base URL."""
    handlers: dict[str, type[LakeHandler]] = {
        "instances": InstancesHandler,
        "session": SessionHandler,
        "scopes": ScopesHandler,
        "rses": RsesHandler,
        "dids": DidsHandler,
        "did": DidHandler,
        "contents": ContentsHandler,
        "files": FilesHandler,
        "replicas": ReplicasHandler,
        "resolve": ResolveHandler,
        **jobs.HANDLERS,
    }
    return [(url_path_join(base_url, "rucio-lab", name), handler) for name, handler in handlers.items()]
