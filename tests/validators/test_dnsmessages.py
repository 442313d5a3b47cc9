"""Queries on the wire, and answers that are anything; dnspython is the second opinion."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from types import FrameType

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from validators.caarecords import CaaRecord
from validators.dnsmessages import (
    MAX_RECORDS,
    Answer,
    Match,
    MessageMalformed,
    Name,
    Query,
    Rcode,
    RecordType,
    Value,
    format_name,
    make_query,
    match,
    parse_answer,
    parse_name,
)

NAME = parse_name("www.example.test")
HEADER = struct.Struct("!6H")


def ask(*, randomize_case: bool = False) -> Query:
    return make_query(NAME, RecordType.TXT, randomize_case=randomize_case)


def answer_to(query: Query, *lines: str) -> bytes:
    message = dns.message.make_response(dns.message.from_wire(query.wire))
    for line in lines:
        owner, record_type, text = line.split(" ", 2)
        message.answer.append(dns.rrset.from_text(owner, 60, "IN", record_type, text))
    return message.to_wire(max_size=65535)


def record(owner: bytes, number: int, data: bytes, *, record_class: int = 1) -> bytes:
    return owner + struct.pack("!HHIH", number, record_class, 60, len(data)) + data


def answers(*records: bytes, count: int | None = None) -> bytes:
    number = len(records) if count is None else count
    return HEADER.pack(1, 0x8180, 0, number, 0, 0) + b"".join(records)


@pytest.mark.parametrize("randomize_case", [True, False])
def test_a_query_is_read_as_what_it_asks(randomize_case: bool) -> None:
    message = dns.message.from_wire(ask(randomize_case=randomize_case).wire)

    expected = dns.name.from_text("www.example.test.")
    assert [(q.name, q.rdtype) for q in message.question] == [(expected, dns.rdatatype.TXT)]
    assert message.flags == dns.flags.RD | dns.flags.AD
    assert (message.edns, message.payload) == (0, 1232)


def test_the_answer_matches_its_query_only() -> None:
    query = ask()
    answer = answer_to(query)
    mixed = Query(query.id, query.question.swapcase(), b"")

    assert match(query, answer) is Match.OURS
    assert match(mixed, answer) is Match.CASE_LOST
    assert match(Query(query.id ^ 1, query.question, b""), answer) is Match.FOREIGN
    assert match(query, query.wire) is Match.FOREIGN
    assert match(make_query(NAME, RecordType.A, randomize_case=False), answer) is Match.FOREIGN


@pytest.mark.parametrize(
    "text", ["", ".", "a..b", ".a", "x" * 64, ".".join(["x" * 63] * 4), "\u00fc.test"]
)
def test_names_that_cannot_be_asked_for_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"label|long|codec"):
        parse_name(text)


def test_the_longest_name_has_253_characters() -> None:
    longest = ".".join(["x" * 63] * 3 + ["x" * 61])

    assert format_name(parse_name(longest)) == longest + "."
    with pytest.raises(ValueError, match="too long"):
        parse_name(longest + "x")


def test_values_are_found_by_owner_and_type() -> None:
    answer = parse_answer(
        answer_to(
            ask(),
            "WWW.example.TEST. CNAME other.test.",
            "other.test. A 192.0.2.1",
            "other.test. AAAA 2001:db8::1",
            'other.test. TXT "one" "two"',
            "other.test. MX 10 mail.test.",
        )
    )
    other = parse_name("other.test")

    assert answer.rcode == Rcode.NOERROR
    found = answer.find_alias(NAME)

    assert found is not None
    assert found[0] == other
    assert answer.find_alias(other) is None
    assert [found.value for found in answer.find_records(other, RecordType.A)] == [
        IPv4Address("192.0.2.1")
    ]
    assert [found.value for found in answer.find_records(other, RecordType.AAAA)] == [
        IPv6Address("2001:db8::1")
    ]
    assert [found.value for found in answer.find_records(other, RecordType.TXT)] == [b"onetwo"]
    assert [found.value for found in answer.find_records(NAME, RecordType.A)] == []


MALFORMED = {
    "a cut header of a record": answers(b"\0", b"\0\x01"),
    "fewer records than announced": answers(record(b"\0", 1, bytes(4)), count=2),
    "too many records": answers(*[record(b"\0", 1, bytes(4))] * (MAX_RECORDS + 1)),
    "cut data": answers(record(b"\0", 1, bytes(4))[:-1]),
    "a short address": answers(record(b"\0", 1, bytes(3))),
    "a long address": answers(record(b"\0", 28, bytes(17))),
    "a cut string": answers(record(b"\0", 16, b"\x05abc")),
    "a cut name": answers(b"\x05abc"),
    "a name that points to itself": answers(record(b"\xc0\x0c", 1, bytes(4))),
    "a name that points forward": answers(record(b"\xc0\x20", 1, bytes(4)), bytes(60)),
    "two names that point at each other": answers(
        record(b"\x01a\xc0\x1c", 1, bytes(2)), record(b"\x01b\xc0\x0c", 1, bytes(4))
    ),
    "a label of an unknown type": answers(record(b"\x40a\0", 1, bytes(4))),
    "a name of 256 octets": answers(record(b"\x3f" + b"x" * 63 + b"\x01a" * 96 + b"\0", 1, b"")),
    "a CAA record of one octet": answers(record(b"\0", 257, b"\0")),
    "a CAA record without a tag": answers(record(b"\0", 257, b"\0\0value")),
    "a CAA record with a cut tag": answers(record(b"\0", 257, b"\0\x06issue")),
    "an alias with more behind it": answers(record(b"\0", 5, b"\x01a\0b")),
}


@pytest.mark.parametrize("wire", MALFORMED.values(), ids=MALFORMED)
def test_damage_is_malformed(wire: bytes) -> None:
    with pytest.raises(MessageMalformed):
        parse_answer(wire)


@pytest.mark.parametrize(
    ("ttl", "expected"), [(0, 0), (2**31 - 1, 2**31 - 1), (2**31, 0), (2**32 - 1, 0)]
)
def test_a_time_to_live_with_its_first_bit_is_zero(ttl: int, expected: int) -> None:
    whole = record(b"\0", 16, b"\x01x")
    aged = whole[:5] + struct.pack("!I", ttl) + whole[9:]

    (found,) = parse_answer(answers(aged)).records

    assert found.ttl == expected


@pytest.mark.parametrize(("flags", "is_authentic"), [(0x8180, False), (0x81A0, True)])
def test_an_answer_says_whether_it_is_authentic(flags: int, is_authentic: bool) -> None:
    wire = HEADER.pack(1, flags, 0, 0, 0, 0)

    assert parse_answer(wire).is_authentic is is_authentic


def failure(*additional: bytes, count: int | None = None) -> bytes:
    number = len(additional) if count is None else count
    return HEADER.pack(1, 0x8182, 0, 0, 0, number) + b"".join(additional)


REASONS: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "none": (failure(), ()),
    "no options": (failure(record(b"\0", 41, b"")), ()),
    "one": (failure(record(b"\0", 41, b"\0\x0f\0\x02\0\x06")), (6,)),
    "with a text": (failure(record(b"\0", 41, b"\0\x0f\0\x05\0\x07why")), (7,)),
    "two": (failure(record(b"\0", 41, b"\0\x0f\0\x02\0\x06" * 2)), (6, 6)),
    "another option": (failure(record(b"\0", 41, b"\0\x03\0\x02\0\x06")), ()),
    "a short one": (failure(record(b"\0", 41, b"\0\x0f\0\x01\x06")), ()),
    "a cut option": (failure(record(b"\0", 41, b"\0\x0f\0")), ()),
    "fewer records than announced": (failure(count=9), ()),
    "a name without an end": (failure(b"\xc0\x0c", count=1), ()),
}


@pytest.mark.parametrize(("wire", "reasons"), REASONS.values(), ids=REASONS)
def test_reasons_of_a_failure_are_read_or_not_there(wire: bytes, reasons: tuple[int, ...]) -> None:
    assert parse_answer(wire).reasons == reasons


def test_reasons_are_looked_for_among_few_records() -> None:
    many = [record(b"\0", 65280, b"")] * MAX_RECORDS

    answer = parse_answer(failure(*many, record(b"\0", 41, b"\0\x0f\0\x02\0\x06")))

    assert answer.reasons == ()


def test_records_of_other_types_and_classes_are_passed_over() -> None:
    chaos = record(b"\0", 16, b"\x03abc", record_class=3)
    unknown = record(b"\0", 65280, b"\xc0\xff")

    answer = parse_answer(answers(chaos, unknown, record(b"\0", 16, b"\x01x")))

    assert [found.value for found in answer.records] == [b"x"]


def _pointer_chain(length: int) -> bytes:
    """A record of no interest with pointers to pointers in it, and a name at their end."""
    start = HEADER.size + 1 + 10
    chain = b"\x01a\0\0" + b"".join(
        struct.pack("!H", 0xC000 | start + (0 if not step else 2 * step + 2))
        for step in range(length - 1)
    )
    last = struct.pack("!H", 0xC000 | start + len(chain) - 2)
    return answers(record(b"\0", 65280, chain), record(last, 16, b"\x01x"))


@pytest.mark.parametrize("length", [32, 33])
def test_few_pointers_are_enough_for_a_name(length: int) -> None:
    if length == 32:
        assert parse_answer(_pointer_chain(length)).records[0].owner == (b"a",)
    else:
        with pytest.raises(MessageMalformed):
            parse_answer(_pointer_chain(length))


def quoted(octets: bytes) -> str:
    """Octets as a string of a zone file."""
    return '"' + "".join(f"\\{octet:03d}" for octet in octets) + '"'


_LABELS = st.sampled_from(["a", "B", "example", "test", "x" * 63])
_OWNERS = st.lists(_LABELS, min_size=1, max_size=3).map(lambda labels: ".".join(labels) + ".")
_LINES = st.builds(
    lambda owner, data: f"{owner} {data}",
    _OWNERS,
    st.one_of(
        st.ip_addresses(v=4).map(lambda address: f"A {address}"),
        st.ip_addresses(v=6).map(lambda address: f"AAAA {address}"),
        _OWNERS.map(lambda target: f"CNAME {target}"),
        _OWNERS.map(lambda target: f"MX 10 {target}"),
        st.lists(st.binary(max_size=20), min_size=1, max_size=3).map(
            lambda strings: "TXT " + " ".join(map(quoted, strings))
        ),
        st.builds(
            lambda flags, tag, value: f"CAA {flags} {tag} {quoted(value)}",
            st.integers(0, 255),
            st.sampled_from(["issue", "IssueWild", "x1"]),
            st.binary(max_size=40),
        ),
    ),
)


def as_dnspython_reads(wire: bytes) -> set[tuple[Name, str, Value]]:
    found: set[tuple[Name, str, Value]] = set()
    for rrset in dns.message.from_wire(wire, one_rr_per_rrset=True).answer:
        owner = tuple(label.lower() for label in rrset.name.labels[:-1])
        for rdata in rrset:
            value: Value
            if rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
                kind = IPv4Address if rrset.rdtype == dns.rdatatype.A else IPv6Address
                value = kind(rdata.address)
            elif rrset.rdtype == dns.rdatatype.TXT:
                value = b"".join(rdata.strings)
            elif rrset.rdtype == dns.rdatatype.CAA:
                value = CaaRecord(rdata.flags, rdata.tag.decode().lower(), rdata.value)
            elif rrset.rdtype == dns.rdatatype.CNAME:
                value = tuple(label.lower() for label in rdata.target.labels[:-1])
            else:
                continue
            found.add((owner, rrset.rdtype.name, value))
    return found


@given(st.lists(_LINES, max_size=8))
def test_answers_are_read_as_dnspython_reads_them(lines: list[str]) -> None:
    wire = answer_to(ask(), *lines)

    read = {(record.owner, record.type.name, record.value) for record in parse_answer(wire).records}

    assert read == as_dnspython_reads(wire)


_EDITS = st.lists(st.tuples(st.integers(2, 200), st.integers(0, 255)), max_size=6)


@given(st.lists(_LINES, min_size=1, max_size=4), _EDITS, st.integers(12, 300))
def test_a_damaged_answer_is_read_or_malformed(
    lines: list[str], edits: list[tuple[int, int]], cut: int
) -> None:
    octets = bytearray(answer_to(ask(), *lines))
    for position, value in edits:
        if position < len(octets):
            octets[position] = value
    try:
        answer = parse_answer(bytes(octets[:cut]))
    except MessageMalformed:
        return

    assert isinstance(answer, Answer)


@given(st.integers(0, 4), st.binary(max_size=300))
@example(0, b"")
def test_any_octets_behind_a_right_header_are_read_or_malformed(count: int, octets: bytes) -> None:
    header = answer_to(ask())[:4] + bytes([0, 0, 0, count, 0, 0, 0, 0])
    try:
        answer = parse_answer(header + octets)
    except MessageMalformed:
        return

    assert len(answer.records) <= count


LONG_NAME = b"\x01a" * 126 + b"\0"
EXPENSIVE = {
    "long names": answers(*[record(LONG_NAME, 1, bytes(4))] * 230),
    "pointers to a long name": answers(
        record(LONG_NAME, 1, bytes(4)), *[record(b"\xc0\x0c", 5, b"\xc0\x0c")] * 255
    ),
    "other types with long names": answers(
        *[record(LONG_NAME, 15, b"\0\x01" + LONG_NAME)] * 100,
        *[record(b"\xc0\x0c", 15, b"\0\x01\xc0\x0c")] * 156,
    ),
    "empty strings": answers(record(b"\0", 16, bytes(60_000))),
}


def steps(function: Callable[[], object]) -> int:
    """How many calls, of Python and C functions, ``function`` makes."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("wire", EXPENSIVE.values(), ids=EXPENSIVE)
def test_the_work_for_an_answer_is_bounded(wire: bytes) -> None:
    """Counted, since times depend on the machine; a general parser needs millions of steps."""
    assert len(wire) < 65536

    assert steps(lambda: parse_answer(wire)) < 200_000
