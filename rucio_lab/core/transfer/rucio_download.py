"""Download one file with rucio-clients, in a child process.

Run as ``python -m rucio_lab.core.transfer.rucio_download PARENT FOLDER``.

This is for schemes that need grid tools. Rucio's DownloadClient blocks the signals of its process and prints, so it
runs in a process of its own. The task is JSON on standard input, and the answer is the last line of standard output:
``{"path": ...}`` or ``{"error": ...}``.
"""

from __future__ import annotations

import configparser
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from rucio_lab.core.config.instances import load_instances
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.errors import RucioLabError


def main() -> None:
    """Read the task, download the file, and print the answer."""
    threading.Thread(target=_end_with, args=(int(sys.argv[1]), sys.argv[2]), daemon=True).start()
    task: dict[str, Any] = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        answer = _download(task, sys.argv[2])
    print(json.dumps(answer))  # noqa: T201 - the answer


def _end_with(parent: int, folder: str) -> None:
    """End this process and all its children when the parent has ended."""
    while os.getppid() == parent:
        time.sleep(1)
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def _configure(instance: Instance, folder: str) -> None:
    """Give rucio-clients a rucio.cfg, without which they refuse to work."""
    path = instance.rucio_cfg
    if not path:
        path = str(Path(folder) / "rucio.cfg")
        known = {"rucio_host": instance.url, "auth_host": instance.auth_url}
        parser = configparser.ConfigParser()
        parser["client"] = {key: value.replace("%", "%%") for key, value in known.items()}
        with Path(path).open("w", encoding="utf-8") as file:
            parser.write(file)
    os.environ["RUCIO_CONFIG"] = path


def _download(task: dict[str, Any], folder: str) -> dict[str, str]:
    instance = load_instances().get(task["instance"])
    _configure(instance, folder)

    # not before: what these import reads the rucio.cfg
    from rucio_lab.core.identity.client import client_for
    from rucio_lab.core.upstream.faults import first_line
    from rucio_lab.core.upstream.rucio_api import download_client, exception

    logger = logging.getLogger("rucio_lab.download")
    logger.setLevel(logging.ERROR)
    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    item: dict[str, Any] = {key: value for key, value in task.items() if key != "instance"}
    item |= {"base_dir": folder, "no_subdir": True}
    try:
        client = client_for(instance)
        scheme = task["pfn"].partition("://")[0]
        download_client(client, scheme)(client=client, logger=logger.log).download_pfns(
            [item], deactivate_file_download_exceptions=False
        )
    except (RucioLabError, exception.RucioException, OSError) as error:
        missing = next((words for words in heard if "issing dependency" in words), "")
        return {"error": missing or first_line(error)}
    found = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != "rucio.cfg"]
    return {"path": str(found[0])} if len(found) == 1 else {"error": "no file was left"}


if __name__ == "__main__":
    main()
