"""What operators and their machines ask: liveness, readiness, metrics (plain HTTP)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from acme_server.process.metrics import Totals
from acme_server.web.requests import Request
from acme_server.web.responses import Response, problem_response
from acme_server.web.routes import Route
from policy.model.errors import ErrorKind, ServerError

_NO_STORE = ("Cache-Control", "no-store")
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATUSES = {
    ErrorKind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorKind.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    ErrorKind.SERVER_INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorKind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}


class OpsFrontEnd:
    """``why_not_ready`` returns what keeps the server from serving, None if nothing does."""

    def __init__(self, totals: Totals, why_not_ready: Callable[[], Awaitable[str | None]]) -> None:
        self._totals = totals
        self._why_not_ready = why_not_ready

    def routes(self) -> list[Route]:
        """All resources of the listener."""
        table = {"/healthz": self.health, "/readyz": self.readiness, "/metrics": self.metrics}
        return [Route(path, self, {"GET": handler}) for path, handler in table.items()]

    async def health(self, request: Request) -> Response:
        """The parent process runs; restarting it would not help anything else."""
        return Response(HTTPStatus.OK, b"ok\n", "text/plain", [_NO_STORE])

    async def readiness(self, request: Request) -> Response:
        """Whether requests would be served now."""
        reason = await self._why_not_ready()
        if reason is None:
            return Response(HTTPStatus.OK, b"ready\n", "text/plain", [_NO_STORE])
        body = f"{reason}\n".encode()
        return Response(HTTPStatus.SERVICE_UNAVAILABLE, body, "text/plain", [_NO_STORE])

    async def metrics(self, request: Request) -> Response:
        """The sums over all processes."""
        return Response(HTTPStatus.OK, self._totals.render(), _METRICS_TYPE, [_NO_STORE])

    def refuse(self, request: Request | None, error: ServerError) -> Response:
        """A problem document without a type of its own."""
        status = _STATUSES.get(error.kind, HTTPStatus.BAD_REQUEST)
        document = {"title": status.phrase, "status": status.value, "detail": error.detail}
        return problem_response(status, document, error.kind)

    def complete(self, request: Request | None, response: Response) -> None:
        """Nothing is common to these answers."""
