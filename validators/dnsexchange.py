"""One question to one resolver: over UDP, over TCP where UDP does not do, over TLS or HTTPS."""

from __future__ import annotations

import asyncio

from validators.addresses import Endpoint
from validators.connections import Connection
from validators.dnsmessages import (
    Answer,
    Match,
    MessageMalformed,
    Query,
    is_truncated,
    match,
    parse_answer,
)
from validators.http1 import HttpTruncated, HttpViolation, ResponseParser
from validators.http2 import Http2Response, encode_post
from validators.nameservers import HttpsServer, ResolverTrust, Server, TlsServer
from validators.sockets import Sockets

_MAX_DATAGRAM = 4096
_MAX_MESSAGE = 65535
_MEDIA_TYPE = "application/dns-message"
_TYPE_FIELD = b"content-type"


class Exchange:
    """Asks single questions. ``timeout`` (seconds) holds for UDP and again for TCP; for TLS it
    includes the handshake. ``trust`` verifies the resolvers that are asked over TLS."""

    def __init__(
        self, sockets: Sockets, timeout: float, trust: ResolverTrust | None = None
    ) -> None:
        self._sockets = sockets
        self._timeout = timeout
        self._trust = trust

    async def ask(self, server: Server, query: Query) -> Answer:
        """The answer of ``server``.

        Raises TimeoutError, ssl.SSLError when it doesn't prove who it is, another OSError when
        it can't be reached, or MessageMalformed.
        """
        if isinstance(server, TlsServer | HttpsServer):
            return await self._ask_encrypted(server, query)
        answer = await self._ask_udp(server, query)
        return await self._ask_tcp(server, query) if answer is None else answer

    async def _ask_udp(self, server: Endpoint, query: Query) -> Answer | None:
        """None when the question must be asked over TCP: the answer is truncated, or lost the
        case of the name, so that it could be forged.

        What doesn't fit the question, or fits and can't be read, doesn't end the wait: it may
        come from somebody who wants it to end (CVE-2023-29483).
        """
        unreadable: MessageMalformed | None = None
        loop = asyncio.get_running_loop()
        with self._sockets.connect_udp(server) as connected:
            connected.send(query.wire)
            try:
                async with asyncio.timeout(self._timeout):
                    while True:
                        wire = await loop.sock_recv(connected, _MAX_DATAGRAM)
                        matched = match(query, wire)
                        if matched is Match.CASE_LOST or (
                            matched is Match.OURS and is_truncated(wire)
                        ):
                            return None
                        if matched is Match.OURS:
                            try:
                                return parse_answer(wire)
                            except MessageMalformed as error:
                                unreadable = error
                        # With datagrams waiting, sock_recv returns without giving the loop a
                        # turn; a flood would hold it, and the timeout could never fire.
                        await asyncio.sleep(0)
            except TimeoutError:
                if unreadable is not None:
                    raise unreadable from None
                raise

    async def _ask_tcp(self, server: Endpoint, query: Query) -> Answer:
        async with asyncio.timeout(self._timeout):
            connection = await self._sockets.connect(server)
            try:
                wire = await _ask_stream(connection, query)
            finally:
                connection.abort()
        return _read(query, wire)

    async def _ask_encrypted(self, server: TlsServer | HttpsServer, query: Query) -> Answer:
        assert self._trust is not None, "resolvers over TLS need trust in someone"
        async with asyncio.timeout(self._timeout):
            connection = await self._sockets.connect(server.endpoint)
            try:
                if isinstance(server, HttpsServer):
                    await connection.start_tls(self._trust.https, server.name)
                    wire = await _ask_https(connection, server, query)
                else:
                    await connection.start_tls(self._trust.stream, server.name)
                    wire = await _ask_stream(connection, query)
            finally:
                connection.abort()
        return _read(query, wire)


async def _ask_stream(connection: Connection, query: Query) -> bytes:
    """The answer on a connection of DNS's own (RFC 7766)."""
    connection.send(len(query.wire).to_bytes(2) + query.wire)
    length = int.from_bytes(await connection.receive_exactly(2))
    return await connection.receive_exactly(length)


async def _ask_https(connection: Connection, server: HttpsServer, query: Query) -> bytes:
    """The answer to a POST (RFC 8484, section 4.1). Raises MessageMalformed."""
    try:
        if connection.protocol == "h2":
            return await _post_http2(connection, server, query)
        return await _post_http1(connection, server, query)
    except (HttpViolation, HttpTruncated) as error:
        raise MessageMalformed("the resolver does not speak HTTP as it should") from error


async def _post_http2(connection: Connection, server: HttpsServer, query: Query) -> bytes:
    connection.send(encode_post(server.authority, server.path, _MEDIA_TYPE, query.wire))
    response = Http2Response()
    while not response.is_complete:
        if octets := await connection.receive():
            connection.send(response.feed(octets))
        else:
            response.feed_eof()
    return response.body


async def _post_http1(connection: Connection, server: HttpsServer, query: Query) -> bytes:
    head = (
        f"POST {server.path} HTTP/1.1\r\nHost: {server.authority}\r\n"
        f"Accept: {_MEDIA_TYPE}\r\nContent-Type: {_MEDIA_TYPE}\r\n"
        f"Content-Length: {len(query.wire)}\r\nConnection: close\r\n\r\n"
    )
    connection.send(head.encode("ascii") + query.wire)
    parser = ResponseParser(_MAX_MESSAGE, max_raw=2 * _MAX_MESSAGE)
    while not parser.is_complete:
        if octets := await connection.receive():
            parser.feed(octets)
        else:
            parser.feed_eof()
    assert parser.head is not None
    types = [value.partition(b";")[0].strip().lower() for value in parser.head.values(_TYPE_FIELD)]
    if parser.head.status != 200 or types != [_MEDIA_TYPE.encode()] or parser.is_too_long:
        raise HttpViolation("it is no answer in DNS")
    return parser.body


def _read(query: Query, wire: bytes) -> Answer:
    """The answer in a message that came from the resolver for sure. Raises MessageMalformed."""
    if match(query, wire) is Match.FOREIGN:
        raise MessageMalformed("answers another question")
    if is_truncated(wire):
        raise MessageMalformed("is truncated where there is no need")
    return parse_answer(wire)
