"""A DNS server that is asked over TLS and over HTTPS, in front of the scripted one."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Self

import trustme

from support.dns import DnsServer
from validators.addresses import Endpoint

NAME = "dns.example.test"
# From the request (head, body) and the answer to it, what is sent back.
Respond = Callable[[bytes, bytes, bytes], bytes]


class Authority:
    """A CA for resolvers; its certificate is in ``path``."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.path = directory / "resolvers.pem"
        self.ca.cert_pem.write_to_path(self.path)

    def context(self, *names: str) -> ssl.SSLContext:
        """A server's context with a certificate for ``names``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names).configure_cert(context)
        return context


def ok(head: bytes, body: bytes, answer: bytes) -> bytes:
    """The usual response."""
    return response(answer)


def response(
    body: bytes, *, status: str = "200 OK", media_type: str = "application/dns-message"
) -> bytes:
    """A response with these parts."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class EncryptedDns:
    """``async with EncryptedDns(server, context) as encrypted``: what ``server`` answers, over
    TLS; over HTTPS if there is a ``respond``. ``requests`` are the heads that came."""

    def __init__(
        self, server: DnsServer, context: ssl.SSLContext, respond: Respond | None = None
    ) -> None:
        self._server = server
        self._context = context
        self._respond = respond
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[bytes] = []

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        host, port = self._listener.sockets[0].getsockname()
        return Endpoint(ip_address(host), port)

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
                await self._answer(reader, writer)
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._respond is None:
            query = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
            answers = self._server.answer(query, "tls") or ()
            writer.writelines(len(octets).to_bytes(2) + octets for octets in answers)
        else:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head)
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            messages: Sequence[bytes] = self._server.answer(body, "https") or ()
            writer.writelines(self._respond(head, body, octets) for octets in messages)
        await writer.drain()
        await reader.read()
