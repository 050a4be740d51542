"""All code paths ("doors") by which an address from Rucio is opened; each runs in a new process.

If you add another way to read, add it here. A door gets the DID as ``did``; its result does not matter.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_BEGIN = """
import contextlib, sys, rucio_lab
did = sys.argv[1]
with contextlib.suppress(OSError, rucio_lab.RucioLabError, ValueError):
"""

DOORS = {
    "attach": "rucio_lab.attach(did)",
    "attach all plain addresses": "rucio_lab.attach(did, access='stream')",
    "uproot with a plain list": """
    import uproot
    for url in [each.url for each in rucio_lab.attach(did, access='stream', scheme='root,roots')[0].replicas]:
        with contextlib.suppress(OSError):
            uproot.open({url: None}, timeout=3)
""",
    "fsspec with a plain address": """
    import fsspec
    for url in [each.url for each in rucio_lab.attach(did, access='stream', scheme='root,roots')[0].replicas]:
        with contextlib.suppress(OSError), fsspec.open(url, timeout=3) as file:
            file.read(100)
""",
    "rucio://": """
    import fsspec
    with fsspec.open('rucio://test/' + did.replace(':', '/')) as file:
        file.read(100)
""",
    "download": "rucio_lab.download(did, to=sys.argv[2])",
    "rucio-lab resolve": "from rucio_lab.cli.main import main; main(['resolve', did])",
    "resolve in the server": """
    import json, secrets, urllib.request
    from rucio_lab.demo.processes import free_port
    from jupyter_server.serverapp import ServerApp
    import threading
    token, port = secrets.token_hex(8), free_port()
    app = ServerApp(token=token, port=port, port_retries=0, open_browser=False, allow_root=True, root_dir=sys.argv[2])
    def ask():
        with contextlib.suppress(OSError):
            url = f'http://127.0.0.1:{port}/rucio-lab/resolve?instance=test&did=' + did
            urllib.request.urlopen(urllib.request.Request(url, headers={'Authorization': 'token ' + token})).read()
        app.stop(from_signal=True)
    app.jpserver_extensions = {'rucio_lab': True}
    app.initialize(argv=[])
    threading.Timer(1, ask).start()
    app.start()
""",
}
"""Name of a door -> its code."""


def go_through(door: str, did: str, folder: Path, env: dict[str, str], *, seconds: float = 90) -> str:
    """Run the code of a door, and return what it printed.

    Parameters
    ----------
    door
        Name of the door.
    did
        The DID to open.
    folder
        The working directory.
    env
        More environment variables.
    seconds
        Time limit.
    """
    code = DOORS[door]
    body = code if code.startswith("\n") else f"\n    {code}\n"
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN + body.removeprefix("\n"), did, str(folder)],
        env={**os.environ, **env},
        cwd=folder,
        timeout=seconds,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout
