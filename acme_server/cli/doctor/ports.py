"""Who listens on a port of this machine, as far as the kernel tells us."""

from __future__ import annotations

import contextlib
import errno
import socket
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from acme_server.config.values import Endpoint

_LISTENING = "0A"
_PROC = Path("/proc")


def is_free(endpoint: Endpoint) -> bool:
    """Whether we could listen there now. Raises OSError for other reasons than its being taken."""
    family = socket.AF_INET6 if endpoint.address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            probe.bind((endpoint.host, endpoint.port))
            # A bound socket of another process that listens is noticed here at the latest.
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def find_listener(port: int) -> tuple[int, str] | None:
    """The process that listens on ``port``, as (pid, name); None if it may not be seen."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for process in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(
                str(descriptor.readlink()) in inodes for descriptor in (process / "fd").iterdir()
            ):
                return int(process.name), (process / "comm").read_text(encoding="utf-8").strip()
    return None


def _listening_inodes(port: int) -> list[str]:
    inodes = []
    for table in ("net/tcp", "net/tcp6"):
        with contextlib.suppress(OSError):
            for line in (_PROC / table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.append(fields[9])
    return inodes


def reachable(endpoint: Endpoint) -> Endpoint:
    """Where to connect to reach a listener: one on all addresses is reached by loopback."""
    if not endpoint.address.is_unspecified:
        return endpoint
    is_ipv6 = endpoint.address.version == 6
    loopback = IPv6Address("::1") if is_ipv6 else IPv4Address("127.0.0.1")
    return Endpoint(loopback, endpoint.port)
