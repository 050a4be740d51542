"""The Debian packages that the tests need.

Run as a program, it prints the names of missing packages; ``install-packages`` does that.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A Debian package, and a program or file that shows whether it is installed."""

    name: str
    sign: str
    why: str


WEBDAV_MODULE = "/usr/lib/nginx/modules/ngx_http_dav_ext_module.so"

PACKAGES = (
    Package("xrootd-server", "xrootd", "the storage that speaks root://"),
    Package("xrootd-scitokens-plugins", "/usr/lib/*/libXrdAccSciTokens-*.so", "the storage that checks tokens"),
    Package("xrootd-voms-plugins", "/usr/lib/*/libXrdVoms-*.so", "the storage that requires VOMS proxies"),
    Package("xrootd-client", "xrdcp", "Rucio uploads and downloads over root:// with the programs xrdfs and xrdcp"),
    Package("nginx-light", "nginx", "the storages that speak http, https and WebDAV"),
    Package("libnginx-mod-http-dav-ext", WEBDAV_MODULE, "PROPFIND, which Rucio uses to check uploads over https"),
    Package("gcc", "gcc", "compiles a few lines of C that keep xrootd on the loopback interface"),
    Package("libc6-dev", "/usr/include/dlfcn.h", "header files for this C code"),
    Package("voms-clients", "voms-proxy-init", "creates X.509 proxies, also VOMS proxies"),
    Package("chromium", "chromium", "the browser for the tests of the sidebar"),
)
POSTGRESQL = Package("postgresql", "initdb", "the database, if RUCIO_LAB_TEST_DATABASE asks for it")


class PackagesMissingError(RuntimeError):
    """A Debian package is not installed."""


def on_postgresql() -> bool:
    """Return whether RUCIO_LAB_TEST_DATABASE asks for PostgreSQL instead of SQLite.

    Raises
    ------
    ValueError
        If it names another database.
    """
    wanted = os.environ.get("RUCIO_LAB_TEST_DATABASE", "sqlite")
    if wanted not in ("sqlite", "postgresql"):
        raise ValueError(f"RUCIO_LAB_TEST_DATABASE is {wanted!r}. Set it to sqlite or postgresql, or unset it.")
    return wanted == "postgresql"


def require_packages() -> None:
    """Check that all packages are installed.

    Raises
    ------
    PackagesMissingError
        If some are missing; names them.
    """
    if missing := missing_packages():
        what = ", ".join(f"{package.name} ({package.why})" for package in missing)
        names = " ".join(package.name for package in missing)
        raise PackagesMissingError(
            f"The test lake needs Debian packages that are not installed: {what}. "
            f"Install them: apt-get install --no-install-recommends {names}"
        )


def missing_packages() -> list[Package]:
    """Return the packages that are not installed."""
    wanted = (*PACKAGES, POSTGRESQL) if on_postgresql() else PACKAGES
    return [package for package in wanted if not where(package.sign)]


def where(sign: str) -> str | None:
    """Return the path of a program or file, or None.

    Parameters
    ----------
    sign
        Path of a file, with ``*`` for parts that differ between machines, or name of a program; Debian installs some
        programs outside a user's PATH.
    """
    if "*" in sign:
        return next(map(str, Path("/").glob(sign[1:])), None)
    hidden = ("/usr/sbin", "/sbin", *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True))
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *hidden))
    return shutil.which(sign, mode=os.F_OK, path=path)


if __name__ == "__main__":
    print(*(package.name for package in missing_packages()))
