"""What operators and their machines ask: liveness, readiness, metrics (plain HTTP)."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from acme_server.process.metrics import ProcessMetrics, Totals, read_snapshot
from acme_server.web.connections import Limits
from acme_server.web.edge import Edge
from acme_server.web.requests import Request
from acme_server.web.responses import Response, problem_response
from acme_server.web.routes import Route, Routes
from policy.model.errors import ErrorKind, ServerError

_NO_STORE = ("Cache-Control", "no-store")
_RETRY_AFTER = ("Retry-After", "1")
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATUSES = {
    ErrorKind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorKind.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    ErrorKind.SERVER_INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorKind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}
_MAX_CONNECTIONS = 100
# Also the longest that a stop waits for who asked something.
_RESPONSE_SECONDS = 3.0
# The parent's own number among the processes that are summed up.
_PARENT = 0


class OpsFrontEnd:
    """``why_not_ready`` returns what keeps the server from serving, None if nothing does."""

    def __init__(
        self,
        totals: Totals,
        own: ProcessMetrics,
        why_not_ready: Callable[[], Awaitable[str | None]],
    ) -> None:
        self._totals = totals
        self._own = own
        self._why_not_ready = why_not_ready

    def routes(self) -> list[Route]:
        """All resources of the listener."""
        table = {"/healthz": self.health, "/readyz": self.readiness, "/metrics": self.metrics}
        return [Route(path, self, {"GET": handler}) for path, handler in table.items()]

    async def health(self, request: Request) -> Response:
        """The parent process runs; restarting it would help nothing else."""
        return Response(HTTPStatus.OK, b"ok\n", "text/plain", [_NO_STORE])

    async def readiness(self, request: Request) -> Response:
        """Whether requests would be served now."""
        reason = await self._why_not_ready()
        if reason is None:
            return Response(HTTPStatus.OK, b"ready\n", "text/plain", [_NO_STORE])
        return Response(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"{reason}\n".encode(),
            "text/plain",
            [_NO_STORE, _RETRY_AFTER],
        )

    async def metrics(self, request: Request) -> Response:
        """The sums over all processes."""
        self._totals.update(_PARENT, read_snapshot(self._own.snapshot()))
        return Response(HTTPStatus.OK, self._totals.render(), _METRICS_TYPE, [_NO_STORE])

    def refuse(self, request: Request | None, error: ServerError) -> Response:
        """A problem document without a type of its own."""
        status = _STATUSES.get(error.kind, HTTPStatus.BAD_REQUEST)
        document = {"title": status.phrase, "status": status.value, "detail": error.detail}
        return problem_response(status, document, error.kind)

    def complete(self, request: Request | None, response: Response) -> None:
        """Nothing is common to these answers."""


async def serve_ops(front_end: OpsFrontEnd, listener: socket.socket) -> Edge:
    """Serve on a bound socket, from now on until the edge is drained."""
    edge = Edge(
        Routes(front_end, front_end.routes()),
        limits=Limits(response=_RESPONSE_SECONDS, max_connections=_MAX_CONNECTIONS),
    )
    await edge.listen(listener)
    return edge
