"""Why a replica is not read, as values. Code decides by the cause; the text is only made to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Cause(Enum):
    """What prevents a replica from being read."""

    @staticmethod
    def _generate_next_value_(name: str, *_: object) -> str:
        """Give each value its name, which is what pickles contain: a number would change with every new cause."""
        return name

    # According to Rucio
    NO_REPLICA = auto()
    NO_PROTOCOL_OUTSIDE = auto()
    NO_PROTOCOL_AT_SITE = auto()
    BAD_ADDRESS = auto()
    ON_TAPE = auto()
    NOT_AVAILABLE = auto()
    OUTSIDE_EXPRESSION = auto()
    NOT_OFFERED = auto()
    BLOCKED = auto()

    # On this machine, or by the request
    NOT_ASKED_FOR = auto()
    NO_READER = auto()
    NOT_MOUNTED = auto()
    MOUNT_UNREADABLE = auto()
    MOUNT_WRONG_SIZE = auto()
    NEEDS_OURS = auto()
    IN_ARCHIVE = auto()
    DOUBLE_COLON = auto()
    QUESTION_MARK = auto()

    # Found out from its server
    SILENT = auto()
    REFUSES_CONNECTIONS = auto()
    UNREACHABLE = auto()
    NEEDS_PROXY = auto()
    CLOSED_CONNECTION = auto()
    NO_XROOTD = auto()
    NO_WEB_SERVER = auto()
    UNTRUSTED = auto()
    REFUSES_TLS = auto()
    NO_RANGES = auto()

    # Found out from its server, about one file
    WANTS_CREDENTIALS = auto()
    ERROR = auto()
    BAD_REDIRECT = auto()
    REDIRECT_UNREACHABLE = auto()
    NO_SENSE = auto()
    REFUSES_OURS = auto()


_TEXTS = {
    Cause.NO_REPLICA: "Rucio has no replica of it",
    Cause.NO_PROTOCOL_OUTSIDE: "the RSE has no known protocol outside the local network of its site; if this machine"
    " is there, set site in rucio_lab.toml",
    Cause.NO_PROTOCOL_AT_SITE: "the RSE has no known protocol for machines at site {} (site in rucio_lab.toml)",
    Cause.BAD_ADDRESS: "its address cannot be understood",
    Cause.ON_TAPE: "it is on tape (a rule can bring a copy to disk)",
    Cause.NOT_AVAILABLE: "Rucio calls this replica {}",
    Cause.OUTSIDE_EXPRESSION: "it does not match the RSE expression",
    Cause.NOT_OFFERED: "Rucio does not offer it for reading",
    Cause.BLOCKED: "it is blocked for reading",
    Cause.NOT_ASKED_FOR: "{} is not among the schemes asked for ({})",
    Cause.NO_READER: "{}",
    Cause.NOT_MOUNTED: "no folder is configured for it (mounts in rucio_lab.toml)",
    Cause.MOUNT_UNREADABLE: "{}: {}",
    Cause.MOUNT_WRONG_SIZE: "{} has {} bytes, but Rucio has registered {}",
    Cause.NEEDS_OURS: "asks for credentials that a plain URL cannot carry (those of the instance)",
    Cause.IN_ARCHIVE: "it is in a zip archive, which only rucio:// and downloads can look into",
    Cause.DOUBLE_COLON: "its address contains ::, which fsspec takes for two addresses",
    Cause.QUESTION_MARK: "XRootD takes what follows the ? in its name for options",
    Cause.SILENT: "did not answer within {} s",
    Cause.REFUSES_CONNECTIONS: "refuses connections",
    Cause.UNREACHABLE: "cannot be reached ({})",
    Cause.NEEDS_PROXY: "can be reached only through the proxy {}, which readers of a plain URL do not use",
    Cause.CLOSED_CONNECTION: "closed the connection",
    Cause.NO_XROOTD: "is not an XRootD server",
    Cause.NO_WEB_SERVER: "does not answer as a web server ({})",
    Cause.UNTRUSTED: "has a certificate that Python does not trust here (SSL_CERT_FILE can name its CA)",
    Cause.REFUSES_TLS: "refuses the TLS connection (it may require a client certificate)",
    Cause.NO_RANGES: "does not serve parts of files (no Range requests), so it cannot be streamed from",
    Cause.WANTS_CREDENTIALS: "asks for credentials that a plain URL cannot carry ({})",
    Cause.ERROR: "answers with an error ({})",
    Cause.BAD_REDIRECT: "{}",
    Cause.REDIRECT_UNREACHABLE: "redirects to a server that cannot be reached",
    Cause.NO_SENSE: "has or redirects to an invalid address",
    Cause.REFUSES_OURS: "{}",
}
"""The text of each cause, with placeholders for its facts."""

_OF_ONE_FILE = {
    Cause.WANTS_CREDENTIALS,
    Cause.ERROR,
    Cause.BAD_REDIRECT,
    Cause.REDIRECT_UNREACHABLE,
    Cause.NO_SENSE,
    Cause.REFUSES_OURS,
}
_OF_SERVER = _OF_ONE_FILE | {
    Cause.SILENT,
    Cause.REFUSES_CONNECTIONS,
    Cause.UNREACHABLE,
    Cause.NEEDS_PROXY,
    Cause.CLOSED_CONNECTION,
    Cause.NO_XROOTD,
    Cause.NO_WEB_SERVER,
    Cause.UNTRUSTED,
    Cause.REFUSES_TLS,
    Cause.NO_RANGES,
}
_DOWN = {Cause.SILENT, Cause.REFUSES_CONNECTIONS, Cause.UNREACHABLE, Cause.CLOSED_CONNECTION}
_BY_CREDENTIALS = {
    Cause.WANTS_CREDENTIALS,
    Cause.NEEDS_OURS,
    Cause.DOUBLE_COLON,
    Cause.NEEDS_PROXY,
    Cause.UNTRUSTED,
    Cause.REFUSES_TLS,
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a replica is not read.

    Attributes
    ----------
    cause
        What prevents it from being read.
    facts
        The values for the placeholders in the cause's text.
    """

    cause: Cause
    facts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return _TEXTS[self.cause].format(*self.facts)

    @property
    def is_of_server(self) -> bool:
        """Whether it was found out from the server, so that the text continues the address of the server."""
        return self.cause in _OF_SERVER

    @property
    def is_of_one_file(self) -> bool:
        """Whether it concerns only the requested file, not its server."""
        return self.cause in _OF_ONE_FILE

    @property
    def is_down(self) -> bool:
        """Whether the server seems to be down."""
        return self.cause in _DOWN

    @property
    def wants_credentials(self) -> bool:
        """Whether it concerns plain URLs only, so that ``rucio://`` may work: it has credentials, CAs and the proxy."""
        return self.cause in _BY_CREDENTIALS

    @property
    def wants_rucio(self) -> bool:
        """Whether reading over ``rucio://`` could fix it."""
        return self.wants_credentials or self.cause is Cause.IN_ARCHIVE
