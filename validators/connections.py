"""A stream connection to a target that may be hostile: small bounded reads, nothing kept open."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import cast

CHUNK = 4096
_HIGH_WATER = 4 * CHUNK
# Seconds for the peer to answer the end of TLS.
_TLS_CLOSING = 1.0


class Connection(asyncio.BufferedProtocol):
    """One connection. Never more than a few chunks are held: reading pauses until they are
    taken, so a flood stays in the kernel's buffer and then at its sender."""

    def __init__(self) -> None:
        self._chunk = bytearray(CHUNK)
        self._arrived: deque[bytes] = deque()
        self._held = 0
        self._is_paused = False
        self._is_ended = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self.bytes_received = 0

    async def receive(self) -> bytes:
        """The next octets, at most CHUNK; b"" once the peer has ended.

        Raises OSError (ssl.SSLError included) when the connection broke.
        """
        while not self._arrived:
            if self._error is not None:
                raise self._error
            if self._is_ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        octets = self._arrived.popleft()
        self._held -= len(octets)
        if self._is_paused and self._held < _HIGH_WATER and not self._is_ended:
            self._is_paused = False
            self.transport.resume_reading()
        return octets

    async def receive_exactly(self, count: int) -> bytes:
        """``count`` octets. Raises ConnectionError if the peer ended before, OSError as above."""
        parts = bytearray()
        while len(parts) < count:
            octets = await self.receive()
            if not octets:
                raise ConnectionAbortedError("the peer ended the connection early")
            parts += octets
        if len(parts) > count:
            surplus = bytes(parts[count:])
            self._arrived.appendleft(surplus)
            self._held += len(surplus)
        return bytes(parts[:count])

    async def start_tls(self, context: ssl.SSLContext, server_name: str | None) -> None:
        """Do the TLS handshake as a client. Raises OSError (ssl.SSLError included)."""
        transport = await asyncio.get_running_loop().start_tls(
            self.transport,
            self,
            context,
            server_hostname=server_name or "",
            ssl_shutdown_timeout=_TLS_CLOSING,
        )
        assert transport is not None
        self._transport = transport

    def send(self, octets: bytes) -> None:
        """Send something small; it is not waited for."""
        self.transport.write(octets)

    def close(self) -> None:
        """Close in good order: what is queued is sent, and TLS ended. It is not waited for."""
        self.transport.close()

    def abort(self) -> None:
        """Close at once, whatever is queued."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def transport(self) -> asyncio.Transport:
        """The transport; there is one as soon as the connection is made."""
        assert self._transport is not None
        return self._transport

    @property
    def protocol(self) -> str | None:
        """The protocol that was negotiated with TLS (ALPN); None if there was none."""
        tls = self.transport.get_extra_info("ssl_object")
        return None if tls is None else tls.selected_alpn_protocol()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        # Not an instance of the class with uvloop.
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by the loop: where the next octets go. Of anything but a view, the loop would
        take slices that are copies, and with TLS write the second record of a read into one."""
        return memoryview(self._chunk)

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the loop: that many octets arrived in the buffer."""
        self.bytes_received += nbytes
        self._held += nbytes
        self._arrived.append(bytes(memoryview(self._chunk)[:nbytes]))
        if self._held >= _HIGH_WATER and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """Called by the loop: the peer will send no more."""
        self._is_ended = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop: the connection is closed, or broke with ``exc``."""
        self._is_ended = True
        self._error = self._error or exc
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._waiter = None
