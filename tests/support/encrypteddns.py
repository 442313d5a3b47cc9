"""A DNS server that is asked over TLS and over HTTPS, in front of the scripted one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

import trustme

from support.dns import DnsServer
from support.targets import Target

NAME = "dns.example.test"
# From the request (head, body) and the answer to it, what is sent back.
Respond = Callable[[bytes, bytes, bytes], bytes]


class Authority:
    """A CA for resolvers; its certificate is in ``path``."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.path = directory / "resolvers.pem"
        self.ca.cert_pem.write_to_path(self.path)

    def context(self, *names: str, protocol: str | None = None) -> ssl.SSLContext:
        """A server's context with a certificate for ``names``; ``protocol`` is its only one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if protocol is not None:
            context.set_alpn_protocols([protocol])
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


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def ok_http2(head: bytes, body: bytes, answer: bytes) -> bytes:
    """The usual response in HTTP/2, after the server's settings; the body in parts."""
    parts = [answer[start : start + 16_000] for start in range(0, len(answer), 16_000)]
    return (
        frame(4, 0, 0, b"")
        + frame(1, 4, 1, b"\x20\x88")
        + b"".join(frame(0, 0, 1, part) for part in parts)
        + frame(0, 1, 1, b"")
    )


class EncryptedDns(Target):
    """``async with EncryptedDns(server, context) as encrypted``: what ``server`` answers, over
    TLS; over HTTPS if there is a ``respond``. ``requests`` are the heads that came."""

    def __init__(
        self, server: DnsServer, context: ssl.SSLContext, respond: Respond | None = None
    ) -> None:
        super().__init__(self._answer, host="127.0.0.1", tls=context)
        self._zones = server
        self._respond = respond

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._respond is None:
            query = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
            answers = self._zones.answer(query, "tls") or ()
            writer.writelines(len(octets).to_bytes(2) + octets for octets in answers)
        else:
            tls = writer.get_extra_info("ssl_object")
            is_http2 = tls.selected_alpn_protocol() == "h2"
            head, body = await (_read_http2(reader) if is_http2 else _read_http1(reader))
            self.requests.append(head)
            messages: Sequence[bytes] = self._zones.answer(body, "https") or ()
            writer.writelines(self._respond(head, body, octets) for octets in messages)
        await writer.drain()
        await reader.read()


async def _read_http1(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head, await reader.readexactly(length)


async def _read_http2(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The header block and the body of the one request."""
    assert await reader.readexactly(24) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    block = b""
    while True:
        start = await reader.readexactly(9)
        payload = await reader.readexactly(int.from_bytes(start[:3]))
        if start[3] == 1:
            block = payload
        if start[3] == 0:
            return block, payload
