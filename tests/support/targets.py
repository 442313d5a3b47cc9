"""Targets for validations, friendly and hostile, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Self

from validators.addresses import Endpoint

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\n"


class Target:
    """A TCP server that behaves as told. ``connections`` counts; ``requests`` are their heads."""

    def __init__(
        self,
        behave: Behaviour,
        *,
        host: str = "127.0.0.2",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._behave = behave
        self._host = host
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = port
        self.connections = 0
        self.requests: list[bytes] = []
        self.bytes_sent = 0

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        return Endpoint(ip_address(self._host), self.port)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            # Cancelled only by ``__aexit__``; streams would report that as an error.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._behave(reader, writer)
        finally:
            writer.transport.abort()


async def closed(writer: asyncio.StreamWriter) -> None:
    """Send what was written and say that nothing follows; the peer closes."""
    with contextlib.suppress(OSError):
        await writer.drain()
        writer.close()
        await writer.wait_closed()


def responding(*parts: bytes) -> Behaviour:
    """Reads a request and sends ``parts``, each by itself."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
        await closed(writer)

    return behave


def paths(answers: Mapping[str, bytes], seen: list[bytes] | None = None) -> Behaviour:
    """Answers by path; 404 for others. ``seen`` collects the request heads."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(head)
        path = head.split(b" ", 2)[1].decode()
        writer.write(answers.get(path, b"HTTP/1.1 404 Not Found\r\n\r\n"))
        await closed(writer)

    return behave


def flooding(start: bytes, repeated: bytes, sent: list[int]) -> Behaviour:
    """Reads a request and sends without end; ``sent`` counts what the socket took."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.set_write_buffer_limits(0)
        writer.write(start)
        while True:
            writer.write(repeated)
            await writer.drain()
            # A drain that needs not wait gives nobody else a turn.
            await asyncio.sleep(0)
            sent.append(len(repeated))

    return behave


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts and says nothing until the peer goes."""
    while await reader.read(4096):
        pass


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads the request and closes without an answer."""
    await reader.readuntil(b"\r\n\r\n")
    await closed(writer)


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads the request and breaks the connection off."""
    await reader.readuntil(b"\r\n\r\n")
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    writer.transport.abort()


def response(
    body: bytes = b"",
    *,
    status: str = "200 OK",
    fields: Iterable[str] = (),
    has_length: bool = True,
) -> bytes:
    """A whole HTTP response."""
    lines = [f"HTTP/1.1 {status}", *fields]
    if has_length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    """A redirect."""
    return response(status=status, fields=[f"Location: {location}"])


class BlackHole:
    """An endpoint that neither accepts nor refuses: its queue of connections is full."""

    def __init__(self, host: str = "127.0.0.2", port: int = 0) -> None:
        self._host = host
        self._port = port

    def __enter__(self) -> Endpoint:
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((self._host, self._port))
        self._listener.listen(0)
        port = self._listener.getsockname()[1]
        self._fillers = []
        for _ in range(4):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex((self._host, port))
            self._fillers.append(filler)
        return Endpoint(ip_address(self._host), port)

    def __exit__(self, *exception: object) -> None:
        for used in (self._listener, *self._fillers):
            used.close()


def closed_port(host: str = "127.0.0.2") -> Endpoint:
    """An endpoint where nothing listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return Endpoint(ip_address(host), probe.getsockname()[1])
