"""The heads of answers, and what is escaped in the log."""

from __future__ import annotations

import pytest

from acme_server.web.requestlog import escape
from acme_server.web.responses import Response, http_date, render_head


def test_a_head_is_complete() -> None:
    response = Response(201, b"{}", "application/json", [("Location", "https://a/b")])
    lines = render_head(response, closes=True).decode().split("\r\n")

    assert lines[0] == "HTTP/1.1 201 Created"
    assert lines[1].startswith("Date: ")
    assert lines[2:] == [
        "Content-Length: 2",
        "Content-Type: application/json",
        "Location: https://a/b",
        "Connection: close",
        "X-Content-Type-Options: nosniff",
        "",
        "",
    ]


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_content_have_no_length(status: int) -> None:
    assert b"Content-Length" not in render_head(Response(status), closes=False)


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x", "a\nb", "a\rb", "a\x00b"])
def test_a_header_stays_on_its_line(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        render_head(Response(200, headers=[("Location", value)]), closes=False)


def test_http_dates() -> None:
    assert http_date(784_111_777.9) == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("/acme/order/abc", "/acme/order/abc"),
        ("a\r\nb\x1b[2J", "a\\r\\nb\\x1b[2J"),
        ("\udcff\x00\u2028", "\\udcff\\x00\\u2028"),
        ("x" * 300, "x" * 200 + "…"),
    ],
)
def test_a_line_of_the_log_stays_a_line(text: str, escaped: str) -> None:
    assert escape(text) == escaped
