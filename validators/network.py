"""The guarded way to a target: resolve once, judge every address, dial exactly the judged one.

No library below resolves again, and there are no proxies, hosts file or environment variables
on the way.
"""

from __future__ import annotations

import asyncio
import errno
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import Protocol

from policy.model.identifiers import Identifier, IdentifierType
from validators import causes
from validators.addresses import Address, Endpoint, NetworkPolicy, is_denied_endpoint, verdict
from validators.causes import Cause, ValidationFailure
from validators.connections import Connection
from validators.dnserrors import DnsError
from validators.excerpts import excerpt
from validators.resolver import Addresses
from validators.sockets import Sockets, is_own_address
from validators.trace import Trace


class AddressResolver(Protocol):
    """Where addresses of names come from (``validators.resolver.Resolver``)."""

    async def addresses(self, name: str, trace: Trace) -> Addresses:
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
        self._own_ports = frozenset(
            endpoint.port for endpoint in policy.denied_endpoints if endpoint.address.is_unspecified
        )

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
        candidates = await self._candidates(host, port, trace, preferred)
        name = excerpt(str(host), 255)
        endpoint = candidates[0]
        try:
            connection = await self._connect(endpoint, name, trace)
        except ValidationFailure:
            if not can_fall_back or len(candidates) == 1:
                raise
            endpoint = candidates[1]
            connection = await self._connect(endpoint, name, trace)
        dialled = Dialled(connection, endpoint)
        if tls is not None:
            try:
                await self._start_tls(dialled, tls, name, trace)
            except BaseException:
                connection.abort()
                raise
        return dialled

    async def _candidates(
        self, host: str | Address, port: int, trace: Trace, preferred: Address | None
    ) -> list[Endpoint]:
        """The endpoint to dial and, if that one is IPv6, one of IPv4 to fall back to."""
        if isinstance(host, str):
            try:
                found = await self._resolver.addresses(host, trace)
            except DnsError as error:
                raise error.as_failure() from error
            ipv6 = self._allowed(found.ipv6, port, trace)
            ipv4 = self._allowed(found.ipv4, port, trace)
        else:
            ipv6, ipv4 = self._allowed((host,), port, trace), []
        if preferred is not None and preferred in (*ipv6, *ipv4):
            return [Endpoint(preferred, port)]
        candidates = [Endpoint(address, port) for address in (*ipv6[:1], *ipv4[:1])]
        if not candidates:
            raise ValidationFailure(causes.ADDRESS_REFUSED)
        return candidates

    def _allowed(self, addresses: Iterable[Address], port: int, trace: Trace) -> list[Address]:
        allowed = []
        for address in addresses:
            reason = self._refusal(address, port)
            if reason is None:
                allowed.append(address)
            else:
                trace.begin("refuse", address=str(address), port=port, reason=reason)
        return allowed

    def _refusal(self, address: Address, port: int) -> str | None:
        decided = verdict(address, self._policy)
        if not decided.is_allowed:
            return decided.reason
        if is_denied_endpoint(address, port, self._policy):
            return "denied endpoint"
        if port in self._own_ports and is_own_address(address):
            return "denied port of this machine"
        return None

    async def _connect(self, endpoint: Endpoint, host: str, trace: Trace) -> Connection:
        step = trace.begin("connect", endpoint=str(endpoint), host=host)
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await self._sockets.connect(endpoint)
        except TimeoutError as error:
            step["outcome"] = "timeout"
            raise ValidationFailure(
                causes.CONNECTION_TIMEOUT,
                endpoint=endpoint,
                host=host,
                seconds=self._connect_timeout,
            ) from error
        except OSError as error:
            step["outcome"] = _errno_name(error)
            raise connection_failure(error, endpoint, host) from error
        step["outcome"] = "connected"
        return connection

    async def _start_tls(self, dialled: Dialled, tls: TlsOffer, host: str, trace: Trace) -> None:
        step = trace.begin("handshake", server_name=tls.server_name)
        try:
            async with asyncio.timeout(self._handshake_timeout):
                await dialled.connection.start_tls(tls.context, tls.server_name)
        except TimeoutError as error:
            step["outcome"] = "timeout"
            raise ValidationFailure(
                causes.TLS_TIMEOUT,
                endpoint=dialled.endpoint,
                host=host,
                seconds=self._handshake_timeout,
            ) from error
        except OSError as error:
            step["outcome"] = reason = tls_reason(error)
            raise ValidationFailure(
                tls.failure, endpoint=dialled.endpoint, host=host, reason=reason
            ) from error
        step["outcome"] = "done"


def host_of(identifier: Identifier) -> str | Address:
    """The host to contact for an identifier."""
    if identifier.type is IdentifierType.IP:
        return ip_address(identifier.value)
    return identifier.value


def unverified_tls(*protocols: str) -> ssl.SSLContext:
    """TLS 1.2 or newer with the given ALPN protocols, certificates not verified: what proves
    control is the answer, and whoever needs a certificate has none that would verify."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    return context


def connection_failure(error: OSError, endpoint: Endpoint, host: str) -> ValidationFailure:
    """The failure that a broken connection, or one that was never made, amounts to."""
    cause = _CAUSES_BY_ERRNO.get(error.errno or 0)
    if cause is None and isinstance(error, ConnectionError):
        cause = causes.CONNECTION_RESET
    return ValidationFailure(
        cause or causes.CONNECTION_FAILED, endpoint=endpoint, host=host, reason=_errno_name(error)
    )


def tls_reason(error: OSError) -> str:
    """OpenSSL's words for what went wrong in a handshake, or what ended it."""
    if isinstance(error, ssl.SSLError) and (words := _OPENSSL_MESSAGE.search(str(error))):
        return excerpt(words[1])
    if isinstance(error, ssl.SSLError | ConnectionError):
        return "the connection ended during the handshake"
    return _errno_name(error)


def _errno_name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


# As in "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"; ``reason`` is None for
# alerts that Python has no name for.
_OPENSSL_MESSAGE = re.compile(r"\] (.+?) \(_ssl")
_CAUSES_BY_ERRNO = {
    errno.ECONNREFUSED: causes.CONNECTION_REFUSED,
    errno.ECONNRESET: causes.CONNECTION_RESET,
    errno.EPIPE: causes.CONNECTION_RESET,
    errno.ETIMEDOUT: causes.CONNECTION_TIMEOUT,
    errno.EHOSTUNREACH: causes.CONNECTION_UNREACHABLE,
    errno.ENETUNREACH: causes.CONNECTION_UNREACHABLE,
    errno.EADDRNOTAVAIL: causes.CONNECTION_UNREACHABLE,
    errno.EAFNOSUPPORT: causes.CONNECTION_UNREACHABLE,
}
