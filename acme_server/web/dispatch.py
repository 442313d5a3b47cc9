"""From the head of a request to its answer: what must hold for each request, whoever serves it."""

from __future__ import annotations

import itertools
import os
import re
import time

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion10, HttpVersion11
from aiohttp.web_protocol import RequestPayloadError

from acme_server.web.addresses import ClientAddresses
from acme_server.web.connections import BodyUnreadable, Connection
from acme_server.web.ratelimit import RequestLimit
from acme_server.web.requestlog import Recorder, RequestLog
from acme_server.web.requests import Request
from acme_server.web.responses import Response
from acme_server.web.routes import Handler, Route, Routes
from policy.model.errors import DatabaseUnavailable, ErrorKind, ServerError

# What a client is asked to wait while a dependency is missing.
UNAVAILABLE_RETRY_SECONDS = 5
# A host with an optional port, or an address literal (RFC 9110, section 7.2).
_HOST = re.compile(r"[A-Za-z0-9._-]*(?::[0-9]*)?|\[[0-9A-Fa-f:.]+\](?::[0-9]*)?", re.ASCII)


class Dispatcher:
    """Finds the handler of each request and turns whatever happens into one answer and one line
    of the log."""

    def __init__(
        self,
        routes: Routes,
        *,
        body_size: int,
        addresses: ClientAddresses,
        recorder: Recorder,
        request_limit: RequestLimit | None = None,
    ) -> None:
        self._routes = routes
        self._body_size = body_size
        self._addresses = addresses
        self._recorder = recorder
        self._request_limit = request_limit
        self._log = RequestLog()
        self._id_prefix = os.urandom(4).hex()
        self._ids = itertools.count(1)

    async def respond(self, incoming: web.BaseRequest, connection: Connection) -> Response:
        """The answer to a request; never raises for what a client or a front end does."""
        started = time.perf_counter()
        request = self._request(incoming, connection)
        found = self._routes.find(request.path)
        route = None if found is None else found[0]
        if found is not None:
            request.parameters = found[1]
        front_end = self._routes.fallback if route is None else route.front_end
        failure: Exception | None = None
        is_in_order = False
        try:
            handler = self._handler(incoming, route)
            is_in_order = True
            if self._request_limit is not None:
                self._request_limit.take(request.address)
            await self._receive(incoming, connection, request)
            response = await handler(request)
        except ServerError as error:
            response = front_end.refuse(request, error)
        except DatabaseUnavailable as error:
            failure = error
            response = front_end.refuse(request, _unavailable())
        # The one place that answers for defects; they are logged with their traceback.
        except Exception as error:  # noqa: BLE001
            failure = error
            response = front_end.refuse(request, _internal(request))
        front_end.complete(request, response)
        if not (is_in_order and incoming.content.is_eof()):
            # Where the next request would start is not certain.
            response.closes = True
        pattern = None if route is None else route.pattern
        seconds = time.perf_counter() - started
        self._log.ended(request, pattern, response, seconds, failure)
        self._recorder.request_ended(pattern or "unrouted", response.status, seconds)
        return response

    def refuse_unreadable(self) -> Response:
        """The answer to what is no HTTP request."""
        front_end = self._routes.fallback
        error = ServerError(ErrorKind.MALFORMED, "This is not a well-formed HTTP/1.1 request.")
        response = front_end.refuse(None, error)
        front_end.complete(None, response)
        response.closes = True
        self._recorder.request_ended("unreadable", response.status, 0.0)
        return response

    def _request(self, incoming: web.BaseRequest, connection: Connection) -> Request:
        target = incoming.raw_path
        address = connection.peer
        if connection.is_proxy:
            forwarded = incoming.headers.getall("X-Forwarded-For", ())
            address = self._addresses.behind(address, forwarded)
        return Request(
            method=incoming.method,
            target=target,
            path=target.partition("?")[0],
            headers=incoming.headers,
            id=f"{self._id_prefix}-{next(self._ids):x}",
            address=address,
        )

    def _handler(self, incoming: web.BaseRequest, route: Route | None) -> Handler:
        """The handler of a request whose head is in order. Raises ServerError."""
        version = incoming.version
        if version not in (HttpVersion11, HttpVersion10):
            raise ServerError(ErrorKind.MALFORMED, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        handler = None if route is None else route.handlers.get(incoming.method)
        if handler is None and (route is not None or incoming.method not in self._routes.methods):
            allowed = self._routes.methods if route is None else route.allow
            raise ServerError(
                ErrorKind.METHOD_NOT_ALLOWED,
                f"The methods allowed here are {', '.join(allowed)}.",
                allowed=allowed,
            )
        if not incoming.raw_path.startswith("/"):
            raise ServerError(ErrorKind.MALFORMED, "The request target must be a path.")
        host = incoming.headers.get(hdrs.HOST)
        if host is not None and not _HOST.fullmatch(host):
            raise ServerError(ErrorKind.MALFORMED, "The Host header does not name a host.")
        return _not_found if handler is None else handler

    async def _receive(
        self, incoming: web.BaseRequest, connection: Connection, request: Request
    ) -> None:
        """Read the body, whole and as it was sent. Raises ServerError."""
        content = incoming.content
        if content.is_eof():
            request.body = content.read_nowait()
            if len(request.body) > self._body_size:
                raise self._too_large()
        else:
            request.body = await self._read(incoming, connection)
            connection.request_complete()
        if hdrs.CONTENT_ENCODING in incoming.headers:
            raise ServerError(
                ErrorKind.UNSUPPORTED_MEDIA_TYPE,
                "Request bodies are not accepted with a Content-Encoding.",
            )

    async def _read(self, incoming: web.BaseRequest, connection: Connection) -> bytes:
        headers = incoming.headers
        # The parser vouches for the digits.
        if int(headers.get(hdrs.CONTENT_LENGTH, 0)) > self._body_size:
            raise self._too_large()
        if headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            connection.encourage()
        chunks: list[bytes] = []
        size = 0
        try:
            while chunk := await incoming.content.readany():
                chunks.append(chunk)
                size += len(chunk)
                if size > self._body_size:
                    raise self._too_large()
        except (BodyUnreadable, RequestPayloadError, OSError) as error:
            raise ServerError(
                ErrorKind.MALFORMED, "The body ended early or breaks its transfer coding."
            ) from error
        return b"".join(chunks)

    def _too_large(self) -> ServerError:
        return ServerError(
            ErrorKind.TOO_LARGE, f"A request body has at most {self._body_size} bytes."
        )


async def _not_found(request: Request) -> Response:
    raise ServerError(ErrorKind.NOT_FOUND, "There is nothing at this URL.")


def _unavailable() -> ServerError:
    return ServerError(
        ErrorKind.UNAVAILABLE,
        "The server can't reach its database at the moment; send the request again.",
        retry_after=UNAVAILABLE_RETRY_SECONDS,
    )


def _internal(request: Request) -> ServerError:
    return ServerError(
        ErrorKind.SERVER_INTERNAL,
        f"The server failed to handle the request; its operator finds it under {request.id}.",
    )
