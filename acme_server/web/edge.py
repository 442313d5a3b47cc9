"""The guarded HTTP server: aiohttp's parser and protocol with our rules around them.

Together with ``connections`` and ``dispatch`` it decides what no front end should have to think
about: deadlines, sizes, forms of requests, unreadable requests, defects, the end of a process.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from typing import cast

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpProcessingError, HttpVersion11
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from acme_server.web.addresses import ClientAddresses, canonical_address
from acme_server.web.connections import Connection, Limits, Phase
from acme_server.web.dispatch import Dispatcher
from acme_server.web.ratelimit import RequestLimit
from acme_server.web.requestlog import EdgeLog, NoRecorder, Recorder
from acme_server.web.responses import Response, render_head
from acme_server.web.routes import Routes

# Per line and in number; a head as a whole is bounded in ``connections``.
_MAX_LINE_BYTES = 8190
_MAX_HEADERS = 64
# Connections closed at once when there are too many: a share, so that a flood pays for the search.
_EVICTED_SHARE = 50
_NEVER = 86_400.0 * 7


class Edge:
    """Serves ``routes`` on any number of listening sockets, plain or with TLS.

    Made inside a running event loop; works with asyncio's and uvloop's.
    """

    def __init__(
        self,
        routes: Routes,
        *,
        limits: Limits,
        addresses: ClientAddresses | None = None,
        recorder: Recorder | None = None,
        request_limit: RequestLimit | None = None,
    ) -> None:
        self.limits = limits
        self.limits_by_phase: Mapping[Phase, float] = limits.by_phase()
        self._loop = asyncio.get_running_loop()
        self._addresses = addresses or ClientAddresses()
        self._dispatcher = Dispatcher(
            routes,
            body_size=limits.body_size,
            addresses=self._addresses,
            recorder=recorder or NoRecorder(),
            request_limit=request_limit,
        )
        self._library = web.Server(
            self._serve,  # type: ignore[arg-type] # _Outgoing has what the protocol asks for
            request_factory=self._begin_request,
        )
        self.log = EdgeLog()
        self._listeners: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._running = 0
        self._is_draining = False
        self._emptied = asyncio.Event()
        self._sweep_handle: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve what connects to ``listener``, a bound socket that from now on is ours."""
        server = await self._loop.create_server(
            self._connect,
            sock=listener,
            ssl=tls,
            backlog=1024,
            ssl_handshake_timeout=None if tls is None else self.limits.first_byte,
            # It covers what is still to be sent, so it is the time of a slow reader.
            ssl_shutdown_timeout=None if tls is None else self.limits.response,
        )
        self._listeners.append(server)
        if self._sweep_handle is None:
            self._sweep_handle = self._loop.call_later(self.limits.tick, self._sweep)

    async def drain(self, seconds: float) -> None:
        """Stop: accept nothing new, answer what comes on open connections with the news that they
        close, and return when all are gone.

        After ``seconds``, connections without a request are closed; requests under way still get
        the time of a slow reader.
        """
        self._is_draining = True
        for listener in self._listeners:
            listener.close()
        self._note_emptiness()
        if not await self._empty_within(seconds):
            for connection in list(self._connections):
                if connection.is_dispensable:
                    connection.close()
            if not await self._empty_within(self.limits.response):
                for connection in list(self._connections):
                    connection.abort()
        if self._sweep_handle is not None:
            self._sweep_handle.cancel()

    def opened(self, connection: Connection) -> None:
        """Count a new connection, and make room if there are too many."""
        connection.peer = canonical_address(connection.peer)
        connection.is_proxy = self._addresses.is_trusted(connection.peer)
        self._connections.add(connection)
        if len(self._connections) > self.limits.max_connections:
            self._make_room()

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self._note_emptiness()

    def refuse_head(self, connection: Connection) -> None:
        """Answer a head that is too long; no handler runs, so the connection is ours to write."""
        response = self._unreadable(connection, "the head is too long")
        if connection.transport is not None:
            connection.transport.write(render_head(response, closes=True) + response.body)
        connection.say_goodbye()

    def answer_unreadable(
        self, connection: Connection, incoming: web.BaseRequest, reason: str
    ) -> _Outgoing:
        """The last answer on a connection whose input makes no sense."""
        connection.request_complete()
        response = self._unreadable(connection, reason)
        return _Outgoing(response, incoming, connection, closes=True)

    def _connect(self) -> Connection:
        return Connection(self, self._make_protocol, self._loop)

    def _make_protocol(self, connection: Connection) -> _LibraryProtocol:
        return _LibraryProtocol(self, connection, self._library, self._loop)

    def _begin_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        """Called by the library when a request's turn has come, unreadable ones included."""
        cast("_LibraryProtocol", protocol).connection.head_ended(payload)
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop)

    async def _serve(self, incoming: web.BaseRequest) -> _Outgoing:
        connection = cast("_LibraryProtocol", incoming.protocol).connection
        self._running += 1
        try:
            response = await self._dispatcher.respond(incoming, connection)
        finally:
            self._running -= 1
            if self._is_draining:
                self._note_emptiness()
        closes = (
            response.closes
            or self._is_draining
            or connection.is_exhausted
            or not incoming.keep_alive
            or incoming.version != HttpVersion11
        )
        return _Outgoing(response, incoming, connection, closes=closes)

    def _unreadable(self, connection: Connection, reason: str) -> Response:
        self.log.unreadable(connection.peer, reason)
        return self._dispatcher.refuse_unreadable()

    def _sweep(self) -> None:
        self._sweep_handle = self._loop.call_later(self.limits.tick, self._sweep)
        now = self._loop.time()
        for connection in list(self._connections):
            connection.check(now)
        self.log.flush(now)

    def _make_room(self) -> None:
        """Close those that have rested longest; with none of them, the newcomers fill up."""
        candidates = [each for each in self._connections if each.is_dispensable]
        candidates.sort(key=lambda connection: connection.since)
        evicted = candidates[: 1 + self.limits.max_connections // _EVICTED_SHARE]
        for connection in evicted:
            connection.abort()
        self.log.evicted(len(evicted))

    def _note_emptiness(self) -> None:
        if self._is_draining and not self._connections and not self._running:
            self._emptied.set()

    async def _empty_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._emptied.wait(), seconds)
        except TimeoutError:
            return False
        return True


class _Outgoing:
    """An answer in the shape that the library's protocol sends: one write for head and body."""

    __slots__ = ("_closes", "_connection", "_incoming", "_response")

    def __init__(
        self,
        response: Response,
        incoming: web.BaseRequest,
        connection: Connection,
        *,
        closes: bool,
    ) -> None:
        self._response = response
        self._incoming = incoming
        self._connection = connection
        self._closes = closes

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open after this answer."""
        return not self._closes

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is to be prepared."""

    async def write_eof(self) -> None:
        """Send all of it. Raises ConnectionError when the client is gone."""
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client closed the connection")
        head = render_head(self._response, closes=self._closes)
        transport.write(head if self._incoming.method == "HEAD" else head + self._response.body)
        self._connection.answered()
        if self._connection.is_stalled:
            await self._incoming.writer.drain()
        if self._closes:
            await self._connection.linger()


class _LibraryProtocol(RequestHandler):
    """aiohttp's protocol: our errors instead of its own, and nothing in its log."""

    __slots__ = ("_edge", "connection")

    def __init__(
        self,
        edge: Edge,
        connection: Connection,
        library: web.Server,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(
            library,
            loop=loop,
            # Both are the connection's business.
            keepalive_timeout=_NEVER,
            lingering_time=0,
            access_log=None,  # type: ignore[arg-type] # what its documentation says to give
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
            max_headers=_MAX_HEADERS,
            auto_decompress=False,
        )
        self._edge = edge
        self.connection = connection

    @property
    def has_request(self) -> bool:
        """Whether a head is complete whose turn has not come yet."""
        return bool(self._messages)

    @property
    def is_confused(self) -> bool:
        """Whether the parser failed behind the request being handled."""
        return bool(self._messages) and not isinstance(self._messages[-1][0], RawRequestMessage)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """The library resumes twice per request, mostly what was never paused."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer when the parser failed, or when a front end couldn't even refuse."""
        if isinstance(exc, HttpProcessingError):
            answer = self._edge.answer_unreadable(self.connection, request, type(exc).__name__)
        else:
            self.log_exception(exc_info=exc)
            answer = _Outgoing(Response(500), request, self.connection, closes=True)
        return cast("web.StreamResponse", answer)

    def log_exception(self, *args: object, **kw: object) -> None:
        """A defect in the edge or in the library; what clients do wrong never comes here."""
        exc_info = cast("BaseException | None", kw.get("exc_info"))
        self._edge.log.failed(exc_info)
