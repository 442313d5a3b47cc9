"""The HTTP challenge (RFC 8555, section 8.3)."""

from __future__ import annotations

import asyncio
import hmac
import ssl
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from policy.model.authorizations import ValidationTask
from validators import causes
from validators.addresses import Address, Endpoint
from validators.causes import Cause, ValidationFailure
from validators.connections import Connection
from validators.excerpts import excerpt
from validators.http1 import HttpTruncated, HttpViolation, ResponseHead, ResponseParser
from validators.keyauth import key_authorization
from validators.network import (
    Dialer,
    TlsOffer,
    connection_failure,
    host_of,
    tls_reason,
    unverified_tls,
)
from validators.trace import Trace
from validators.urls import SlashMissing, Url, UrlRefused, resolve_location

# A key authorization has 87 characters; white space may follow.
MAX_BODY = 512
_PATH = "/.well-known/acme-challenge/"
_FOLLOWED = frozenset({301, 302, 307, 308})
_WHITE_SPACE = b" \t\r\n\v\f"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """``port`` is where targets answer; redirects may lead to ``redirect_ports`` only.

    ``response_timeout`` runs from the request to the end of the header, ``body_timeout`` from
    there to the end of the body.
    """

    port: int = 80
    redirect_ports: frozenset[int] = frozenset({80, 443})
    max_redirects: int = 10
    response_timeout: timedelta = timedelta(seconds=10)
    body_timeout: timedelta = timedelta(seconds=5)
    user_agent: str = "acme-server (http-01 validation)"

    def __post_init__(self) -> None:
        if not (self.user_agent.isascii() and self.user_agent.isprintable()):
            raise ValueError("user_agent must be printable ASCII")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Response:
    url: Url
    endpoint: Endpoint
    head: ResponseHead
    body: bytes
    is_too_long: bool


class Http01Validator:
    """Fetches ``http://{name}/.well-known/acme-challenge/{token}`` and compares."""

    type = "http-01"

    def __init__(self, dialer: Dialer, settings: HttpSettings) -> None:
        self._dialer = dialer
        self._settings = settings
        self._response_timeout = settings.response_timeout.total_seconds()
        self._body_timeout = settings.body_timeout.total_seconds()
        self._tls = unverified_tls("http/1.1")
        self._fields = (
            f"User-Agent: {settings.user_agent}\r\nAccept: */*\r\n"
            "Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
        )

    async def prove(self, task: ValidationTask, trace: Trace) -> None:
        """Returns when control is proven; raises ValidationFailure when it is not."""
        if task.wildcard:
            raise ValidationFailure(causes.WILDCARD_NEEDS_DNS, type=self.type)
        url = Url("http", host_of(task.identifier), self._settings.port, _PATH + task.token)
        response = await self._follow(url, trace)
        _judge(response, task.token, key_authorization(task.token, task.thumbprint))

    async def _follow(self, url: Url, trace: Trace) -> _Response:
        """The first response that is no redirect."""
        visited = {url}
        preferred: Address | None = None
        for redirects in range(self._settings.max_redirects + 1):
            response = await self._fetch(
                url, trace, can_fall_back=redirects == 0, preferred=preferred
            )
            if response.head.status not in _FOLLOWED:
                return response
            target = self._redirect_target(response)
            if target in visited:
                raise ValidationFailure(causes.REDIRECT_LOOP, url=_shown(url))
            visited.add(target)
            # A dead IPv6 address is not tried again where IPv4 has just answered.
            preferred = response.endpoint.address if target.host == url.host else None
            url = target
        raise ValidationFailure(
            causes.REDIRECT_TOO_MANY, url=_shown(url), limit=self._settings.max_redirects
        )

    def _redirect_target(self, response: _Response) -> Url:
        locations = response.head.values(b"location")
        try:
            if len(locations) != 1:
                raise UrlRefused("it must have exactly one Location header")
            target = resolve_location(response.url, locations[0])
            if target.port not in self._settings.redirect_ports:
                raise UrlRefused(f"its port is {target.port}")
        except SlashMissing as error:
            raise ValidationFailure(
                causes.REDIRECT_WITHOUT_SLASH, url=_shown(response.url), host=excerpt(error.host)
            ) from error
        except UrlRefused as error:
            raise ValidationFailure(
                causes.REDIRECT_REFUSED, url=_shown(response.url), reason=error
            ) from error
        return target

    async def _fetch(
        self, url: Url, trace: Trace, *, can_fall_back: bool, preferred: Address | None
    ) -> _Response:
        dialled = await self._dialer.dial(
            url.host,
            url.port,
            trace,
            tls=self._offer(url),
            can_fall_back=can_fall_back,
            preferred=preferred,
        )
        connection = dialled.connection
        step = trace.begin("request", url=_shown(url))
        parser = ResponseParser(MAX_BODY)
        try:
            connection.send(
                f"GET {url.target} HTTP/1.1\r\nHost: {url.authority}\r\n{self._fields}".encode()
            )
            await self._receive(connection, parser, url, dialled.endpoint)
        finally:
            connection.abort()
            _note(step, parser, connection.bytes_received)
        assert parser.head is not None
        return _Response(
            url=url,
            endpoint=dialled.endpoint,
            head=parser.head,
            body=parser.body,
            is_too_long=parser.is_too_long,
        )

    def _offer(self, url: Url) -> TlsOffer | None:
        if url.scheme == "http":
            return None
        return TlsOffer(
            context=self._tls,
            server_name=url.host if isinstance(url.host, str) else None,
            failure=causes.REDIRECT_TLS_FAILED,
        )

    async def _receive(
        self, connection: Connection, parser: ResponseParser, url: Url, endpoint: Endpoint
    ) -> None:
        def failure(cause: Cause, **values: object) -> ValidationFailure:
            return ValidationFailure(cause, endpoint=endpoint, url=_shown(url), **values)

        seconds = self._response_timeout
        try:
            async with asyncio.timeout(seconds) as limit:
                while parser.head is None:
                    await _receive_some(connection, parser)
                if not parser.is_complete:
                    seconds = self._body_timeout
                    limit.reschedule(asyncio.get_running_loop().time() + seconds)
                while not parser.is_complete:
                    await _receive_some(connection, parser)
        except HttpViolation as error:
            raise failure(causes.HTTP_MALFORMED, reason=error) from error
        except HttpTruncated as error:
            raise failure(causes.HTTP_CLOSED) from error
        except TimeoutError as error:
            raise failure(causes.HTTP_TIMEOUT, seconds=seconds) from error
        except ssl.SSLError as error:
            host = excerpt(str(url.host), 255)
            raise failure(
                causes.REDIRECT_TLS_FAILED, reason=tls_reason(error), host=host
            ) from error
        except OSError as error:
            raise connection_failure(error, endpoint, excerpt(str(url.host), 255)) from error


async def _receive_some(connection: Connection, parser: ResponseParser) -> None:
    octets = await connection.receive()
    if octets:
        parser.feed(octets)
    else:
        parser.feed_eof()


def _judge(response: _Response, token: str, expected: str) -> None:
    """Whether the response proves control. Raises ValidationFailure."""
    answer = response.body.rstrip(_WHITE_SPACE)
    is_equal = hmac.compare_digest(answer, expected.encode("ascii"))
    if response.head.status == 200 and is_equal and not response.is_too_long:
        return
    raise ValidationFailure(
        _difference(response, answer, token.encode("ascii")),
        url=_shown(response.url),
        endpoint=response.endpoint,
        status=response.head.status,
        expected=expected,
    )


def _difference(response: _Response, answer: bytes, token: bytes) -> Cause:
    if response.head.status != 200:
        return causes.HTTP_STATUS
    if response.is_too_long:
        return causes.HTTP_TOO_LONG
    if answer == token:
        return causes.HTTP_TOKEN_ONLY
    if answer.startswith(token + b"."):
        return causes.HTTP_OTHER_ACCOUNT
    return causes.HTTP_DIFFERS


def _note(step: dict[str, Any], parser: ResponseParser, received: int) -> None:
    """Write down what came, for the operator."""
    step["bytes_received"] = received
    if parser.head is None:
        return
    step["status"] = parser.head.status
    if locations := parser.head.values(b"location"):
        step["locations"] = [excerpt(location, 300) for location in locations[:4]]
    if parser.body:
        step["body"] = excerpt(parser.body, 100)


def _shown(url: Url) -> str:
    return excerpt(str(url), 200)
