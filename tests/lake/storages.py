"""The storages of the test lake: one XRootD and several nginx, which all serve the same folder."""

from __future__ import annotations

import base64
import json
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol

from rucio_lab.demo.processes import Child, Children, closed_environment, free_port
from tests.lake.packages import WEBDAV_MODULE, where
from tests.lake.pki import Authority
from tests.leaks import SECRETS

_READY_SECONDS = 30
_XROOTD_USER = "xrootd"

# xrootd has no setting that keeps it on the loopback interface
_LOOPBACK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/socket.h>

int bind(int fd, const struct sockaddr *address, socklen_t size)
{
    int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "bind");
    struct sockaddr_storage copy;
    if (size > sizeof copy)
        return next(fd, address, size);
    memcpy(&copy, address, size);
    if (address->sa_family == AF_INET)
        ((struct sockaddr_in *) &copy)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (address->sa_family == AF_INET6)
        ((struct sockaddr_in6 *) &copy)->sin6_addr = in6addr_loopback;
    return next(fd, (struct sockaddr *) &copy, size);
}
"""


# accepts tokens by their signature; the lines of a C++ class with one method of interest, XrdSciTokensHelper::Validate
_TOKENS = """
#include <stdbool.h>
#include <string.h>

static bool validate(void *self, const char *token, void *message, long long *expires, void *entity)
{
    const char *signature = strrchr(token, '.');
    if (expires)
        *expires = 1;
    return signature && !strcmp(signature, ".SIGNATURE");
}

static void *methods[] = {0, validate, 0, 0};
static struct { void **methods; } helper = {methods};
void *SciTokensHelper = &helper;
"""

SIGNATURE = SECRETS.add("c2lnbmVkLWJ5LXRoZS1pc3N1ZXItb2YtdGhlLWxha2U", "a storage token")
"""The storages that want a token take those with this signature, and do not look at the rest."""


def storage_token(*, audience: str = "https://storage.example", seconds: float = 3600, signature: str = "") -> str:
    """Make a token for the storages.

    Parameters
    ----------
    audience
        What it says to be made for.
    seconds
        How long it is valid from now on; negative for one that has ended.
    signature
        Another signature, for one that is refused.
    """
    claims = {"iss": "https://issuer.example", "sub": "alice", "aud": audience, "exp": time.time() + seconds}
    claims["jti"] = secrets.token_hex(8)
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "x"}, claims)
    )
    return ".".join([*parts, signature or SIGNATURE])


class Storage(Protocol):
    """A server for the files of the lake."""

    name: str
    port: int

    @property
    def url(self) -> str:
        """Scheme, host and port."""

    def start(self, children: Children) -> Child:
        """Start it, also again after it was stopped."""

    def wait_ready(self, child: Child) -> None:
        """Wait until it answers."""

    def sent(self) -> int:
        """Return how many bytes of files were read from it until now."""


class XRootD:
    """An XRootD server.

    Parameters
    ----------
    root
        The folder that it serves; its user must be able to read and write there.
    folder
        Its own folder; it is made.
    authority
        Makes it speak TLS only, and refuse whoever shows no token of :func:`storage_token`.
    """

    def __init__(self, root: Path, folder: Path, authority: Authority | None = None) -> None:
        self.name = "roots" if authority else "root"
        self.port = free_port()
        self._folder = folder
        self._log: Path | None = None
        folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(folder, _XROOTD_USER)
        self._compile("loopback", _LOOPBACK)
        lines: dict[str, str | Path] = {
            "oss.localroot": root,
            "all.export": "/",
            "all.adminpath": folder,
            "all.pidpath": folder,
            "xrootd.chksum": "adler32",
            "xrd.network": "nodnr",
            "xrootd.trace": "fsio",  # the log says what was read
        }
        if authority:
            lines |= self._secured(authority)
        (folder / "xrootd.cfg").write_text("".join(f"{key} {value}\n" for key, value in lines.items()))

    @property
    def url(self) -> str:
        return f"{self.name}://127.0.0.1:{self.port}"

    def _compile(self, name: str, source: str) -> Path:
        (self._folder / f"{name}.c").write_text(source)
        library = self._folder / f"{name}.so"
        compiler: list[str | Path] = ["gcc", "-shared", "-fPIC", "-o", library, self._folder / f"{name}.c", "-ldl"]
        subprocess.run(compiler, check=True)
        return library

    def _secured(self, authority: Authority) -> dict[str, str | Path]:
        """Return the directives of a server that speaks TLS and wants tokens."""
        own = {}
        for path in (authority.server_cert, authority.server_key, authority.ca):
            own[path] = Path(shutil.copy(path, self._folder))
            if os.geteuid() == 0:
                shutil.chown(own[path], _XROOTD_USER)
        tokens = self._compile("tokens", _TOKENS.replace("SIGNATURE", SIGNATURE))
        return {
            "xrd.tls": f"{own[authority.server_cert]} {own[authority.server_key]}",
            "xrd.tlsca": f"certfile {own[authority.ca]}",
            "xrootd.tls": "all",
            "xrootd.seclib": "libXrdSec.so",
            "sec.protocol": f"ztn -tokenlib {tokens}",
            "sec.protbind": "* only ztn",
        }

    def start(self, children: Children) -> Child:
        command: list[str | Path] = ["xrootd", "-I", "v4", "-p", str(self.port), "-n", "lake"]
        command += ["-c", self._folder / "xrootd.cfg"]
        if os.geteuid() == 0:  # as which it refuses to run
            command += ["-R", _XROOTD_USER]
        env = closed_environment({"LD_PRELOAD": str(self._folder / "loopback.so")})
        child = children.start("the XRootD storage", command, env=env, cwd=self._folder)
        self._log = child.log
        return child

    def wait_ready(self, child: Child) -> None:
        child.wait_ready(lambda: _listens(self.port), seconds=_READY_SECONDS)

    def sent(self) -> int:
        text = self._log.read_text(errors="replace") if self._log else ""
        return sum(map(int, re.findall(r"Xrootd_Protocol: .*\bread[Vv]? (\d+)@\d+", text)))


class Nginx:
    """An nginx which serves a folder.

    Parameters
    ----------
    name
        What the tests call it.
    root
        The folder.
    folder
        Its own folder; it is made.
    authority
        Makes it speak https, and take WebDAV's PUT, DELETE, MKCOL, COPY and MOVE.
    wants_certificate
        It answers 403 to whoever shows no certificate of the authority.
    ranges
        Whether it serves parts of files.
    wants_token
        It answers 401 to whoever shows no token of :func:`storage_token`.
    door_to
        Address of another server, to which it sends its readers on; needs a token itself.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        folder: Path,
        authority: Authority | None = None,
        *,
        wants_certificate: bool = False,
        ranges: bool = True,
        wants_token: bool = False,
        door_to: str = "",
    ) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"{'https' if authority else 'http'}://127.0.0.1:{self.port}"
        self._folder = folder
        self._access = folder / "access.log"
        folder.mkdir()
        server = [f"listen 127.0.0.1:{self.port}{' ssl' if authority else ''};", f'root "{root}";', "autoindex on;"]
        if authority:
            server += _https(authority, wants_certificate=wants_certificate)
        if not ranges:
            server.append("max_ranges 0;")
        if wants_token or door_to:
            server.append(f'if ($http_authorization !~ "^Bearer [^.]+[.][^.]+[.]{SIGNATURE}$") {{ return 401; }}')
        if door_to:
            server.append(f"return 307 {door_to}$request_uri;")
        (folder / "nginx.conf").write_text(self._configuration(server))

    def start(self, children: Children) -> Child:
        command: list[str | Path] = [where("nginx") or "nginx", "-c", self._folder / "nginx.conf", "-e", "stderr"]
        command += ["-g", "daemon off;"]
        return children.start(f"the storage {self.name}", command, env=closed_environment({}), cwd=self._folder)

    def wait_ready(self, child: Child) -> None:
        child.wait_ready(lambda: _listens(self.port), seconds=_READY_SECONDS)

    def sent(self) -> int:
        return sum(line["sent"] for line in self.requests() if line["method"] == "GET")

    def requests(self) -> list[dict[str, Any]]:
        """Return the log: a dict per request with method, path, status, range and sent."""
        lines = self._access.read_text().splitlines() if self._access.exists() else []
        return [json.loads(line) for line in lines]

    def _configuration(self, server: list[str]) -> str:
        user = f"user {pwd.getpwuid(os.geteuid()).pw_name};" if os.geteuid() == 0 else ""
        temporary = "".join(
            f"  {kind}_temp_path {self._folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        line = (
            '{"method":"$request_method","path":"$uri","status":$status,"range":"$http_range",'
            '"authorized":"$authorized","sent":$body_bytes_sent}'
        )
        directives = "".join(f"    {directive}\n" for directive in server)
        return (
            f"{user} load_module {WEBDAV_MODULE}; worker_processes 1; pid {self._folder}/nginx.pid;\n"
            "events { worker_connections 256; }\n"
            "http {\n"
            '  map $http_authorization $authorized { default yes; "" no; }\n'
            f"  log_format lines escape=json '{line}';\n"
            f"  access_log {self._access} lines; default_type application/octet-stream;\n{temporary}"
            f"  server {{\n{directives}  }}\n}}\n"
        )


def _https(authority: Authority, *, wants_certificate: bool) -> list[str]:
    """Return the directives of an https server with WebDAV."""
    lines = [f'ssl_certificate "{authority.server_cert}";', f'ssl_certificate_key "{authority.server_key}";']
    lines += ["dav_methods PUT DELETE MKCOL COPY MOVE;", "dav_ext_methods PROPFIND OPTIONS;"]
    lines += ["create_full_put_path on;", "client_max_body_size 0;"]
    lines.append("dav_access user:rw group:rw all:rw;")
    if wants_certificate:
        lines += [f'ssl_client_certificate "{authority.ca}";', "ssl_verify_client optional;"]
        lines.append("if ($ssl_client_verify != SUCCESS) { return 403; }")
    return lines


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
