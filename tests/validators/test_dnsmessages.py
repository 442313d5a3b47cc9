"""Queries on the wire, and answers that are anything."""

from __future__ import annotations

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.dnsmessages import (
    Answer,
    Match,
    MessageMalformed,
    Query,
    make_query,
    match,
    parse_answer,
)

NAME = dns.name.from_text("www.example.test.")
TXT = dns.rdatatype.TXT


def ask(*, randomize_case: bool = False) -> Query:
    return make_query(NAME, TXT, randomize_case=randomize_case)


def answer_to(query: Query, *texts: str) -> bytes:
    message = dns.message.make_response(dns.message.from_wire(query.wire))
    if texts:
        message.answer.append(dns.rrset.from_text(NAME, 60, "IN", "TXT", *texts))
    return message.to_wire()


def test_a_query_is_read_as_what_it_asks() -> None:
    message = dns.message.from_wire(ask(randomize_case=True).wire)

    assert [(q.name, q.rdtype) for q in message.question] == [(NAME, TXT)]
    assert message.flags == dns.flags.RD
    assert (message.edns, message.payload) == (0, 1232)


@pytest.mark.parametrize("randomize_case", [True, False])
def test_the_answer_matches_its_query_only(randomize_case: bool) -> None:
    query, other = (ask(randomize_case=randomize_case) for _ in range(2))

    assert match(query, answer_to(query)) is Match.OURS
    assert match(Query(query.id ^ 1, query.question, b""), answer_to(query)) is Match.FOREIGN
    assert match(query, query.wire) is Match.FOREIGN
    if other.question != query.question:
        changed = Query(query.id, other.question, b"")
        assert match(changed, answer_to(query)) is Match.CASE_LOST


def test_owners_and_types_are_compared() -> None:
    query = ask()
    answer = parse_answer(answer_to(query, "one", "two"))

    found = answer.find_records(dns.name.from_text("WWW.example.TEST."), TXT)

    assert found is not None
    assert {record.to_text() for record in found} == {'"one"', '"two"'}
    assert answer.find_records(dns.name.from_text("example.test."), TXT) is None
    assert answer.find_records(NAME, dns.rdatatype.A) is None
    assert answer.find_alias(NAME) is None


_EDITS = st.lists(st.tuples(st.integers(2, 120), st.integers(0, 255)), max_size=6)


@given(_EDITS, st.integers(12, 200), st.binary(max_size=30))
def test_a_damaged_answer_is_read_or_malformed(
    edits: list[tuple[int, int]], cut: int, tail: bytes
) -> None:
    octets = bytearray(answer_to(ask(), "one", "x" * 60))
    for position, value in edits:
        if position < len(octets):
            octets[position] = value
    try:
        answer = parse_answer(bytes(octets[:cut]) + tail)
    except MessageMalformed:
        return

    assert isinstance(answer, Answer)


_TYPES = st.sampled_from(
    [1, 2, 5, 6, 12, 15, 16, 24, 28, 33, 41, 43, 46, 47, 48, 50, 64, 249, 250, 257]
)


@given(_TYPES, st.binary(max_size=60), st.integers(0, 80))
def test_a_record_with_any_content_is_read_or_malformed(
    record_type: int, content: bytes, length: int
) -> None:
    header = b"\x00\x00\x81\x80\x00\x00\x00\x01\x00\x00\x00\x00"
    record = b"\x00" + record_type.to_bytes(2) + b"\x00\x01" + bytes(4) + length.to_bytes(2)
    try:
        answer = parse_answer(header + record + content)
    except MessageMalformed:
        return

    assert isinstance(answer, Answer)
