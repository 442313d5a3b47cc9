"""One structured event per request, and the numbers behind the metrics."""

from __future__ import annotations

from typing import Protocol

import structlog

from acme_server.web.requests import Request
from acme_server.web.responses import Response
from policy.model.errors import DatabaseUnavailable

_MAX_LOGGED = 200


class Recorder(Protocol):
    """Takes the samples that metrics are made of."""

    def request_ended(self, route: str, status: int, seconds: float) -> None:
        """``route`` is the pattern of the route; ``unrouted`` and ``unreadable`` for the rest."""
        ...


class NoRecorder:
    """Keeps no samples."""

    def request_ended(self, route: str, status: int, seconds: float) -> None:
        """Does nothing."""


class RequestLog:
    """Writes ``request_ended``: who asked for what, how it ended and how long it took.

    Whatever a client chose is escaped, so that a line of the log stays a line.
    """

    def __init__(self) -> None:
        # Bound here rather than at each event, which costs a third more.
        self._log = structlog.get_logger().bind()

    def ended(
        self,
        request: Request,
        pattern: str | None,
        response: Response,
        seconds: float,
        failure: Exception | None = None,
    ) -> None:
        """``pattern`` is the route's, None where there is none; ``failure`` is what kept us from
        answering, logged with its traceback unless it is a missing database."""
        is_literal = pattern is not None and not request.parameters
        fields: dict[str, object] = {
            "request": request.id,
            "method": request.method,
            "path": pattern if is_literal else escape(request.path),
            "status": int(response.status),
            "duration_ms": round(seconds * 1000, 3),
            "peer": request.address,
        }
        if request.account is not None:
            fields["account"] = request.account
        if response.error is not None:
            fields["error"] = response.error.value
        if failure is None:
            self._log.info("request_ended", **fields)
        elif isinstance(failure, DatabaseUnavailable):
            self._log.warning("request_ended", reason=escape(str(failure)), **fields)
        else:
            self._log.error("request_ended", exc_info=failure, **fields)


class EdgeLog:
    """Events of connections, summed up so that nobody can flood the log: one a second each."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()
        self._unreadable = 0
        self._evicted = 0
        self._latest_peer = ""
        self._latest_reason = ""
        self._flushed_at = float("-inf")

    def unreadable(self, peer: str, reason: str) -> None:
        """Count a connection that sent what is no HTTP request."""
        self._unreadable += 1
        self._latest_peer, self._latest_reason = peer, reason

    def evicted(self, count: int) -> None:
        """Count connections closed because there were too many."""
        self._evicted += count

    def failed(self, error: BaseException | None) -> None:
        """A defect of the edge itself, with its traceback."""
        self._log.error("edge_failed", exc_info=error)

    def flush(self, now: float) -> None:
        """Write what was counted; ``now`` is by the loop's clock."""
        if now - self._flushed_at < 1.0 or not (self._unreadable or self._evicted):
            return
        self._flushed_at = now
        if self._unreadable:
            self._log.info(
                "unreadable_requests_refused",
                count=self._unreadable,
                latest_peer=self._latest_peer,
                latest_reason=self._latest_reason,
            )
        if self._evicted:
            self._log.warning("connections_evicted", count=self._evicted)
        self._unreadable = self._evicted = 0


def escape(text: str) -> str:
    """``text`` without control characters and stray bytes, cut to a length fit for a log."""
    if len(text) > _MAX_LOGGED:
        text = text[:_MAX_LOGGED] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )
