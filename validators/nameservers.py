"""The resolvers that can be asked, and the system's, as /etc/resolv.conf names them now."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from validators.addresses import Endpoint

_PORT = 53
_MAX_SERVERS = 3


@dataclass(frozen=True, slots=True)
class TlsServer:
    """A resolver asked by DNS over TLS (RFC 7858); its certificate must be for ``name``, which
    may be the address itself."""

    endpoint: Endpoint
    name: str

    def __str__(self) -> str:
        return f"tls://{self.endpoint}#{self.name}"


@dataclass(frozen=True, slots=True)
class HttpsServer:
    """A resolver asked by DNS over HTTPS (RFC 8484), with POST to ``path``."""

    endpoint: Endpoint
    name: str
    path: str

    @property
    def authority(self) -> str:
        """Name and port, as in requests."""
        host = f"[{self.name}]" if ":" in self.name else self.name
        return f"{host}:{self.endpoint.port}"

    def __str__(self) -> str:
        return f"https://{self.endpoint}{self.path}#{self.name}"


# An endpoint is asked over UDP, and over TCP where an answer doesn't fit.
Server = Endpoint | TlsServer | HttpsServer


@dataclass(frozen=True, slots=True)
class ResolverTrust:
    """What verifies resolvers: on connections of DNS's own, and on those of HTTP."""

    stream: ssl.SSLContext
    https: ssl.SSLContext


def resolver_trust(authorities: Path | None) -> ResolverTrust:
    """Verifies resolvers by the CA certificates in the file ``authorities`` (PEM), without one by
    those of the system. Raises OSError, ssl.SSLError included."""
    stream, https = (ssl.create_default_context(cafile=authorities) for _ in range(2))
    for context in (stream, https):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    https.set_alpn_protocols(["h2", "http/1.1"])
    return ResolverTrust(stream, https)


class SystemServers:
    """Reads the ``nameserver`` lines, again when the file has changed (a new lease, a VPN)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int] | None = None
        self._servers: tuple[Endpoint, ...] = DEFAULT_SERVERS

    def current(self) -> tuple[Endpoint, ...]:
        """At most three servers; the local host's where there is no file or none is named."""
        try:
            status = self._path.stat()
            version = (status.st_mtime_ns, status.st_ino)
            if version != self._version:
                self._servers = parse_resolv_conf(self._path.read_text("utf-8", "replace"))
                self._version = version
        except OSError:
            self._version, self._servers = None, DEFAULT_SERVERS
        return self._servers


def parse_resolv_conf(text: str) -> tuple[Endpoint, ...]:
    """The servers named in ``text``; lines that can't be understood are passed over."""
    servers = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            servers.append(Endpoint(ipaddress.ip_address(words[1]), _PORT))
        except ValueError:
            continue
    return tuple(servers[:_MAX_SERVERS]) or DEFAULT_SERVERS


DEFAULT_SERVERS = (Endpoint(ipaddress.ip_address("127.0.0.1"), _PORT),)
