"""``rucio-lab doctor``: checks the whole set-up, from the installed packages to the sign-in, and says what to fix."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from rucio_lab._version import __version__
from rucio_lab.core.config.instances import Instances, check_remote, load_downloads, load_instances
from rucio_lab.core.config.layers import config_files
from rucio_lab.core.config.rucio_cfg import is_file, rucio_cfg_path
from rucio_lab.core.config.settings import Instance
from rucio_lab.core.copies.base_folder import checked_base
from rucio_lab.core.errors import RucioLabError, SignInNeeded
from rucio_lab.core.locks import work_in
from rucio_lab.core.private import lab_folder
from rucio_lab.core.storage import readable_schemes
from rucio_lab.core.text import printable
from rucio_lab.core.words import until
from rucio_lab.server.hub import Hub, keep, wanted

STARTUP_FILE = Path("etc/ipython/startup/50-rucio-lab.py")
"""The file that loads the magics, below ``sys.prefix``; the install puts it there."""

SIDEBAR_FILE = Path("share/jupyter/labextensions/rucio-lab/package.json")
"""The sidebar, below ``sys.prefix``; the install puts it there."""

_PACKAGES = ("rucio-clients", "uproot", "awkward", "fsspec", "fsspec-xrootd", "xrootd", "ipykernel", "jupyterlab")
_MARKS = {"good": "ok  ", "note": "note", "bad": "FAIL"}


@dataclass(frozen=True)
class Finding:
    """The result of a check."""

    level: Literal["good", "note", "bad"]
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"\n        -> {printable(self.remedy)}" if self.remedy else ""
        return f"  {_MARKS[self.level]}  {printable(self.text)}{remedy}"


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb: it has none."""


def run(_options: argparse.Namespace) -> int:
    """Run all checks.

    Returns
    -------
    int
        1 if anything must be fixed, else 0.
    """
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "Packages": check_packages,
        "Readers": check_readers,
        "Magics": check_magics,
        "Kernels": check_kernels,
        "Sidebar": check_sidebar,
        "Configuration": check_configuration,
        "Disks": check_disks,
        "JupyterHub": check_hub,
        "Instances": check_instances,
    }
    failed = False
    for title, check in checks.items():
        for number, finding in enumerate(_findings(check)):
            print(finding if number else f"{title}\n{finding}", flush=True)
            failed = failed or finding.level == "bad"
    print("Something must be fixed: see FAIL above." if failed else "All is well.")
    return int(failed)


def _findings(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Run a check. If it fails, the others go on."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the set-up
        words = str(error).strip().splitlines()[:1] or [type(error).__name__]
        yield Finding("bad", f"This check failed: {words[0].rstrip('.')} ({type(error).__name__}).", "Fix that first.")


def check_packages() -> Iterator[Finding]:
    """Check the versions of the packages that we depend on."""
    yield Finding("good", f"rucio-lab {__version__}, Python {sys.version.split()[0]} in {sys.prefix}")
    yield Finding("good", ", ".join(f"{package} {_version(package) or 'missing'}" for package in _PACKAGES))
    if _version("rucio"):
        yield Finding(
            "bad",
            "The package rucio (the server) is installed beside rucio-clients; both contain the same modules.",
            "pip uninstall rucio rucio-clients, then pip install rucio-clients.",
        )


def check_readers() -> Iterator[Finding]:
    """Check what can be read here."""
    for scheme in ("root", "https"):
        reason = readable_schemes.unreadable(scheme)
        if reason:
            remedy = "https is used instead." if scheme == "root" else "pip install aiohttp."
            yield Finding("note" if scheme == "root" else "bad", f"{reason}.", remedy)
        else:
            yield Finding("good", f"{scheme}:// can be read")
    try:
        import fsspec

        fsspec.get_filesystem_class("rucio")
    except (ValueError, ImportError) as error:
        yield Finding("bad", f"rucio:// cannot be read: {error}.", "pip install --force-reinstall rucio-lab.")
    else:
        yield Finding("good", "rucio:// can be read")
    if broken := readable_schemes.broken_uproot():
        yield Finding(
            "bad",
            f"uproot {broken} cannot iterate over root:// URLs.",
            "pip install 'uproot!=5.7.6,!=5.7.7'; until then, attach with --access lake.",
        )
    ca = os.environ.get("SSL_CERT_FILE")
    if ca and not Path(ca).is_file():
        yield Finding(
            "bad", f"SSL_CERT_FILE names {ca}, which does not exist: no https:// can be read.", "Correct or unset it."
        )


def check_magics() -> Iterator[Finding]:
    """Check whether a fresh IPython has the magics, and if not, why."""
    if _magics_load(sys.executable):
        yield Finding("good", "%rucio_attach works in every IPython and kernel of this environment")
        return
    remedy = "Write %load_ext rucio_lab in the notebook: that always works."
    path = Path(sys.prefix) / STARTUP_FILE
    if not path.is_file():
        yield Finding("note", f"The magics do not load by themselves: {path} is missing (pip install --user?).", remedy)
        return
    yield Finding("note", f"The magics do not load by themselves, although {path} exists.", remedy)
    earlier = [other for folder in _startup_folders() for other in sorted(folder.glob("*.py")) if other != path]
    if earlier:
        names = ", ".join(map(str, earlier))
        yield Finding("note", "After a start-up file that fails, IPython skips all others.", f"Check {names}.")


def _magics_load(python: str) -> bool:
    """Start IPython as a user would, and look for the magic."""
    code = "print('magic', get_ipython().find_line_magic('rucio_attach') is not None)"
    command = [python, "-m", "IPython", "--colors=NoColor", "--no-banner", "-c", code]
    done = _run(command)
    return done is not None and b"magic True" in done.stdout


def _run(command: list[str]) -> subprocess.CompletedProcess[bytes] | None:
    """Run a program; None if it cannot be run or does not finish."""
    try:
        return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None


def _startup_folders() -> list[Path]:
    from IPython.paths import get_ipython_dir

    return [Path(get_ipython_dir()) / "profile_default" / "startup", Path(sys.prefix) / STARTUP_FILE.parent]


def check_kernels() -> Iterator[Finding]:
    """Check whether the Python kernels that Jupyter offers have rucio_lab."""
    from jupyter_client.kernelspec import KernelSpecManager

    for name, found in KernelSpecManager().get_all_specs().items():
        spec = found["spec"]
        if spec["language"] != "python" or not spec["argv"]:
            continue
        named = spec["argv"][0]
        python = sys.executable if named.startswith("python") else named  # as jupyter_client reads a bare "python"
        if not Path(python).name.startswith("python"):
            yield Finding("note", f"{name} starts through {python}, which was not checked.")
        elif (done := _run([python, "-P", "-c", "import rucio_lab"])) is None:
            yield Finding(
                "note", f"{name} ({python}) does not run.", f"jupyter kernelspec remove {name}, or repair it."
            )
        elif done.returncode == 0:
            yield Finding("good", f"{name} ({python})")
        else:
            yield Finding("note", f"{name} ({python}) lacks rucio_lab.", f"{python} -m pip install rucio-lab.")


def check_sidebar() -> Iterator[Finding]:
    """Check whether JupyterLab has both halves of the sidebar, in the same version."""
    path = Path(sys.prefix) / SIDEBAR_FILE
    if not path.is_file():
        yield Finding(
            "note", f"The sidebar is not installed: {path} is missing.", "pip install --force-reinstall rucio-lab."
        )
        return
    installed = json.loads(path.read_text(encoding="utf-8"))["version"]
    if installed != __version__:
        remedy = "pip install --force-reinstall rucio-lab, then restart JupyterLab."
        yield Finding("bad", f"The sidebar has version {installed}, its server half {__version__}.", remedy)
    else:
        yield Finding("good", f"JupyterLab's sidebar {installed}")
    done = _run([sys.executable, "-m", "jupyter", "server", "extension", "list"])
    if done is None or b"rucio_lab" not in done.stdout + done.stderr:
        yield Finding("note", "The server extension is not enabled.", "jupyter server extension enable rucio_lab.")


def check_configuration() -> Iterator[Finding]:
    """Check the configuration files."""
    for path in config_files():
        if is_file(path):
            yield Finding("good", f"{path}")
    cfg = rucio_cfg_path()
    if cfg:
        yield Finding("good", f"{cfg} (Rucio's own)")
    yield from check_site()
    instances = _instances()
    if isinstance(instances, RucioLabError):
        yield Finding("bad", instances.message, instances.remedy)
        return
    for problem in instances.problems:
        yield Finding("bad", problem)
    if not instances.names:
        places = ", ".join(str(path) for path in config_files())
        yield Finding("bad", "No Rucio instance is configured.", f"Looked for {places} and rucio.cfg.")
        yield Finding("note", "To try it without any Rucio: rucio-lab demo.")
    elif instances.default_name:
        yield Finding("good", f"Default instance: {instances.default_name}")
    else:
        yield Finding("note", "No instance is the default: notebooks must name one.", "Set default in rucio_lab.toml.")


def check_site() -> Iterator[Finding]:
    """Fetch the site's remote configuration. If that fails, say how old the cached copy is."""
    try:
        known = check_remote()
    except RucioLabError:
        return  # check_configuration reports a file that cannot be read
    if known is None:
        return
    url, copy = known
    if not copy.failure:
        yield Finding("good", f"{url} (the site's)")
    elif copy.text is None:
        yield Finding("bad", copy.failure, "There is no cached copy.")
    else:
        age = (datetime.now(UTC) - datetime.fromtimestamp(copy.fetched, UTC)).total_seconds() / 3600
        yield Finding("note", copy.failure, f"The cached copy from {age:.1f} hours ago is used.")


def check_disks() -> Iterator[Finding]:
    """Check whether the disks of downloads and jobs have locks."""
    try:
        downloads = checked_base(load_downloads().folder)
    except RucioLabError as error:
        yield Finding("bad", error.message, error.remedy)
        return
    for what, folder, remedy in (
        (
            "Downloads",
            downloads,
            "To resume downloads that were killed, set folder in [downloads] to another disk.",
        ),
        ("Jobs", lab_folder("jobs"), "To see jobs on other machines, set JUPYTER_DATA_DIR to another disk."),
    ):
        if work_in(folder):
            yield Finding("good", f"{what} are kept in {folder}")
        else:
            yield Finding("note", f"{what} are kept in {folder}, on a disk without file locks.", remedy)


def check_hub() -> Iterator[Finding]:
    """Check whether the JupyterHub gives the tokens that instances want from it."""
    instances = _instances()
    tokens = [] if isinstance(instances, RucioLabError) else wanted(instances)
    if not tokens:
        return
    hub = Hub.of(os.environ)
    if hub is None:
        names = ", ".join(token.whose for token in tokens)
        yield Finding("note", f"This does not run in a JupyterHub, so nothing renews the token for {names}.")
        return
    try:
        auth_state = hub.auth_state()
    except RucioLabError as error:
        yield Finding("bad", error.message, error.remedy)
        return
    for token in tokens:
        try:
            expires = keep(token, auth_state)
        except RucioLabError as error:
            yield Finding("bad", error.message, error.remedy)
        else:
            left = f", which expires in {(expires - time.time()) / 60:.0f} minutes" if expires else ""
            yield Finding("good", f"{token.whose} uses the {token.key} of {hub.user}{left}")


def check_instances() -> Iterator[Finding]:
    """Ask all instances at once who we are, so that one that hangs does not hide the others."""
    instances = _instances()
    if isinstance(instances, RucioLabError):
        return
    with ThreadPoolExecutor(max_workers=8) as pool:
        for findings in pool.map(_check_instance, instances):
            yield from findings


def _check_instance(instance: Instance) -> list[Finding]:
    return [*_check_sign_in(instance), *_check_storage(instance)]


def _check_sign_in(instance: Instance) -> list[Finding]:
    where = f"{instance.name} ({instance.url}, {instance.auth})"
    try:  # the import of rucio.client fails if its own configuration is broken
        from rucio_lab.core.catalogue.lake import Lake
        from rucio_lab.core.identity.signing_in import can_renew, signed_in
        from rucio_lab.core.upstream.rest import ping

        limit = min(10.0, instance.timeout)
        ping(instance, limit)
        Lake(instance, timeout=limit).rses()
    except SignInNeeded as error:
        refused = error.rucio is not None
        return [Finding("bad" if refused else "note", f"{where}: {error.message}", error.remedy)]
    except RucioLabError as error:
        return [Finding("bad", f"{where}: {error.message}", error.remedy)]
    known = signed_in(instance)
    account = f" as {known.account}" if known and known.account else ""
    left = until(known.expires) if known else ""
    renewed = ", renewed before it ends" if can_renew(instance) else ""
    return [Finding("good", f"{where}: signed in{account}{left}{renewed}")]


def _check_storage(instance: Instance) -> list[Finding]:
    """Check which credentials the storages of an instance get."""
    from rucio_lab.core.storage.shown import describe, in_words

    facts = describe(instance)
    good = [Finding("good", f"{instance.name}: {line}") for line in in_words(facts)]
    return good + [
        Finding("note", f"{instance.name}: {line}", "Fix it if a storage asks for it.") for line in facts.problems
    ]


def _instances() -> Instances | RucioLabError:
    try:
        return load_instances()
    except RucioLabError as error:
        return error


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
