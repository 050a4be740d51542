"""The extension of the Jupyter server: REST below ``/rucio-lab/``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def _load_jupyter_server_extension(app: ServerApp) -> None:
    """Add the handlers to a Jupyter server. Nothing is read from files or Rucio before the first request."""
    from rucio_lab.server.hub import keep_tokens
    from rucio_lab.server.routes import routes
    from rucio_lab.server.workers import Workers

    app.web_app.settings["rucio_lab_workers"] = Workers()
    app.web_app.add_handlers(".*$", routes(app.web_app.settings["base_url"]))
    keep_tokens(app.log)
