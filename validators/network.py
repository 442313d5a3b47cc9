"""The guarded way to a target: resolve once, judge every address, dial exactly the judged one.

No library below resolves again, and there are no proxies, hosts file or environment variables
on the way.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from validators import causes
from validators.addresses import Address, Endpoint, NetworkPolicy
from validators.causes import Cause
from validators.connections import Connection
from validators.resolver import Addresses
from validators.sockets import Sockets
from validators.trace import Trace


class AddressResolver(Protocol):
    """Where addresses of names come from (``validators.resolver.Resolver``)."""

    async def addresses(self, name: str) -> Addresses:
        """Raises DnsError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOffer:
    """How to do TLS on a connection. ``server_name`` goes into SNI, none for an address.

    ``failure`` is the cause to name when the handshake fails.
    """

    context: ssl.SSLContext
    server_name: str | None
    failure: Cause = causes.TLS_FAILED


@dataclass(frozen=True, slots=True)
class Dialled:
    """A connection to a target, and where it leads."""

    connection: Connection
    endpoint: Endpoint


class Dialer:
    """Opens connections to targets, within the policy.

    ``connect_timeout`` holds for each TCP connection, ``handshake_timeout`` for TLS.
    """

    def __init__(
        self,
        resolver: AddressResolver,
        sockets: Sockets,
        policy: NetworkPolicy,
        *,
        connect_timeout: timedelta = timedelta(seconds=10),
        handshake_timeout: timedelta = timedelta(seconds=10),
    ) -> None:
        self._resolver = resolver
        self._sockets = sockets
        self._policy = policy
        self._connect_timeout = connect_timeout.total_seconds()
        self._handshake_timeout = handshake_timeout.total_seconds()

    async def dial(
        self,
        host: str | Address,
        port: int,
        trace: Trace,
        *,
        tls: TlsOffer | None = None,
        can_fall_back: bool = True,
        preferred: Address | None = None,
    ) -> Dialled:
        """A connection to ``port`` of ``host``: the first IPv6 address, else the first IPv4 one.

        With ``can_fall_back``, IPv4 is also tried, once, when connecting by IPv6 failed.
        ``preferred`` is taken first if it is among the addresses. Raises ValidationFailure.
        """
        raise NotImplementedError
