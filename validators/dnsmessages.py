"""DNS messages (RFC 1035): making a query that is hard to forge an answer to, reading answers.

Only the answer section is read, and only the types that are asked for; of a failure also the
reasons that the resolver gives. A general parser builds objects for every record and name of a
message, and lets a hostile zone hold the event loop for seconds
(docs/adr/0010-own-dns-messages.md).
"""

from __future__ import annotations

import enum
import secrets
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from validators.caarecords import CaaRecord, parse_caa

# A domain name as its labels in lower case, without the root.
Name = tuple[bytes, ...]

# Larger answers come truncated, without IP fragments that a forger could replace.
UDP_PAYLOAD = 1232
# Enough for a hundred TXT records and the aliases before them.
MAX_RECORDS = 256
_MAX_NAME = 255
_MAX_LABEL = 63
_MAX_POINTERS = 32

_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_QUESTION_TAIL = 4
_RECURSION_DESIRED = 0x0100
_AUTHENTIC_DATA = 0x0020
_IN = 1
_OPT_TYPE = 41
_OPT = b"\x00" + struct.pack("!HHIH", _OPT_TYPE, UDP_PAYLOAD, 0, 0)
_OPTION = struct.Struct("!HH")
_EXTENDED_ERROR = 15


class RecordType(enum.IntEnum):
    """The types that are asked for, or met on the way."""

    A = 1
    CNAME = 5
    TXT = 16
    AAAA = 28
    CAA = 257


class Rcode(enum.IntEnum):
    """Response codes (RFC 1035, section 4.1.1)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5


_WITHOUT_QUESTION = frozenset({Rcode.FORMERR, Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED})


class MessageMalformed(Exception):
    """An answer to our question that can't be read."""


class Match(enum.Enum):
    """How a message relates to a query: its answer, its answer but for the case of the name, or
    something else."""

    OURS = enum.auto()
    CASE_LOST = enum.auto()
    FOREIGN = enum.auto()


@dataclass(frozen=True, slots=True)
class Query:
    """A question, and its message. ``question`` is the question section as sent."""

    id: int
    question: bytes
    wire: bytes


# An address, the joined strings of a TXT record, a CAA property, or what a name is an alias of.
Value = IPv4Address | IPv6Address | bytes | CaaRecord | Name


@dataclass(frozen=True, slots=True)
class Record:
    """One record of class IN and one of the types above. ``ttl`` is in seconds."""

    owner: Name
    type: RecordType
    value: Value
    ttl: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a resolver answered. ``rcode`` may be one that ``Rcode`` doesn't name.

    ``is_authentic`` is the resolver's word for it (the AD bit), worth as much as the resolver
    and the way to it. ``reasons`` are the codes by which it explains SERVFAIL (RFC 8914).
    """

    rcode: int
    records: tuple[Record, ...]
    is_authentic: bool = False
    reasons: tuple[int, ...] = ()

    def find_records(self, owner: Name, record_type: RecordType) -> list[Record]:
        """The records of exactly ``owner``."""
        return [
            record
            for record in self.records
            if record.type is record_type and record.owner == owner
        ]

    def find_alias(self, owner: Name) -> tuple[Name, int] | None:
        """What ``owner`` is an alias of, with the record's TTL; None if it is none."""
        for record in self.find_records(owner, RecordType.CNAME):
            if isinstance(record.value, tuple):
                return record.value, record.ttl
        return None


def parse_name(text: str) -> Name:
    """The absolute name that ``text`` is, with or without the final dot.

    Raises ValueError for what can't be asked for: empty or long labels, long names, non-ASCII.
    """
    labels = tuple(text.lower().removesuffix(".").encode("ascii").split(b"."))
    if not all(0 < len(label) <= _MAX_LABEL for label in labels):
        raise ValueError("a label is empty or too long")
    if sum(len(label) + 1 for label in labels) + 1 > _MAX_NAME:
        raise ValueError("the name is too long")
    return labels


def format_name(name: Name) -> str:
    """The name as text with the final dot, for people."""
    return ".".join(label.decode("latin-1") for label in name) + "."


def make_query(name: Name, record_type: RecordType, *, randomize_case: bool) -> Query:
    """A query with a random id, recursion desired, EDNS, and mixed case if wanted ("0x20").

    AD asks to be told whether the answer is authentic (RFC 6840, section 5.7).
    """
    encoded = b"".join(bytes([len(label)]) + label for label in name) + b"\0"
    if randomize_case:
        encoded = _mix_case(encoded)
    question = encoded + struct.pack("!HH", record_type, _IN)
    query_id = secrets.randbits(16)
    header = _HEADER.pack(query_id, _RECURSION_DESIRED | _AUTHENTIC_DATA, 1, 0, 0, 1)
    return Query(query_id, question, header + question + _OPT)


def match(query: Query, wire: bytes) -> Match:
    """Whether ``wire`` can be the answer to ``query``: id, direction and question are looked at."""
    if len(wire) < _HEADER.size:
        return Match.FOREIGN
    message_id, flags, questions, *_ = _HEADER.unpack_from(wire)
    if message_id != query.id or not flags & 0x8000 or flags & 0x7800:
        return Match.FOREIGN
    if questions == 0:
        return Match.OURS if flags & 0xF in _WITHOUT_QUESTION else Match.FOREIGN
    question = wire[_HEADER.size : _HEADER.size + len(query.question)]
    if questions == 1 and question == query.question:
        return Match.OURS
    if questions == 1 and question.lower() == query.question.lower():
        return Match.CASE_LOST
    return Match.FOREIGN


def is_truncated(wire: bytes) -> bool:
    """Whether the answer must be asked for again over TCP."""
    return bool(wire[2] & 0x02)


def parse_answer(wire: bytes) -> Answer:
    """Read a message that ``match`` accepted. Raises MessageMalformed."""
    _, flags, questions, answers, *_ = _HEADER.unpack_from(wire)
    if answers > MAX_RECORDS:
        raise MessageMalformed("too many records")
    try:
        position = _HEADER.size
        for _ in range(questions):
            _, position = _read_name(wire, position)
            position += _QUESTION_TAIL
        records = tuple(_read_records(wire, position, answers))
    except (IndexError, struct.error) as error:
        raise MessageMalformed("it is cut off") from error
    rcode = flags & 0xF
    reasons = _find_reasons(wire, position) if rcode == Rcode.SERVFAIL else ()
    return Answer(rcode, records, bool(flags & _AUTHENTIC_DATA), reasons)


def _find_reasons(wire: bytes, position: int) -> tuple[int, ...]:
    """The extended errors in the OPT record of a message whose records begin at ``position``.

    They only explain: what can't be read counts as not there.
    """
    count = sum(_HEADER.unpack_from(wire)[3:])
    try:
        for _ in range(min(count, MAX_RECORDS)):
            _, position = _read_name(wire, position)
            number, _, _, length = _RECORD.unpack_from(wire, position)
            start = position + _RECORD.size
            position = start + length
            if number == _OPT_TYPE:
                return tuple(_read_reasons(wire[start:position]))
    except (IndexError, struct.error, MessageMalformed):
        pass
    return ()


def _read_reasons(options: bytes) -> Iterator[int]:
    while options:
        code, length = _OPTION.unpack_from(options)
        data, options = options[4 : 4 + length], options[4 + length :]
        if code == _EXTENDED_ERROR and len(data) >= 2:
            yield int.from_bytes(data[:2])


def _read_records(wire: bytes, position: int, count: int) -> Iterator[Record]:
    for _ in range(count):
        owner, position = _read_name(wire, position)
        number, record_class, ttl, length = _RECORD.unpack_from(wire, position)
        start = position + _RECORD.size
        position = start + length
        if position > len(wire):
            raise MessageMalformed("it is cut off")
        if record_class == _IN and number in _READERS:
            value = _READERS[number](wire, start, position)
            # With the first bit set it counts as zero (RFC 2181, section 8).
            yield Record(owner, RecordType(number), value, 0 if ttl >> 31 else ttl)


def _read_name(wire: bytes, position: int) -> tuple[Name, int]:
    """The name at ``position``, and where what follows it begins (RFC 1035, section 4.1.4).

    A pointer must lead back before where the name, or the part it leads to, began, which allows
    no loop; and few pointers are enough for any honest name.
    """
    labels: list[bytes] = []
    size, floor, after, pointers = 1, position, 0, 0
    while (length := wire[position]) != 0:
        if length & 0xC0 == 0xC0:
            target = (length & 0x3F) << 8 | wire[position + 1]
            pointers += 1
            if target >= floor or pointers > _MAX_POINTERS:
                raise MessageMalformed("a name has a forward pointer, or too many")
            after = after or position + 2
            position = floor = target
            continue
        if length > _MAX_LABEL:
            raise MessageMalformed("a label has an unknown type")
        size += length + 1
        if size > _MAX_NAME:
            raise MessageMalformed("a name is too long")
        labels.append(wire[position + 1 : position + 1 + length].lower())
        position += 1 + length
    return tuple(labels), after or position + 1


def _read_ipv4(wire: bytes, start: int, end: int) -> IPv4Address:
    if end - start != 4:
        raise MessageMalformed("an address has the wrong size")
    return IPv4Address(wire[start:end])


def _read_ipv6(wire: bytes, start: int, end: int) -> IPv6Address:
    if end - start != 16:
        raise MessageMalformed("an address has the wrong size")
    return IPv6Address(wire[start:end])


def _read_text(wire: bytes, start: int, end: int) -> bytes:
    """The strings, joined."""
    strings = []
    while start < end:
        after = start + 1 + wire[start]
        strings.append(wire[start + 1 : after])
        start = after
    if start != end:
        raise MessageMalformed("a string is cut off")
    return b"".join(strings)


def _read_caa(wire: bytes, start: int, end: int) -> CaaRecord:
    try:
        return parse_caa(wire[start:end])
    except ValueError as error:
        raise MessageMalformed("a CAA record can't be read") from error


def _read_target(wire: bytes, start: int, end: int) -> Name:
    target, after = _read_name(wire, start)
    if after != end:
        raise MessageMalformed("an alias has the wrong size")
    return target


_READERS: Mapping[int, Callable[[bytes, int, int], Value]] = {
    RecordType.A: _read_ipv4,
    RecordType.AAAA: _read_ipv6,
    RecordType.TXT: _read_text,
    RecordType.CNAME: _read_target,
    RecordType.CAA: _read_caa,
}


def _mix_case(encoded: bytes) -> bytes:
    """Letters in random case; length octets are below 64 and no letters."""
    bits = secrets.randbits(len(encoded))
    return bytes(
        octet ^ (0x20 if bits >> index & 1 and 0x61 <= octet | 0x20 <= 0x7A else 0)
        for index, octet in enumerate(encoded)
    )
