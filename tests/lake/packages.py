"""What the tests need of the operating system.

Run by its path it prints the names of the Debian packages that are missing, see ``install-packages``.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """A Debian package, with a program or file that tells whether it is there."""

    name: str
    sign: str
    why: str


WEBDAV_MODULE = "/usr/lib/nginx/modules/ngx_http_dav_ext_module.so"

PACKAGES = (
    Package("xrootd-server", "xrootd", "the storage that speaks root://"),
    Package("xrootd-client", "xrdcp", "Rucio uploads and downloads over root:// by the programs xrdfs and xrdcp"),
    Package("nginx-light", "nginx", "the storages that speak http, https and WebDAV"),
    Package(
        "libnginx-mod-http-dav-ext", WEBDAV_MODULE, "PROPFIND, by which Rucio looks at what it uploaded over https"
    ),
    Package("gcc", "gcc", "compiles the few lines that keep xrootd on the loopback interface"),
    Package("libc6-dev", "/usr/include/dlfcn.h", "headers for these lines"),
)


class PackagesMissingError(RuntimeError):
    """Something of the operating system is not installed."""


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
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    return [package for package in PACKAGES if not shutil.which(package.sign, mode=os.F_OK, path=path)]


if __name__ == "__main__":
    print(*(package.name for package in missing_packages()))
