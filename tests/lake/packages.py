"""What the tests need of the operating system.

Run by its path it prints the names of the Debian packages that are missing, see ``install-packages``.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A Debian package, with a program or file that tells whether it is there."""

    name: str
    sign: str
    why: str


WEBDAV_MODULE = "/usr/lib/nginx/modules/ngx_http_dav_ext_module.so"

PACKAGES = (
    Package("xrootd-server", "xrootd", "the storage that speaks root://"),
    Package("xrootd-scitokens-plugins", "/usr/lib/*/libXrdAccSciTokens-*.so", "the storage that checks tokens"),
    Package("xrootd-voms-plugins", "/usr/lib/*/libXrdVoms-*.so", "the storage that wants proxies of a VO"),
    Package("xrootd-client", "xrdcp", "Rucio uploads and downloads over root:// by the programs xrdfs and xrdcp"),
    Package("nginx-light", "nginx", "the storages that speak http, https and WebDAV"),
    Package(
        "libnginx-mod-http-dav-ext", WEBDAV_MODULE, "PROPFIND, by which Rucio looks at what it uploaded over https"
    ),
    Package("gcc", "gcc", "compiles the few lines that keep xrootd on the loopback interface"),
    Package("libc6-dev", "/usr/include/dlfcn.h", "headers for these lines"),
    Package("voms-clients", "voms-proxy-init", "makes X.509 proxies, with the attributes of a VO, too"),
    Package("chromium", "chromium", "the browser in which the sidebar is tested"),
)
POSTGRESQL = Package("postgresql", "initdb", "the database, where RUCIO_LAB_TEST_DATABASE asks for it")


class PackagesMissingError(RuntimeError):
    """Something of the operating system is not installed."""


def on_postgresql() -> bool:
    """Return whether the tests are to run on PostgreSQL, and not on SQLite: RUCIO_LAB_TEST_DATABASE says so.

    Raises
    ------
    ValueError
        If it names another database.
    """
    wanted = os.environ.get("RUCIO_LAB_TEST_DATABASE", "sqlite")
    if wanted not in ("sqlite", "postgresql"):
        raise ValueError(f"RUCIO_LAB_TEST_DATABASE is {wanted!r}. Set it to sqlite or postgresql, or do not set it.")
    return wanted == "postgresql"


def require_packages() -> None:
    """Check that everything is there.

    Raises
    ------
    PackagesMissingError
        If not; names the packages.
    """
    if missing := missing_packages():
        what = ", ".join(f"{package.name} ({package.why})" for package in missing)
        names = " ".join(package.name for package in missing)
        raise PackagesMissingError(
            f"The test lake needs Debian packages that are not installed: {what}. "
            f"Install them: apt-get install --no-install-recommends {names}"
        )


def missing_packages() -> list[Package]:
    """Return what is not installed."""
    wanted = (*PACKAGES, POSTGRESQL) if on_postgresql() else PACKAGES
    return [package for package in wanted if not where(package.sign)]


def where(sign: str) -> str | None:
    """Return where a program or file is, or None.

    Parameters
    ----------
    sign
        Path of a file, with ``*`` where it differs from machine to machine, or name of a program; Debian has some where
        a user's PATH does not lead.
    """
    if "*" in sign:
        return next(map(str, Path("/").glob(sign[1:])), None)
    hidden = ("/usr/sbin", "/sbin", *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True))
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *hidden))
    return shutil.which(sign, mode=os.F_OK, path=path)


if __name__ == "__main__":
    print(*(package.name for package in missing_packages()))
