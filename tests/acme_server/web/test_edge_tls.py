"""The same edge behind TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme

from acme_server.web.connections import Limits
from acme_server.web.tls import ReplaceableContext, server_context
from support.edge import PATIENT, ServedPlainly, serve

# Long enough to see a connection, short enough to see it end.
SHORT_TLS = Limits(first_byte=2, head=2, body=2, idle=2, response=2, linger=0.3)
GET = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"


def issue(authority: trustme.CA) -> ssl.SSLContext:
    """A server context with a certificate of its own."""
    certificate = authority.issue_cert("localhost")
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    return server_context(chain, certificate.private_key_pem.bytes())


@pytest.fixture
def authority() -> trustme.CA:
    """Whom the clients trust."""
    return trustme.CA()


@pytest.fixture
def client(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
async def served(authority: trustme.CA) -> AsyncIterator[ServedPlainly]:
    """An edge with short deadlines."""
    async with serve(SHORT_TLS, tls=issue(authority)) as served:
        yield served


async def test_requests_are_answered(served: ServedPlainly, client: ssl.SSLContext) -> None:
    client.set_alpn_protocols(["h2", "http/1.1"])
    wire = await served.connect(client)
    replies = [await wire.ask(GET) for _ in range(3)]

    assert [reply.status for reply in replies] == [200, 200, 200]
    tls = wire.writer.get_extra_info("ssl_object")
    assert (tls.version(), tls.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")


async def test_a_handshake_that_never_starts_is_cut_off(served: ServedPlainly) -> None:
    wire = await served.connect()

    assert await wire.rest() == b""


async def test_a_handshake_that_stops_halfway_is_cut_off(served: ServedPlainly) -> None:
    wire = await served.connect()
    wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")

    assert await wire.rest() == b""


@pytest.mark.parametrize("sent", [b"", b"GET /ec", GET])
async def test_a_client_that_falls_silent_is_cut_off(
    served: ServedPlainly, client: ssl.SSLContext, sent: bytes
) -> None:
    wire = await served.connect(client)
    wire.send(sent)
    if sent == GET:
        assert (await wire.reply()).status == 200

    assert await wire.rest() == b""
    await served.until_connections(0)


async def test_a_client_that_ignores_the_goodbye_is_cut_off(
    served: ServedPlainly, client: ssl.SSLContext
) -> None:
    """The peer's closing alert never comes, since nobody reads ours."""
    silent = await asyncio.to_thread(_connect_and_stop, served.port, client)
    try:
        await served.until_connections(1)
        await served.until_connections(0)
    finally:
        silent.close()


async def test_a_client_that_never_reads_its_answer_is_cut_off(
    served: ServedPlainly, client: ssl.SSLContext
) -> None:
    silent = await asyncio.to_thread(
        _connect_and_stop, served.port, client, b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    try:
        await served.until_connections(1)
        await served.until_connections(0)
    finally:
        silent.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_versions_are_refused(
    served: ServedPlainly, client: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    client.minimum_version = version
    client.maximum_version = version
    client.set_ciphers("ALL:@SECLEVEL=0")

    with pytest.raises((ssl.SSLError, ConnectionError)):
        await served.connect(client)


async def test_plain_http_and_garbage_fail_quietly(
    served: ServedPlainly, caplog: pytest.LogCaptureFixture
) -> None:
    for octets in (GET, b"\x00" * 100):
        wire = await served.connect()
        wire.send(octets)
        assert b"HTTP" not in await wire.rest()

    assert caplog.records == []


async def test_a_new_certificate_is_served_to_new_connections_only(
    authority: trustme.CA, client: ssl.SSLContext
) -> None:
    context = ReplaceableContext(issue(authority))
    async with serve(Limits(), tls=context) as served:
        before = await served.connect(client)
        context.replace(issue(authority))
        after = await served.connect(client)

        assert (await before.ask(GET)).status == 200
        assert (await after.ask(GET)).status == 200
        first, second = (
            wire.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            for wire in (before, after)
        )
        assert first != second


async def test_draining_answers_what_is_under_way(
    authority: trustme.CA, client: ssl.SSLContext
) -> None:
    async with serve(Limits(), tls=issue(authority)) as served:
        wire = await served.connect(client)
        wire.send(b"POST /held HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
        await served.front_end.started.acquire()
        drained = asyncio.ensure_future(served.edge.drain(3600))
        served.front_end.may_end.set()
        reply = await wire.reply()

        assert (reply.status, reply.headers["connection"]) == (200, "close")
        await wire.close()
        async with asyncio.timeout(PATIENT):
            await drained


def test_a_key_of_another_certificate_is_refused(authority: trustme.CA) -> None:
    first, second = authority.issue_cert("localhost"), authority.issue_cert("localhost")

    with pytest.raises(ssl.SSLError):
        server_context(first.cert_chain_pems[0].bytes(), second.private_key_pem.bytes())


def _connect_and_stop(port: int, client: ssl.SSLContext, sent: bytes = b"") -> ssl.SSLSocket:
    """Shake hands, send, and never read again."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    sock.connect(("127.0.0.1", port))
    wrapped = client.wrap_socket(sock, server_hostname="localhost")
    wrapped.sendall(sent)
    return wrapped
