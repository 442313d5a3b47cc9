"""The system's resolvers, as /etc/resolv.conf names them now."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from validators.addresses import Endpoint

_PORT = 53
_MAX_SERVERS = 3


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
