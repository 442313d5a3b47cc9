"""Connections to targets: bounded buffers, and how they end."""

from __future__ import annotations

import asyncio
import errno
import ssl
from ipaddress import ip_address

import pytest
import trustme

from support.targets import Behaviour, Target, closing, resetting, silent
from validators.addresses import Endpoint
from validators.connections import CHUNK, Connection
from validators.sockets import Sockets


class FakeTransport(asyncio.Transport):
    """Notes whether reading is paused."""

    def __init__(self) -> None:
        super().__init__()
        self.is_paused = False

    def pause_reading(self) -> None:
        """Reading is paused."""
        assert not self.is_paused
        self.is_paused = True

    def resume_reading(self) -> None:
        """Reading goes on."""
        assert self.is_paused
        self.is_paused = False


def arrive(connection: Connection, octets: bytes) -> None:
    """Hand octets over as the loop does."""
    connection.get_buffer(-1)[: len(octets)] = octets
    connection.buffer_updated(len(octets))


async def test_reading_pauses_until_what_arrived_is_taken() -> None:
    transport, connection = FakeTransport(), Connection()
    connection.connection_made(transport)
    arrived = 0
    while not transport.is_paused:
        arrive(connection, b"x" * CHUNK)
        arrived += 1
    assert arrived == 4

    await connection.receive()
    assert not transport.is_paused
    for _ in range(3):
        assert await connection.receive() == b"x" * CHUNK


async def test_octets_are_taken_in_order_and_exactly() -> None:
    connection = Connection()
    connection.connection_made(FakeTransport())
    for part in (b"a", b"bcd", b"ef"):
        arrive(connection, part)

    assert await connection.receive_exactly(2) == b"ab"
    assert await connection.receive_exactly(3) == b"cde"
    assert await connection.receive() == b"f"
    assert connection.bytes_received == 6


async def test_what_arrived_is_read_before_the_end_and_the_error() -> None:
    connection = Connection()
    connection.connection_made(FakeTransport())
    arrive(connection, b"last")
    connection.connection_lost(ConnectionResetError(errno.ECONNRESET, "reset"))

    assert await connection.receive() == b"last"
    with pytest.raises(ConnectionResetError):
        await connection.receive()


async def test_an_end_before_the_wanted_octets_is_an_error() -> None:
    connection = Connection()
    connection.connection_made(FakeTransport())
    arrive(connection, b"ab")
    connection.eof_received()

    with pytest.raises(ConnectionError):
        await connection.receive_exactly(3)


@pytest.mark.parametrize(("behave", "is_error"), [(closing, False), (resetting, True)])
async def test_a_peer_that_closes_is_told_from_one_that_resets(
    behave: Behaviour, is_error: bool
) -> None:
    async with Target(behave) as target:
        connection = await Sockets().connect(target.endpoint)
        connection.send(b"\r\n\r\n")
        if is_error:
            with pytest.raises(ConnectionResetError):
                await connection.receive()
        else:
            assert await connection.receive() == b""
        connection.abort()


async def test_a_waiting_reader_can_be_cancelled() -> None:
    async with Target(silent) as target:
        connection = await Sockets().connect(target.endpoint)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await connection.receive()
        connection.abort()
        assert await connection.receive() == b""


async def test_what_comes_in_many_records_of_tls_arrives_whole() -> None:
    """The loop reads several at a time, each into what it takes for the rest of the buffer."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    parts = [bytes([number]) * 50 for number in range(100)]

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(send, "127.0.0.1", 0, ssl=server)
    host, port = listener.sockets[0].getsockname()
    connection = await Sockets().connect(Endpoint(ip_address(host), port))
    await connection.start_tls(client, "localhost")
    arrived = await connection.receive_exactly(5000)
    connection.abort()
    listener.close()

    assert arrived == b"".join(parts)
