"""The storages of the test lake: three XRootD and several nginx servers for the same folder."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any, Protocol

from rucio_lab.demo.processes import Child, Children, closed_environment, free_port
from tests.lake.issuer import AUDIENCE, Issuer
from tests.lake.packages import WEBDAV_MODULE, where
from tests.lake.pki import VO, Authority

_READY_SECONDS = 30
_XROOTD_USER = "xrootd"

# xrootd has no setting to listen only on the loopback interface, nor one for the CA of a token issuer
_SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
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

void *curl_easy_init(void)
{
    void *curl = dlopen("libcurl.so.4", RTLD_LAZY);
    void *(*next)(void) = dlsym(curl, "curl_easy_init");
    int (*set)(void *, int, ...) = dlsym(curl, "curl_easy_setopt");
    void *handle = next();
    set(handle, 10065 /* CURLOPT_CAINFO */, getenv("LAKE_CA"));
    return handle;
}
"""

_TLS = """
xrd.tls {folder}/server.crt {folder}/server.key
xrd.tlsca certdir {folder}/certificates
xrootd.seclib libXrdSec.so
xrd.protocol XrdHttp libXrdHttp.so
http.cert {folder}/server.crt
http.key {folder}/server.key
http.cadir {folder}/certificates
ofs.authorize 1
"""

_TOKENS = """
xrootd.tls capable all
sec.protocol ztn
sec.protbind * only ztn
http.header2cgi Authorization authz
ofs.authlib libXrdAccSciTokens.so config={folder}/scitokens.cfg
"""

_PROXIES = """
sec.protocol gsi -certdir:{folder}/certificates -cert:{folder}/server.crt -key:{folder}/server.key -crl:0 -gmapopt:10 \\
 -vomsfun:libXrdVoms.so -vomsat:extract
sec.protbind * only gsi
http.secxtractor libXrdHttpVOMS.so
acc.authdb {folder}/authdb
"""


class Storage(Protocol):
    """A server for the files of the lake."""

    name: str
    port: int

    @property
    def url(self) -> str:
        """Scheme, host and port."""

    def start(self, children: Children) -> Child:
        """Start it, or restart it after a stop."""

    def wait_ready(self, child: Child) -> None:
        """Wait until it answers."""

    def sent(self) -> int:
        """Return how many bytes of file content were read from it so far."""


class XRootD:
    """An XRootD server.

    Parameters
    ----------
    root
        The folder it serves; readable and writable for its user.
    folder
        Folder for its own files; it is created.
    authority
        If given, it requires proxies (gsi) with attributes of the VO `VO`, and also speaks https on the same port.
    issuer
        If given, it speaks only TLS and requires tokens of this issuer instead of proxies.
    """

    def __init__(
        self, root: Path, folder: Path, authority: Authority | None = None, issuer: Issuer | None = None
    ) -> None:
        self.name = "roots" if issuer else "gsi" if authority else "root"
        self.port = free_port()
        self.url = f"{'roots' if issuer else 'root'}://127.0.0.1:{self.port}"
        self._folder = folder
        self._log: Path | None = None
        folder.mkdir()
        text = f"oss.localroot {root}\nall.export /\nall.adminpath {folder}\nall.pidpath {folder}\n"
        text += "xrootd.chksum adler32\nxrd.network nodnr\nxrootd.trace fsio\n"  # logs what was read
        if authority:
            self._write_trust(authority)
            text += (_TLS + (_TOKENS if issuer else _PROXIES)).format(folder=folder)
        (folder / "xrootd.cfg").write_text(text)
        (folder / "authdb").write_text(f"g /{VO} / rl\n")
        if issuer:
            known = f"[Global]\naudience = {AUDIENCE}\n[Issuer lake]\nissuer = {issuer.url}\nbase_path = /\n"
            (folder / "scitokens.cfg").write_text(known)
        (folder / "shim.c").write_text(_SHIM)
        compiler: list[str | Path] = ["gcc", "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c", "-ldl"]
        subprocess.run(compiler, check=True)
        if os.geteuid() == 0:  # as which it refuses to run
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, _XROOTD_USER)

    def _write_trust(self, authority: Authority) -> None:
        """Copy its certificate and the CA, and write its vomsdir."""
        for path in (authority.server_cert, authority.server_key, authority.ca):
            shutil.copy(path, self._folder)
        shutil.copytree(authority.certificates, self._folder / "certificates")
        authority.write_voms(self._folder / "vomsdir")

    def start(self, children: Children) -> Child:
        command: list[str | Path] = ["xrootd", "-I", "v4", "-p", str(self.port), "-n", "lake"]
        command += ["-c", self._folder / "xrootd.cfg"]
        if os.geteuid() == 0:
            command += ["-R", _XROOTD_USER]
        known = {"LD_PRELOAD": "shim.so", "LAKE_CA": "ca.pem", "XDG_CACHE_HOME": "cache"}
        known |= {"X509_CERT_DIR": "certificates", "X509_VOMS_DIR": "vomsdir"}
        env = closed_environment({name: str(self._folder / value) for name, value in known.items()})
        child = children.start(f"the XRootD storage {self.name}", command, env=env, cwd=self._folder)
        self._log = child.log
        return child

    def wait_ready(self, child: Child) -> None:
        child.wait_ready(lambda: _listens(self.port), seconds=_READY_SECONDS)

    def sent(self) -> int:
        text = self._log.read_text(errors="replace") if self._log else ""
        return sum(map(int, re.findall(r"Xrootd_Protocol: .*\bread[Vv]? (\d+)@\d+", text)))


class Nginx:
    """An nginx that serves a folder.

    Parameters
    ----------
    name
        Its name in the tests.
    root
        The folder it serves.
    folder
        Folder for its own files; it is created.
    authority
        If given, it speaks https, with WebDAV's PUT, DELETE, MKCOL, COPY and MOVE.
    wants_certificate
        Whether it answers 403 without a client certificate of the authority.
    ranges
        Whether it serves byte ranges.
    door_to
        Address of another server to redirect clients to.
    issuer
        If given, it answers 401 without a token of this issuer; it does not check the signature.
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
        door_to: str = "",
        issuer: Issuer | None = None,
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
        if issuer:
            server.append(f'if ($http_authorization !~ "^Bearer {issuer.header}[.][^.]+[.][^.]+$") {{ return 401; }}')
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
        """Return the log: a dict per request with method, path, status, range, authorized and sent."""
        lines = self._access.read_text().split("\n")[:-1] if self._access.exists() else []
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
