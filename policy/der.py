"""Reading DER (ITU-T X.690) strictly, where the library's parser says too little or too much."""

from __future__ import annotations

from collections.abc import Iterator

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
SEQUENCE = 0x30
SET = 0x31
# Longer ones exist only to make readers work.
_MAX_OID = 64


def read(data: bytes, start: int) -> tuple[int, int, int]:
    """The tag of the value at ``start``, and where its content starts and ends.

    Strict: single-byte tags, definite lengths in their shortest form. Raises ValueError.
    """
    if start + 2 > len(data):
        raise ValueError("the data ends within a header")
    tag, length, content = data[start], data[start + 1], start + 2
    if tag & 0x1F == 0x1F:
        raise ValueError("a tag of more than one byte")
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or content + count > len(data):
            raise ValueError("a length that is not allowed")
        length = int.from_bytes(data[content : content + count])
        if length < 0x80 or length >> 8 * (count - 1) == 0:
            raise ValueError("a length that is not in its shortest form")
        content += count
    if content + length > len(data):
        raise ValueError("a value longer than the data")
    return tag, content, content + length


def values(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of the values that stand one after the other in ``content``, to its end.

    Raises ValueError.
    """
    position = 0
    while position < len(content):
        tag, start, position = read(content, position)
        yield tag, content[start:position]


def whole(data: bytes, tag: int) -> bytes:
    """The content of the one value that ``data`` is. Raises ValueError for another tag, or if
    anything follows."""
    found, start, end = read(data, 0)
    if found != tag or end != len(data):
        raise ValueError(f"no value with tag {tag:#04x} alone")
    return data[start:end]


def positive_integer(content: bytes) -> int:
    """The number that an INTEGER with this content is. Raises ValueError unless it is above 0
    and in its shortest form."""
    is_padded = content[:1] == b"\x00" and not content[1:2] > b"\x7f"
    if not content or content[0] & 0x80 or is_padded:
        raise ValueError("an integer that is not positive or not in its shortest form")
    return int.from_bytes(content)


def dotted(oid: bytes) -> str:
    """An OBJECT IDENTIFIER from its content, in dots. Raises ValueError."""
    if not oid or oid[-1] & 0x80 or len(oid) > _MAX_OID:
        raise ValueError("no object identifier")
    arcs, arc = [], 0
    for octet in oid:
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))
