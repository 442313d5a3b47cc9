"""The edge on a real socket with a front end of a few lines, and a client that sends any bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson

from acme_server.acme.problems import render_error
from acme_server.web.addresses import ClientAddresses
from acme_server.web.connections import Limits
from acme_server.web.edge import Edge
from acme_server.web.ratelimit import RequestLimit
from acme_server.web.requests import Request
from acme_server.web.responses import Response, problem_response
from acme_server.web.routes import Route, Routes
from policy.model.errors import ErrorKind, ServerError

# Deadlines a test can wait for; each is far from the defaults and from what tests wait at most.
SHORT = Limits(
    first_byte=0.3, head=0.3, body=0.3, idle=0.3, response=0.3, linger=0.3, body_size=4096
)
# What is not about deadlines has those of operation.
USUAL = Limits(body_size=4096)
PATIENT = 60.0


class PlainFrontEnd:
    """Echoes bodies, serves a large answer, and holds requests back until told to go on."""

    def __init__(self) -> None:
        self.large = b"x" * 16_777_216
        self.started = asyncio.Semaphore(0)
        self.may_end = asyncio.Event()
        self.ended = asyncio.Semaphore(0)
        self.failure: BaseException | None = None
        self.completion_failure: BaseException | None = None
        self.seen: list[Request] = []

    def routes(self) -> Routes:
        """All that is served."""
        return Routes(
            self,
            [
                Route("/echo", self, {"GET": self.echo, "POST": self.echo}),
                Route("/echo/{id}", self, {"POST": self.echo}),
                Route("/large", self, {"GET": self.send_large}),
                Route("/held", self, {"POST": self.hold}),
                Route("/fails", self, {"POST": self.fail}),
            ],
        )

    async def echo(self, request: Request) -> Response:
        """The body back."""
        self.seen.append(request)
        return Response(200, request.body, "application/octet-stream")

    async def send_large(self, request: Request) -> Response:
        """More than any socket buffers."""
        return Response(200, self.large, "application/octet-stream")

    async def hold(self, request: Request) -> Response:
        """Answers when ``may_end`` is set."""
        self.started.release()
        await self.may_end.wait()
        self.ended.release()
        return Response(200, request.body, "application/octet-stream")

    async def fail(self, request: Request) -> Response:
        """Raises ``failure``."""
        assert self.failure is not None
        raise self.failure

    def refuse(self, request: Request | None, error: ServerError) -> Response:
        """As the ACME front end."""
        document = render_error(error)
        response = problem_response(document["status"], document, error.kind)
        if error.kind is ErrorKind.METHOD_NOT_ALLOWED:
            response.headers.append(("Allow", ", ".join(error.allowed)))
        if error.retry_after is not None:
            response.headers.append(("Retry-After", str(error.retry_after)))
        return response

    def complete(self, request: Request | None, response: Response) -> None:
        """Marks every answer."""
        if self.completion_failure is not None:
            raise self.completion_failure
        response.headers.append(("X-Completed", "yes"))


@dataclass(frozen=True)
class Reply:
    """An answer as it was on the wire; header names are lower case.

    ``headers`` has the last of repeated ones, ``links`` all Link headers.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    links: list[str]

    def problem(self) -> dict[str, object]:
        """The problem document."""
        assert self.headers["content-type"] == "application/problem+json"
        document: dict[str, object] = orjson.loads(self.body)
        assert document["status"] == self.status
        return document


class Wire:
    """One connection of a client that decides about every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, octets: bytes) -> None:
        """Hand ``octets`` to the socket."""
        self.writer.write(octets)

    async def reply(self, *, to_head: bool = False) -> Reply:
        """The next answer. Raises IncompleteReadError when the server closed instead."""
        async with asyncio.timeout(PATIENT):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status_line, *lines = head[:-4].decode("latin-1").split("\r\n")
            fields = [line.split(": ", 1) for line in lines]
            headers = {name.lower(): value for name, value in fields}
            links = [value for name, value in fields if name == "Link"]
            length = 0 if to_head else int(headers.get("content-length", 0))
            body = await self.reader.readexactly(length)
        return Reply(int(status_line.split(" ")[1]), headers, body, links)

    async def ask(self, octets: bytes) -> Reply:
        """Send and read the answer."""
        self.send(octets)
        return await self.reply()

    async def rest(self) -> bytes:
        """What comes until the server closes; a reset counts as closing."""
        async with asyncio.timeout(PATIENT):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def reset(self) -> None:
        """Go away without a word."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        """Close, whatever state the connection is in."""
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            await self.writer.wait_closed()


class Served:
    """An edge that listens on a port of the loopback address, and connections to it."""

    def __init__(self, edge: Edge, port: int) -> None:
        self.edge = edge
        self.port = port
        self._wires: list[Wire] = []

    async def connect(
        self, tls: ssl.SSLContext | None = None, *, receive_buffer: int | None = None
    ) -> Wire:
        """A new connection, closed with the test. A small ``receive_buffer`` keeps what the
        client doesn't read waiting in the server."""
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        except OSError:
            sock.close()
            raise
        name = None if tls is None else "localhost"
        reader, writer = await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name)
        wire = Wire(reader, writer)
        self._wires.append(wire)
        return wire

    async def until_connections(self, count: int) -> None:
        """Wait until the server has ``count`` connections."""
        async with asyncio.timeout(PATIENT):
            while self.edge.connections != count:
                await pass_time(0.01)

    async def send_once(self, octets: bytes) -> tuple[Reply | None, bytes]:
        """The first answer to ``octets`` on a connection of its own, and what else came if the
        answer said that it is the last."""
        wire = await self.connect()
        wire.send(octets)
        try:
            reply = await wire.reply()
        except (asyncio.IncompleteReadError, ConnectionError):
            return None, b""
        is_last = reply.headers.get("connection") == "close"
        return reply, await wire.rest() if is_last else b""

    async def disconnect(self) -> None:
        """Close all connections."""
        wires, self._wires = self._wires, []
        for wire in wires:
            await wire.close()

    async def close(self) -> None:
        """Close all connections and the edge."""
        await self.disconnect()
        await self.edge.drain(0)


async def pass_time(seconds: float) -> None:
    """For tests whose subject is time itself."""
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=seconds)


class ServedPlainly(Served):
    """An edge with a ``PlainFrontEnd``."""

    def __init__(self, edge: Edge, port: int, front_end: PlainFrontEnd) -> None:
        super().__init__(edge, port)
        self.front_end = front_end

    async def close(self) -> None:
        """Close all connections and the edge, and let held requests go."""
        self.front_end.may_end.set()
        await super().close()


def listener() -> socket.socket:
    """A socket bound to a free port."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    return sock


@contextlib.asynccontextmanager
async def serve(
    limits: Limits = USUAL,
    *,
    tls: ssl.SSLContext | None = None,
    addresses: ClientAddresses | None = None,
    request_limit: RequestLimit | None = None,
) -> AsyncIterator[ServedPlainly]:
    """Run an edge for the length of a test."""
    front_end = PlainFrontEnd()
    edge = Edge(front_end.routes(), limits=limits, addresses=addresses, request_limit=request_limit)
    sock = listener()
    port = sock.getsockname()[1]
    await edge.listen(sock, tls)
    served = ServedPlainly(edge, port, front_end)
    try:
        yield served
    finally:
        await served.close()
