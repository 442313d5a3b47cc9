"""The response parser: the same result however the octets arrive, and bounded work."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.http1 import (
    MAX_HEAD,
    HttpTruncated,
    HttpViolation,
    ResponseParser,
    parse_head,
)

Outcome = tuple[str, int | None, bytes, bool]


def read(parts: list[bytes], max_body: int = 100) -> Outcome:
    """How the response in ``parts``, followed by the end of the connection, is read."""
    parser = ResponseParser(max_body)
    end = ""
    try:
        for part in parts:
            if not parser.is_complete:
                parser.feed(part)
        if not parser.is_complete:
            parser.feed_eof()
    except (HttpViolation, HttpTruncated) as error:
        end = type(error).__name__
    status = None if parser.head is None else parser.head.status
    return end, status, b"" if end else parser.body[: max_body + 1], parser.is_too_long


_TOKENS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 200",
        b"HTTP/1.1 100 x",
        b"HTTP/1.1 404 x",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\n\n",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked",
        b"0",
        b"3",
        b"a",
        b"abc",
        b"x" * 50,
        b";",
        b":",
        b" ",
        b"\x00",
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"Location: /x",
    ]
)
_STREAMS = st.lists(_TOKENS, max_size=15).map(b"".join) | st.builds(
    lambda head, rest: head + rest,
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        ]
    ),
    st.lists(_TOKENS, max_size=10).map(b"".join) | st.binary(max_size=200),
)


@given(_STREAMS, st.lists(st.integers(0, 300), max_size=8))
def test_the_division_into_segments_makes_no_difference(stream: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    parts = [stream[start:end] for start, end in pairwise(edges)]
    single = [stream[index : index + 1] for index in range(len(stream))]

    assert read(parts) == read([stream] if stream else []) == read(single)


@given(st.binary(max_size=400))
def test_any_octets_end_in_a_response_or_one_of_two_errors(stream: bytes) -> None:
    end, *_ = read([stream])

    assert end in ("", "HttpViolation", "HttpTruncated")


@given(st.binary(max_size=90), st.lists(st.integers(1, 30), max_size=5))
def test_a_chunked_body_is_put_together(body: bytes, sizes: list[int]) -> None:
    wire, rest = b"", body
    for size in [*sizes, len(body)]:
        chunk, rest = rest[:size], rest[size:]
        wire += b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunk else b""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding:chunked\r\n\r\n"

    assert read([head + wire + b"0\r\n\r\n"]) == ("", 200, body, False)
    assert read([head + wire])[0] == "HttpTruncated"


@pytest.mark.parametrize(("length", "is_too_long"), [(100, False), (101, True)])
@pytest.mark.parametrize("has_length", [True, False])
def test_a_body_longer_than_the_limit_is_too_long(
    length: int, is_too_long: bool, has_length: bool
) -> None:
    field = b"Content-Length: %d\r\n" % length if has_length else b""
    head = b"HTTP/1.1 200 OK\r\n" + field + b"\r\n"

    assert read([head + b"x" * length])[3] is is_too_long


@pytest.mark.parametrize("surplus", [0, 1])
def test_the_head_has_a_limit_of_sixteen_kibibytes(surplus: int) -> None:
    start, end = b"HTTP/1.1 200 OK\r\nX: ", b"\r\n\r\n"
    head = start + b"y" * (MAX_HEAD - len(start) - len(end) + surplus) + end

    assert read([head])[0] == ("HttpViolation" if surplus else "")
    assert read([head[:9000], head[9000:]])[0] == ("HttpViolation" if surplus else "")


def test_interim_responses_share_the_limit_of_the_head() -> None:
    interim = b"HTTP/1.1 103 x\r\nX: " + b"y" * 6000 + b"\r\n\r\n"

    assert read([interim * 2, b"HTTP/1.1 200 OK\r\n\r\n"])[:2] == ("", 200)
    assert read([interim * 3, b"HTTP/1.1 200 OK\r\n\r\n"])[0] == "HttpViolation"


def test_the_body_of_another_status_is_not_read() -> None:
    parser = ResponseParser(100)

    parser.feed(b"HTTP/1.1 302 x\r\nContent-Length: x\r\nLocation:  /y \r\n\r\nbody")

    assert parser.is_complete
    assert parser.body == b""
    assert parser.head is not None
    assert parser.head.values(b"location") == [b"/y"]


def test_fields_keep_their_order_and_values() -> None:
    head = parse_head(b"HTTP/1.0 301 Moved\r\nLOCATION: a:b\r\nlocation:\tc\t\r\nX:")

    assert head.minor_version == 0
    assert head.fields == ((b"location", b"a:b"), (b"location", b"c"), (b"x", b""))


def test_single_octets_cost_no_scan_each() -> None:
    """Searching the whole header for each octet would take seconds here."""
    parser = ResponseParser(100)
    head = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100 + b"Y: " + b"z" * 15_000

    with contextlib.suppress(HttpViolation):
        for octet in head:
            parser.feed(bytes([octet]))

    assert parser.head is None
    assert parser._searched > 15_000
