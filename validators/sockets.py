"""The one place where validators make sockets: TCP with or without TLS, and UDP for DNS.

Only addresses get here, never names, so nothing below resolves anything. Whether a target may be
contacted is decided before, by ``validators.network``; resolvers are the operator's choice.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from validators.addresses import Address, Endpoint
from validators.connections import Connection

# Called with "tcp" or "udp" and the endpoint, just before the socket is connected to it.
ContactHook = Callable[[str, Endpoint], None]

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class SocketsExhausted(Exception):
    """This machine has no more sockets to give: the target is not to blame."""


class Sockets:
    """Makes outbound sockets, each to one explicit address and port."""

    def __init__(self, on_contact: ContactHook | None = None) -> None:
        self._on_contact = on_contact

    async def connect(self, endpoint: Endpoint) -> Connection:
        """A connection to ``endpoint``; the caller sets the deadline.

        The loop gets the address as text and parses it, which resolves nothing. Raises OSError,
        and SocketsExhausted as all of these do.
        """
        self._announce("tcp", endpoint)
        connection = Connection()
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: connection,
                str(endpoint.address),
                endpoint.port,
                family=_family(endpoint.address),
            )
        except OSError as error:
            raise _unless_exhausted(error) from error
        return connection

    def connect_udp(self, endpoint: Endpoint) -> socket.socket:
        """A non-blocking socket that only ``endpoint`` can send to, from a fresh random port.

        Raises OSError.
        """
        self._announce("udp", endpoint)
        connected = _make_socket(endpoint.address, socket.SOCK_DGRAM)
        try:
            connected.connect(_sockaddr(endpoint))
        except BaseException:
            connected.close()
            raise
        return connected

    def _announce(self, transport: str, endpoint: Endpoint) -> None:
        if self._on_contact is not None:
            self._on_contact(transport, endpoint)


def is_own_address(address: Address) -> bool:
    """Whether this machine has ``address``: only then can a socket be bound to it."""
    try:
        with _make_socket(address, socket.SOCK_DGRAM) as probe:
            probe.bind(_sockaddr(Endpoint(address, 0)))
    except OSError:
        return False
    return True


def _make_socket(address: Address, kind: socket.SocketKind) -> socket.socket:
    try:
        made = socket.socket(_family(address), kind)
    except OSError as error:
        raise _unless_exhausted(error) from error
    made.setblocking(False)
    return made


def _unless_exhausted(error: OSError) -> Exception:
    return SocketsExhausted(str(error)) if error.errno in _EXHAUSTED else error


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _sockaddr(endpoint: Endpoint) -> tuple[str, int] | tuple[str, int, int, int]:
    if endpoint.address.version == 4:
        return str(endpoint.address), endpoint.port
    scope = endpoint.address.scope_id if hasattr(endpoint.address, "scope_id") else None
    return str(endpoint.address).partition("%")[0], endpoint.port, 0, _scope_index(scope)


def _scope_index(scope: str | None) -> int:
    """The interface index of a zone, for resolvers with a link-local address."""
    if not scope:
        return 0
    return int(scope) if scope.isdigit() else socket.if_nametoindex(scope)
