"""One connection: our deadlines around the HTTP library's protocol.

The library keeps silent connections for more than 100 seconds in every phase. Here each phase
has a limit, and one periodic sweep of the edge looks at how long each connection has been in its
phase, so that a request costs no timers.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from aiohttp import StreamReader

# A client that takes at least this much of an answer per response deadline may go on.
_SLOWEST_READER_BYTES = 65_536
# What a refused client may still send before its connection is cut.
_MAX_DISCARDED_BYTES = 1_048_576
# Beyond this, a head that isn't complete never will be: the library's limits are per line.
_MAX_HEAD_BYTES = 65_536


class Phase(enum.Enum):
    """What a connection waits for. HANDLING has no limit here: whatever a handler waits for has
    one of its own."""

    FIRST_BYTE = "first byte"
    HEAD = "head"
    BODY = "body"
    HANDLING = "handling"
    IDLE = "idle"
    LINGER = "linger"


_WITHOUT_REQUEST = frozenset({Phase.FIRST_BYTE, Phase.HEAD, Phase.IDLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times in seconds, sizes in bytes.

    ``first_byte`` runs from the connection (with TLS: from the end of its handshake, which gets
    the same time), ``head`` from a request's first byte, ``body`` from the end of its head,
    ``idle`` between requests, ``response`` while the client doesn't take what it asked for, and
    ``linger`` after the last answer, until the client has closed its side.
    """

    first_byte: float = 10.0
    head: float = 10.0
    body: float = 20.0
    idle: float = 60.0
    response: float = 30.0
    linger: float = 1.0
    body_size: int = 65_536
    max_connections: int = 10_000

    @property
    def tick(self) -> float:
        """The seconds between two looks at the connections."""
        return min(1.0, max(0.02, min(self.by_phase().values()) / 4))

    def by_phase(self) -> Mapping[Phase, float]:
        """How long a connection may stay in each phase."""
        return {
            Phase.FIRST_BYTE: self.first_byte,
            Phase.HEAD: self.head,
            Phase.BODY: self.body,
            Phase.HANDLING: float("inf"),
            Phase.IDLE: self.idle,
            Phase.LINGER: self.linger,
        }


class HttpProtocol(Protocol):
    """The part of the library's protocol that a connection drives."""

    @property
    def has_request(self) -> bool:
        """Whether a head is complete whose turn has not come yet."""
        ...

    @property
    def is_confused(self) -> bool:
        """Whether what follows the request being handled can't be parsed."""
        ...

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def connection_lost(self, exc: BaseException | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class ConnectionOwner(Protocol):
    """The edge, as a connection sees it."""

    limits: Limits
    limits_by_phase: Mapping[Phase, float]

    def opened(self, connection: Connection) -> None:
        """``connection`` is ready for requests."""
        ...

    def closed(self, connection: Connection) -> None:
        """``connection`` is gone."""
        ...

    def refuse_head(self, connection: Connection) -> None:
        """The head of a request is too long."""
        ...


class BodyUnreadable(Exception):
    """The body of a request breaks the rules of its transfer coding."""


class Connection(asyncio.Protocol):
    """Delegates to the library's protocol and knows which phase the connection is in.

    ``since`` is when the phase began, by the loop's clock. ``ends`` tells that the client has
    closed its side.
    """

    __slots__ = (
        "_body",
        "_discarded",
        "_gone",
        "_head_bytes",
        "_inner",
        "_loop",
        "_owner",
        "_stalled_since",
        "_unsent",
        "ends",
        "is_proxy",
        "peer",
        "phase",
        "since",
        "transport",
    )

    def __init__(
        self,
        owner: ConnectionOwner,
        make_inner: Callable[[Connection], HttpProtocol],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._owner = owner
        self._loop = loop
        self._inner = make_inner(self)
        self._body: StreamReader | None = None
        self._head_bytes = 0
        self._discarded = 0
        self._stalled_since: float | None = None
        self._unsent = 0
        self._gone: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport | None = None
        self.peer = ""
        self.is_proxy = False
        self.ends = False
        self.phase = Phase.FIRST_BYTE
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the first byte."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) and peer else ""
        self.since = self._loop.time()
        self._inner.connection_made(transport)
        self._owner.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the library, whose running handler goes on, and the edge."""
        self._inner.connection_lost(exc)
        self.transport = None
        self._end_linger()
        self._owner.closed(self)

    def data_received(self, data: bytes) -> None:
        """Pass on what arrived; the first bytes of a request start its time."""
        phase = self.phase
        if phase is Phase.IDLE or phase is Phase.FIRST_BYTE:
            self._enter(Phase.HEAD)
            self._head_bytes = len(data)
        elif phase is Phase.HEAD:
            if self._head_bytes > _MAX_HEAD_BYTES:
                self._owner.refuse_head(self)
                return
            self._head_bytes += len(data)
        elif phase is Phase.LINGER:
            self._discard(len(data))
            return
        self._inner.data_received(data)
        if phase is Phase.BODY and self._inner.is_confused and self._body is not None:
            # The library queues the error behind the request that waits for the body.
            self._body.set_exception(BodyUnreadable())

    def eof_received(self) -> bool | None:
        """The client sends no more. One that waits for its answer still gets it, where the
        transport can be closed by halves: TLS can't."""
        self.ends = True
        self._end_linger()
        is_owed = self.phase is Phase.HANDLING or self._inner.has_request
        return is_owed and self.transport is not None and self.transport.can_write_eof()

    def pause_writing(self) -> None:
        """The client doesn't take its answers."""
        self._stall(self._loop.time())
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The client took what was waiting."""
        self._stalled_since = None
        self._inner.resume_writing()

    def head_ended(self, body: StreamReader) -> None:
        """A request's head is complete and its turn has come."""
        if body.is_eof():
            self.request_complete()
        else:
            self._body = body
            self._enter(Phase.BODY)

    def request_complete(self) -> None:
        """The whole request is here."""
        self._body = None
        self._enter(Phase.HANDLING)

    def encourage(self) -> None:
        """Tell a client that waits for permission to send its body (RFC 9110, section 10.1.1)."""
        if self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def answered(self) -> None:
        """The answer was handed to the transport; the next request may come."""
        self._enter(Phase.IDLE)

    def say_goodbye(self) -> None:
        """After the last answer: no more follows, and what still arrives is not read.

        Closing with unread input would reset the connection and could take the answer along, so
        the client is given the time to close first.
        """
        self._body = None
        self._enter(Phase.LINGER)
        transport = self.transport
        if transport is not None and transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()

    async def linger(self) -> None:
        """Say goodbye and wait until the client has closed or its time is over."""
        self.say_goodbye()
        if self.transport is not None and not self.ends:
            self._gone = self._loop.create_future()
            await self._gone

    @property
    def is_exhausted(self) -> bool:
        """Whether no request comes after the one being answered."""
        return self.ends and not self._inner.has_request

    @property
    def is_stalled(self) -> bool:
        """Whether the client doesn't take what it was sent."""
        return self._stalled_since is not None

    @property
    def is_dispensable(self) -> bool:
        """Whether the connection can end without a request or an answer getting lost."""
        return self.phase in _WITHOUT_REQUEST and not self.is_stalled

    def close(self) -> None:
        """Close once what was written is sent."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Cut the connection."""
        if self.transport is not None:
            self.transport.abort()

    def check(self, now: float) -> None:
        """End the connection if it has been in its phase for too long."""
        transport = self.transport
        if transport is None:
            return
        if self._stalled_since is None:
            if transport.is_closing():
                self._stall(now)
            elif now - self.since >= self._owner.limits_by_phase[self.phase]:
                transport.close()
        elif now - self._stalled_since >= self._patience(transport):
            waiting = transport.get_write_buffer_size()
            if self._unsent - waiting < _SLOWEST_READER_BYTES:
                transport.abort()
            else:
                self._stall(now)

    def _patience(self, transport: asyncio.Transport) -> float:
        limits = self._owner.limits
        return limits.response if transport.get_write_buffer_size() else limits.linger

    def _stall(self, now: float) -> None:
        self._stalled_since = now
        if self.transport is not None:
            self._unsent = self.transport.get_write_buffer_size()

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since = self._loop.time()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > _MAX_DISCARDED_BYTES:
            self.abort()

    def _end_linger(self) -> None:
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
