"""Reading one HTTP/1.1 response from a server that may be hostile (RFC 9112), without I/O.

One request is made per connection, so what comes after the response doesn't matter. Only the
body of a 200 is read. A bare LF is taken for CRLF, as RFC 9112, section 2.2, allows: simple
scripts answer challenges too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEAD = 16 * 1024
MAX_FIELDS = 128
MAX_INTERIM = 8
MAX_CHUNK_LINE = 256
# Chunk sizes and extensions included; far more than a sensible server needs for MAX_BODY.
MAX_RAW_BODY = 16 * 1024

_START = b"HTTP/1."
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: .*)?", re.DOTALL)
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")


class HttpViolation(Exception):
    """The server does not speak HTTP as it should; the text says where, without quoting it."""


class HttpTruncated(Exception):
    """The server closed the connection before its response was complete."""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status and header fields; field names are in lower case, values stripped."""

    minor_version: int
    status: int
    fields: tuple[tuple[bytes, bytes], ...]

    def values(self, name: bytes) -> list[bytes]:
        """The values of all fields called ``name`` (lower case)."""
        return [value for field, value in self.fields if field == name]


class ResponseParser:
    """Fed with octets until ``is_complete``; ``head`` is there first, then ``body``.

    Every method raises HttpViolation. With more than ``max_body`` octets of body, the response
    counts as complete and ``is_too_long``; so it does with more than ``max_raw``, chunk sizes
    and extensions included.
    """

    def __init__(self, max_body: int, max_raw: int = MAX_RAW_BODY) -> None:
        self.head: ResponseHead | None = None
        self.is_complete = False
        self.is_too_long = False
        self._max_body = max_body
        self._unread = bytearray()
        self._body = bytearray()
        self._searched = 0
        self._head_left = MAX_HEAD
        self._raw_left = max_raw
        self._interim_left = MAX_INTERIM
        self._is_chunked = False
        # Octets still to come of the body, or of this chunk; None: the body ends with the
        # connection, or a chunk's size comes next.
        self._expected: int | None = None
        self._is_after_chunk = False

    @property
    def body(self) -> bytes:
        """The body so far."""
        return bytes(self._body)

    def feed(self, octets: bytes) -> None:
        """Take octets as they arrived."""
        self._unread += octets
        while self.head is None:
            if not self._read_head():
                return
        if not self.is_complete:
            self._read_body()

    def feed_eof(self) -> None:
        """Take note that the server closed. Raises HttpTruncated if something is missing."""
        if self.head is None or (
            not self.is_complete and (self._is_chunked or self._expected is not None)
        ):
            raise HttpTruncated
        self.is_complete = True

    def _read_head(self) -> bool:
        """Whether a whole head was there; after an interim response ``head`` is still None."""
        if not self._unread:
            return False
        if not _START.startswith(self._unread[: len(_START)]):
            raise HttpViolation("it does not begin like HTTP/1.0 or HTTP/1.1")
        end = _END_OF_HEAD.search(self._unread, self._searched)
        size = len(self._unread) if end is None else end.end()
        if size > self._head_left:
            raise HttpViolation(f"its header is larger than {MAX_HEAD // 1024} KiB")
        if end is None:
            # The rest is not searched again, or single octets would cost a scan each.
            self._searched = max(0, size - 2)
            return False
        head = parse_head(bytes(self._unread[: end.start()]))
        del self._unread[:size]
        self._searched = 0
        self._head_left -= size
        if head.status >= 200:
            self._begin_body(head)
        else:
            self._pass_over(head)
        return True

    def _pass_over(self, interim: ResponseHead) -> None:
        if interim.status == 101:
            raise HttpViolation("it switches to another protocol")
        self._interim_left -= 1
        if self._interim_left < 0:
            raise HttpViolation("it sends too many interim responses")

    def _begin_body(self, head: ResponseHead) -> None:
        self.head = head
        if head.status != 200:
            self.is_complete = True
            return
        encodings = head.values(b"transfer-encoding")
        lengths = head.values(b"content-length")
        if encodings:
            if lengths or head.minor_version == 0 or [e.lower() for e in encodings] != [b"chunked"]:
                raise HttpViolation("its transfer encoding is not acceptable")
            self._is_chunked = True
        elif lengths:
            if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
                raise HttpViolation("its Content-Length is not acceptable")
            self._expected = int(lengths[0])
            if self._expected > self._max_body:
                self.is_too_long = self.is_complete = True

    def _read_body(self) -> None:
        if self._is_chunked:
            self._read_chunks()
            return
        self._take(len(self._unread) if self._expected is None else self._expected)
        if self._expected == 0:
            self.is_complete = True

    def _read_chunks(self) -> None:
        while not self.is_complete:
            if self._expected is None and not self._read_chunk_size():
                return
            if self._expected == 0:
                self.is_complete = True
                return
            self._take(self._expected or 0)
            if self._expected:
                return
            self._expected = None
            self._is_after_chunk = True

    def _read_chunk_size(self) -> bool:
        """Read a chunk's first line, and before it the end of the last chunk's line."""
        if self._is_after_chunk:
            if not (line_end := self._take_line()):
                return False
            if line_end not in (b"\r\n", b"\n"):
                raise HttpViolation("its chunks are longer than announced")
            self._is_after_chunk = False
        line = self._take_line()
        if not line:
            return False
        size, *_ = line.strip().split(b";", 1)
        if not _CHUNK_SIZE.fullmatch(size.rstrip()):
            raise HttpViolation("its chunks have no valid size")
        self._expected = int(size, 16)
        return True

    def _take_line(self) -> bytes:
        """A line with its end; b"" if it isn't complete yet."""
        end = self._unread.find(b"\n", 0, MAX_CHUNK_LINE)
        if end < 0 and len(self._unread) >= MAX_CHUNK_LINE:
            raise HttpViolation("its chunks have an overlong first line")
        line = bytes(self._unread[: end + 1])
        del self._unread[: end + 1]
        self._count_raw(len(line))
        return line

    def _take(self, wanted: int) -> None:
        """Move up to ``wanted`` octets into the body."""
        taken = min(wanted, len(self._unread))
        self._count_raw(taken)
        self._body += self._unread[:taken]
        del self._unread[:taken]
        if self._expected is not None:
            self._expected -= taken
        if len(self._body) > self._max_body:
            self.is_too_long = self.is_complete = True

    def _count_raw(self, count: int) -> None:
        self._raw_left -= count
        if self._raw_left < 0:
            self.is_too_long = self.is_complete = True


def parse_head(block: bytes) -> ResponseHead:
    """The head in ``block``, which ends before its last line end. Raises HttpViolation."""
    block = block.removesuffix(b"\r")
    if _CONTROL.search(block):
        raise HttpViolation("its header has control characters")
    first, *lines = block.replace(b"\r\n", b"\n").split(b"\n")
    status_line = _STATUS_LINE.fullmatch(first)
    if status_line is None:
        raise HttpViolation("its status line is not valid")
    if len(lines) > MAX_FIELDS:
        raise HttpViolation(f"it has more than {MAX_FIELDS} header fields")
    fields = tuple(_parse_field(line) for line in lines)
    return ResponseHead(int(status_line[1]), int(status_line[2]), fields)


def _parse_field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon or not _TOKEN.fullmatch(name):
        raise HttpViolation("its header has an invalid field")
    return name.lower(), value.strip(b" \t")
