"""CAA records and issue values by their grammar, down to single octets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.caarecords import CaaRecord, IssueValue, parse_caa, parse_issue_value

VALUES: dict[bytes, IssueValue] = {
    b"": IssueValue(""),
    b" \t ": IssueValue(""),
    b";": IssueValue(""),
    b" ; ": IssueValue(""),
    b"ca.example": IssueValue("ca.example"),
    b"CA.Example": IssueValue("ca.example"),
    b"\t ca.example \t": IssueValue("ca.example"),
    b"ca.example;": IssueValue("ca.example"),
    b"ca.example ; \t": IssueValue("ca.example"),
    b"localhost": IssueValue("localhost"),
    b"a--b.1-2.xn--p1ai": IssueValue("a--b.1-2.xn--p1ai"),
    b"ca.example; a=b": IssueValue("ca.example", (("a", "b"),)),
    b"ca.example;a=b;c=d": IssueValue("ca.example", (("a", "b"), ("c", "d"))),
    b"ca.example ;\ta \t= b ; c=d ": IssueValue("ca.example", (("a", "b"), ("c", "d"))),
    b"ca.example; a=": IssueValue("ca.example", (("a", ""),)),
    b"ca.example; a==b=c": IssueValue("ca.example", (("a", "=b=c"),)),
    b"ca.example; Account-URI=X": IssueValue("ca.example", (("account-uri", "X"),)),
    b"; a=b": IssueValue("", (("a", "b"),)),
    b"ca.example; a=1; a=2": IssueValue("ca.example", (("a", "1"), ("a", "2"))),
}


@pytest.mark.parametrize(("value", "expected"), VALUES.items())
def test_values_by_the_grammar_are_read(value: bytes, expected: IssueValue) -> None:
    assert parse_issue_value(value) == expected


MALFORMED = [
    b"%%%%%",
    b"ca_1.example",
    b"ca.example.",
    b".ca.example",
    b"ca..example",
    b"-ca.example",
    b"ca-.example",
    b"*.ca.example",
    b"ca .example",
    b"ca.example ca.example",
    b"ca.example\n",
    b"ca.example\x00",
    b"\xc3\xa9.example",
    b"ca.example; a",
    b"ca.example; =b",
    b"ca.example; a b=c",
    b"ca.example; a_b=c",
    b"ca.example; -a=b",
    b"ca.example; a=b c",
    b"ca.example; a=b;",
    b"ca.example;; a=b",
    b"ca.example; ;",
    b"ca.example; a=\xe9",
    b"ca.example; a=b\n",
    b"ca.example; a=b\x7f",
    b"ca.example, a=b",
]


@pytest.mark.parametrize("value", MALFORMED)
def test_what_the_grammar_does_not_have_is_malformed(value: bytes) -> None:
    assert parse_issue_value(value) is None


@given(st.binary(max_size=300))
def test_any_octets_are_read_or_malformed(value: bytes) -> None:
    read = parse_issue_value(value)

    assert read is None or read.issuer == read.issuer.lower().strip()


def test_a_long_value_is_read_in_one_pass() -> None:
    long = b"a-" * 30_000

    assert parse_issue_value(long) is None
    assert parse_issue_value(long + b"a") == IssueValue((long + b"a").decode())


def test_a_record_is_read_with_its_tag_in_lower_case() -> None:
    assert parse_caa(b"\x80\x05IsSuEca.example") == CaaRecord(128, "issue", b"ca.example")
    assert parse_caa(b"\x00\x05issue") == CaaRecord(0, "issue", b"")


@pytest.mark.parametrize("rdata", [b"", b"\x00", b"\x00\x00", b"\x00\x00issue", b"\x00\x06issue"])
def test_a_record_without_a_whole_tag_is_refused(rdata: bytes) -> None:
    with pytest.raises(ValueError, match="cut off"):
        parse_caa(rdata)


@pytest.mark.parametrize(
    ("flags", "is_critical"), [(0, False), (128, True), (1, True), (129, True), (0x7E, False)]
)
def test_either_end_of_the_flags_makes_a_record_critical(flags: int, is_critical: bool) -> None:
    assert CaaRecord(flags, "x", b"").is_critical is is_critical


def test_a_record_is_shown_as_in_a_zone_and_escaped() -> None:
    assert str(CaaRecord(0, "issue", b"ca.example; a=b")) == '0 issue "ca.example; a=b"'
    assert str(CaaRecord(128, "t\x1b", b"\x00\xff")) == r'128 t\x1b "\x00\xff"'
    assert len(str(CaaRecord(0, "t" * 255, b"v" * 60_000))) < 300
