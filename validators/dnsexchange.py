"""One question to one resolver: over UDP, and over TCP where UDP does not do."""

from __future__ import annotations

import asyncio

from validators.addresses import Endpoint
from validators.dnsmessages import (
    Answer,
    Match,
    MessageMalformed,
    Query,
    is_truncated,
    match,
    parse_answer,
)
from validators.sockets import Sockets

_MAX_DATAGRAM = 4096


class Exchange:
    """Asks single questions. ``timeout`` (seconds) holds for UDP and again for TCP."""

    def __init__(self, sockets: Sockets, timeout: float) -> None:
        self._sockets = sockets
        self._timeout = timeout

    async def ask(self, server: Endpoint, query: Query) -> Answer:
        """The answer of ``server``.

        Raises TimeoutError, another OSError when it can't be reached, or MessageMalformed.
        """
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
                connection.send(len(query.wire).to_bytes(2) + query.wire)
                length = int.from_bytes(await connection.receive_exactly(2))
                wire = await connection.receive_exactly(length)
            finally:
                connection.abort()
        if match(query, wire) is Match.FOREIGN:
            raise MessageMalformed("answers another question")
        return parse_answer(wire)
