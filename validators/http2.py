"""One request to a DNS resolver over HTTP/2 (RFC 9113), without I/O: most speak no HTTP/1.1.

We forbid the resolver to compress header fields by what it sent before, so that of its answer's
header the status can be read without a decoder: 200 is one octet (RFC 7541, appendix A), and
whatever else stands there is a failure. What was answered is checked as a DNS message.
"""

from __future__ import annotations

import enum
import struct

from validators.http1 import HttpTruncated, HttpViolation

MAX_BODY = 65535
# The most that a peer may send by the settings that we leave as they are.
MAX_FRAME = 16384
MAX_FRAMES = 256

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_STREAM = 1
_END_STREAM = 0x01
_ACK = 0x01
_END_HEADERS = 0x04
_PADDED = 0x08
_PRIORITY = 0x20
_HEADER_SIZE = 9
# Header table size 0, push off.
_SETTINGS = struct.pack("!HIHI", 1, 0, 2, 0)
_STATUS_200 = 0x88


class _Kind(enum.IntEnum):
    """The frames that matter; others are passed over (RFC 9113, section 5.5)."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    CONTINUATION = 9


def encode_post(authority: str, path: str, media_type: str, body: bytes) -> bytes:
    """All that a client sends for a POST: preface, settings, one request."""
    block = b"\x83\x87" + b"".join(
        _field(index, value)
        for index, value in (
            (1, authority),
            (4, path),
            (19, media_type),  # accept
            (28, str(len(body))),
            (31, media_type),
        )
    )
    return (
        _PREFACE
        + _frame(_Kind.SETTINGS, 0, 0, _SETTINGS)
        + _frame(_Kind.HEADERS, _END_HEADERS, _STREAM, block)
        + _frame(_Kind.DATA, _END_STREAM, _STREAM, body)
    )


class Http2Response:
    """Fed with octets until ``is_complete``; then ``body`` is that of a response with 200."""

    def __init__(self) -> None:
        self.is_complete = False
        self._unread = bytearray()
        self._block: bytearray | None = None
        self._has_status = False
        self._ends = False
        self._body = bytearray()
        self._frames = 0

    @property
    def body(self) -> bytes:
        """The body so far."""
        return bytes(self._body)

    def feed(self, octets: bytes) -> bytes:
        """Take octets as they arrived; what is to be sent back. Raises HttpViolation."""
        self._unread += octets
        replies = b""
        while not self.is_complete and len(self._unread) >= _HEADER_SIZE:
            length = int.from_bytes(self._unread[:3])
            if length > MAX_FRAME:
                raise HttpViolation("its frames are too large")
            if len(self._unread) < _HEADER_SIZE + length:
                break
            kind, flags, stream = struct.unpack_from("!BBI", self._unread, 3)
            payload = bytes(self._unread[_HEADER_SIZE : _HEADER_SIZE + length])
            del self._unread[: _HEADER_SIZE + length]
            replies += self._take(kind, flags, stream & 0x7FFFFFFF, payload)
        return replies

    def feed_eof(self) -> None:
        """Take note that the server closed. Raises HttpTruncated unless all was there."""
        if not self.is_complete:
            raise HttpTruncated

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        self._frames += 1
        if self._frames > MAX_FRAMES:
            raise HttpViolation("it sends too many frames")
        if self._block is not None and kind != _Kind.CONTINUATION:
            raise HttpViolation("its header is interrupted")
        if kind in (_Kind.SETTINGS, _Kind.PING):
            return b"" if flags & _ACK else _acknowledge(kind, payload)
        if kind in (_Kind.RST_STREAM, _Kind.PUSH_PROMISE):
            raise HttpViolation("it refuses the request")
        if kind in (_Kind.DATA, _Kind.HEADERS, _Kind.CONTINUATION) and stream != _STREAM:
            raise HttpViolation("it answers a request that was not made")
        if kind == _Kind.DATA:
            self._take_data(flags, payload)
        elif kind == _Kind.HEADERS:
            self._ends = bool(flags & _END_STREAM)
            self._block = bytearray(_unpadded(flags, payload)[5 if flags & _PRIORITY else 0 :])
            self._end_block(flags)
        elif kind == _Kind.CONTINUATION:
            if self._block is None:
                raise HttpViolation("its header goes on after its end")
            self._block += payload
            self._end_block(flags)
        return b""

    def _take_data(self, flags: int, payload: bytes) -> None:
        if not self._has_status:
            raise HttpViolation("its body comes before its header")
        self._body += _unpadded(flags, payload)
        if len(self._body) > MAX_BODY:
            raise HttpViolation("its body is too long")
        self.is_complete = bool(flags & _END_STREAM)

    def _end_block(self, flags: int) -> None:
        """Look at a whole header; one that comes after the first is a trailer."""
        assert self._block is not None
        if len(self._block) > MAX_FRAME:
            raise HttpViolation("its header is too large")
        if not flags & _END_HEADERS:
            return
        # Changes of the table's size come first; only that to zero is allowed, and expected.
        if not self._has_status and self._block.lstrip(b"\x20")[:1] != bytes([_STATUS_200]):
            raise HttpViolation("its status is not 200")
        self._block = None
        self._has_status = True
        self.is_complete = self._ends


def _acknowledge(kind: int, payload: bytes) -> bytes:
    return _frame(kind, _ACK, 0, payload if kind == _Kind.PING else b"")


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & _PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise HttpViolation("its padding is too long")
    return payload[1 : len(payload) - payload[0]]


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + struct.pack("!BBI", kind, flags, stream) + payload


def _field(index: int, value: str) -> bytes:
    """A field with a name of the static table, to be remembered by nobody (RFC 7541, 6.2.2)."""
    return _integer(index, 4) + _integer(len(value), 7) + value.encode("ascii")


def _integer(value: int, bits: int) -> bytes:
    """A number in a prefix of so many bits (RFC 7541, section 5.1), the others zero."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    octets = [most]
    value -= most
    while value >= 128:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*octets, value])
