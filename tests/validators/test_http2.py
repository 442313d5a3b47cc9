"""HTTP/2 as far as one request needs it, frame by frame."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.encrypteddns import frame, ok_http2
from validators.http1 import HttpTruncated, HttpViolation
from validators.http2 import MAX_BODY, MAX_FRAME, MAX_FRAMES, Http2Response, encode_post

SETTINGS = frame(4, 0, 0, bytes(6))
HEAD = frame(1, 4, 1, b"\x88")
BODY = frame(0, 1, 1, b"body")


def read(octets: bytes) -> tuple[bytes, bytes, bool]:
    """Body, what was sent back, and whether the response was complete."""
    response = Http2Response()
    sent = response.feed(octets)
    return response.body, sent, response.is_complete


COMPLETE: dict[str, bytes] = {
    "header and body": HEAD + BODY,
    "settings first": SETTINGS + HEAD + BODY,
    "a body in parts": HEAD + frame(0, 0, 1, b"bo") + frame(0, 0, 1, b"") + frame(0, 1, 1, b"dy"),
    "a padded body": HEAD + frame(0, 9, 1, b"\x03body\0\0\0"),
    "a change of the table's size": frame(1, 4, 1, b"\x20\x88") + BODY,
    "more fields": frame(1, 4, 1, b"\x88\x0f\x0d\x014") + BODY,
    "a padded header": frame(1, 0xC, 1, b"\x01\x88\0") + BODY,
    "a header with a priority": frame(1, 0x24, 1, bytes(5) + b"\x88") + BODY,
    "a header in parts": frame(1, 0, 1, b"\x88") + frame(9, 4, 1, b"\x0f\x0d\x014") + BODY,
    "a trailer": HEAD + frame(0, 0, 1, b"body") + frame(1, 5, 1, b"\x40\x01a\x01b"),
    "unknown frames": frame(99, 0xFF, 7, b"x") + HEAD + frame(8, 0, 1, bytes(4)) + BODY,
    "an acknowledgement": frame(4, 1, 0, b"") + HEAD + BODY,
}


@pytest.mark.parametrize("octets", COMPLETE.values(), ids=COMPLETE)
def test_these_responses_are_complete(octets: bytes) -> None:
    body, _, is_complete = read(octets)

    assert (body, is_complete) == (b"body", True)


@pytest.mark.parametrize("octets", COMPLETE.values(), ids=COMPLETE)
def test_a_response_can_come_octet_by_octet(octets: bytes) -> None:
    response = Http2Response()
    for octet in octets:
        assert not response.is_complete
        response.feed(bytes([octet]))

    assert (response.body, response.is_complete) == (b"body", True)


VIOLATIONS: dict[str, bytes] = {
    "another status": frame(1, 4, 1, b"\x8d"),
    "a status of three digits": frame(1, 4, 1, b"\x08\x03200"),
    "an empty header": frame(1, 4, 1, b""),
    "a table of another size": frame(1, 4, 1, b"\x3f\x01\x88"),
    "a body before the header": frame(0, 1, 1, b"body"),
    "another stream": frame(1, 4, 3, b"\x88"),
    "the connection's stream": frame(0, 1, 0, b"body"),
    "a reset": HEAD + frame(3, 0, 1, bytes(4)),
    "a promise": frame(5, 4, 1, bytes(4)),
    "an interrupted header": frame(1, 0, 1, b"\x88") + frame(0, 1, 1, b"body"),
    "a header that goes on after its end": HEAD + frame(9, 4, 1, b"x"),
    "too much padding": HEAD + frame(0, 9, 1, b"\x05body"),
    "padding without its length": HEAD + frame(0, 9, 1, b""),
    "too large a frame": frame(0, 0, 1, bytes(MAX_FRAME + 1))[:9],
    "too many frames": SETTINGS * (MAX_FRAMES + 1),
    "too large a header": frame(1, 0, 1, b"\x88" + bytes(9000)) + frame(9, 0, 1, bytes(9000)),
    "too long a body": HEAD + frame(0, 0, 1, bytes(MAX_FRAME)) * 4,
    "HTTP/1.1": b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("octets", VIOLATIONS.values(), ids=VIOLATIONS)
def test_these_are_violations(octets: bytes) -> None:
    with pytest.raises(HttpViolation):
        read(octets)


def test_the_longest_body_is_read() -> None:
    body, _, is_complete = read(ok_http2(b"", b"", bytes(MAX_BODY)))

    assert (len(body), is_complete) == (MAX_BODY, True)


@pytest.mark.parametrize("length", range(len(HEAD + BODY)))
def test_a_response_that_is_cut_is_truncated(length: int) -> None:
    response = Http2Response()
    response.feed((HEAD + BODY)[:length])

    with pytest.raises(HttpTruncated):
        response.feed_eof()


def test_settings_and_pings_are_acknowledged() -> None:
    _, sent, _ = read(SETTINGS + frame(6, 0, 0, b"12345678") + frame(6, 1, 0, b"12345678"))

    assert sent == frame(4, 1, 0, b"") + frame(6, 1, 0, b"12345678")


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_a_violation(octets: bytes) -> None:
    try:
        body, _, is_complete = read(HEAD + octets)
    except HttpViolation:
        return
    assert is_complete or len(body) <= len(octets)


def test_a_request_is_preface_settings_header_and_body() -> None:
    octets = encode_post("dns.example:443", "/q" * 200, "application/dns-message", b"query")

    head = (
        b"\x83\x87\x01\x0fdns.example:443\x04\x7f\x91\x02" + b"/q" * 200 + b"\x0f\x04\x17"
        b"application/dns-message\x0f\x0d\x015\x0f\x10\x17application/dns-message"
    )
    assert octets == (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(4, 0, 0, b"\0\x01\0\0\0\0\0\x02\0\0\0\0")
        + frame(1, 4, 1, head)
        + frame(0, 1, 1, b"query")
    )
