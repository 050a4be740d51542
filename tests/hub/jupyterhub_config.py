"""The example in ``deploy/hub``, changed for the tests: ports, folders, a spawner without accounts."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

settings = json.loads(os.environ["TEST_HUB"])
folder = Path(settings["folder"])

c = get_config()  # noqa: F821 - JupyterHub gives it
load_subconfig(settings["example"])  # noqa: F821

c.GenericOAuthenticator.username_claim = "sub"
c.Authenticator.auth_refresh_age = 1

c.JupyterHub.bind_url = settings["url"]
c.JupyterHub.hub_bind_url = settings["hub_url"]
c.JupyterHub.db_url = f"sqlite:///{folder / 'hub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(folder / "cookie_secret")
c.ConfigurableHTTPProxy.api_url = settings["proxy_url"]
c.ConfigurableHTTPProxy.command = [settings["proxy"]]
c.ConfigurableHTTPProxy.pid_file = str(folder / "proxy.pid")

c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(folder / "users" / "{username}")
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
# on the command line, which overrides what the installation enables
c.Spawner.args = ["--allow-root", "--ServerApp.jpserver_extensions={'rucio_lab': True}"]
c.Spawner.environment = settings["environment"]
c.Spawner.start_timeout = c.Spawner.http_timeout = 120
