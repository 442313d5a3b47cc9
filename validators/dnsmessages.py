"""DNS messages: making a query that is hard to forge an answer to, and reading answers."""

from __future__ import annotations

import enum
import secrets
import struct
from dataclasses import dataclass

import dns.exception
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

# Larger answers come truncated, without IP fragments that a forger could replace.
UDP_PAYLOAD = 1232
# Enough for a hundred TXT records; parsing many more would hold the event loop.
MAX_RECORDS = 400

_HEADER = struct.Struct("!6H")
_RECURSION_DESIRED = 0x0100
_OPT = b"\x00" + struct.pack("!HHIH", dns.rdatatype.OPT, UDP_PAYLOAD, 0, 0)
# FORMERR, SERVFAIL, NOTIMP and REFUSED may come without the question.
_RCODES_WITHOUT_QUESTION = frozenset({1, 2, 4, 5})


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


@dataclass(frozen=True, slots=True)
class Answer:
    """What a resolver answered. ``rcode`` is the basic one, without EDNS's upper bits."""

    rcode: int
    rrsets: tuple[dns.rrset.RRset, ...]

    def find_records(
        self, owner: dns.name.Name, record_type: dns.rdatatype.RdataType
    ) -> tuple[dns.rdata.Rdata, ...] | None:
        """The records of exactly ``owner``; None if there are none."""
        for rrset in self.rrsets:
            if (
                rrset.rdtype == record_type
                and rrset.rdclass == dns.rdataclass.IN
                and rrset.name == owner
            ):
                return tuple(rrset)
        return None

    def find_alias(self, owner: dns.name.Name) -> dns.name.Name | None:
        """What ``owner`` is an alias of; None if it is none."""
        records = self.find_records(owner, dns.rdatatype.CNAME)
        if not records:
            return None
        target: dns.name.Name = records[0].target  # type: ignore[attr-defined]
        return target


def make_query(
    name: dns.name.Name, record_type: dns.rdatatype.RdataType, *, randomize_case: bool
) -> Query:
    """A query with a random id, recursion desired, EDNS, and mixed case if wanted ("0x20")."""
    encoded = name.to_wire()
    assert encoded is not None
    if randomize_case:
        encoded = _mix_case(encoded)
    question = encoded + struct.pack("!HH", record_type, dns.rdataclass.IN)
    query_id = secrets.randbits(16)
    header = _HEADER.pack(query_id, _RECURSION_DESIRED, 1, 0, 0, 1)
    return Query(query_id, question, header + question + _OPT)


def match(query: Query, wire: bytes) -> Match:
    """Whether ``wire`` can be the answer to ``query``: id, direction and question are looked at."""
    if len(wire) < _HEADER.size:
        return Match.FOREIGN
    message_id, flags, questions, *_ = _HEADER.unpack_from(wire)
    if message_id != query.id or not flags & 0x8000 or flags & 0x7800:
        return Match.FOREIGN
    if questions == 0:
        return Match.OURS if flags & 0xF in _RCODES_WITHOUT_QUESTION else Match.FOREIGN
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
    _, flags, _, *counts = _HEADER.unpack_from(wire)
    if sum(counts) > MAX_RECORDS:
        raise MessageMalformed("too many records")
    try:
        message = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError, struct.error) as error:
        raise MessageMalformed(type(error).__name__) from error
    return Answer(flags & 0xF, tuple(message.answer))


def _mix_case(encoded: bytes) -> bytes:
    """Letters in random case; length octets are below 64 and no letters."""
    bits = secrets.randbits(len(encoded))
    return bytes(
        octet ^ (0x20 if bits >> index & 1 and 0x61 <= octet | 0x20 <= 0x7A else 0)
        for index, octet in enumerate(encoded)
    )
