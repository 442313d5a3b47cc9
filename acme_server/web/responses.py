"""Answers, and the bytes of their heads."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson

from policy.model.errors import ErrorKind

PROBLEM_TYPE = "application/problem+json"
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}
_WITHOUT_LENGTH = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


@dataclass(slots=True, eq=False)
class Response:
    """One answer. ``error`` is what went wrong, for the log; ``closes`` ends the connection.

    Length, date and connection headers are the edge's; every answer carries
    ``X-Content-Type-Options: nosniff``.
    """

    status: int
    body: bytes = b""
    content_type: str | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    error: ErrorKind | None = None
    closes: bool = False


def json_response(status: int, document: object, *headers: tuple[str, str]) -> Response:
    """An answer with a JSON object."""
    return Response(status, orjson.dumps(document), "application/json", list(headers))


def problem_response(
    status: int, document: object, error: ErrorKind, *headers: tuple[str, str]
) -> Response:
    """An answer with a problem document (RFC 9457)."""
    return Response(status, orjson.dumps(document), PROBLEM_TYPE, list(headers), error)


def render_head(response: Response, *, closes: bool) -> bytes:
    """The status line and the header section.

    Raises ValueError when a header would break out of its line.
    """
    lines = [_STATUS_LINES[response.status], "Date: " + _http_date()]
    if response.status not in _WITHOUT_LENGTH:
        lines.append(f"Content-Length: {len(response.body)}")
    if response.content_type is not None:
        lines.append("Content-Type: " + response.content_type)
    lines += [f"{name}: {value}" for name, value in response.headers]
    if closes:
        lines.append("Connection: close")
    lines.append("X-Content-Type-Options: nosniff\r\n\r\n")
    head = "\r\n".join(lines)
    breaks = len(lines) + 1
    if head.count("\n") != breaks or head.count("\r") != breaks or "\0" in head:
        raise ValueError("a header holds a line break or NUL")
    return head.encode("latin-1")


class _DateClock:
    """The Date header of the current second, rendered once."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def __call__(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second, self._text = now, http_date(now)
        return self._text


def http_date(unix_time: float) -> str:
    """``unix_time`` as an HTTP date (RFC 9110, section 5.6.7), whole seconds."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(unix_time))


_http_date = _DateClock()
