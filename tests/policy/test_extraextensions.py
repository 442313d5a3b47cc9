"""Extensions that profiles add: only those that the server doesn't build, and only DER."""

from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from policy.extraextensions import MAX_VALUE_BYTES, ExtraExtension, check_oid
from policy.signing import der

NULL = b"\x05\x00"
OWN = "1.3.6.1.4.1.99999.1"


@pytest.mark.parametrize(
    "value",
    [
        NULL,
        der.sequence(),
        der.sequence(NULL, der.sequence(der.integer(b"\x01"))),
        der.tlv(0x0C, b"text"),
        der.tlv(0x04, bytes(MAX_VALUE_BYTES - 4)),
    ],
)
def test_extension_with_a_der_value_is_taken(value: bytes) -> None:
    assert ExtraExtension(OWN, value).value == value


@pytest.mark.parametrize(
    "oid",
    [
        "2.5.29.14",
        "2.5.29.15",
        "2.5.29.17",
        "2.5.29.19",
        "2.5.29.30",
        "2.5.29.31",
        "2.5.29.32",
        "2.5.29.35",
        "2.5.29.36",
        "2.5.29.37",
        "2.5.29.99",
        "1.3.6.1.5.5.7.1.1",
        "1.3.6.1.5.5.7.1.24",
        "1.3.6.1.5.5.7.1.31",
        "1.3.6.1.5.5.7.48.1.5",
        "1.3.6.1.4.1.11129.2.4.2",
        "1.3.6.1.4.1.11129.2.4.3",
        "2.16.840.1.113730.1.1",
    ],
)
def test_extension_that_the_server_builds_or_that_gives_powers_is_refused(oid: str) -> None:
    with pytest.raises(ValueError, match="not for profiles to add"):
        ExtraExtension(oid, NULL)


@pytest.mark.parametrize(
    "value",
    [
        b"\x05",
        b"\x05\x01",
        NULL + NULL,
        b"\x30\x80\x00\x00",
        b"\x04\x81\x01\x00",
        b"\x1f\x81\x01\x00",
        der.sequence(b"\x02\x05\x01"),
        b"\x00\x00",
        b"\x01\x01\x01",
        b"\x02\x00",
        b"\x02\x02\x00\x01",
        b"\x02\x02\xff\x80",
        b"\x05\x01\x00",
        b"\x06\x01\x80",
        b"\x0c\x01\xff",
        b"\x10\x00",
        b"\x24\x02\x04\x00",
        der.sequence(b"\x01\x01\x01"),
    ],
)
def test_value_that_is_no_der_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="is not DER"):
        ExtraExtension(OWN, value)


@pytest.mark.parametrize("value", [b"", der.tlv(0x04, bytes(MAX_VALUE_BYTES - 3))])
def test_value_without_octets_or_with_too_many_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="has 1 to 4096 bytes"):
        ExtraExtension(OWN, value)


def test_deep_value_is_refused() -> None:
    def nested(depth: int) -> bytes:
        return der.sequence(nested(depth - 1)) if depth else NULL

    assert ExtraExtension(OWN, nested(15))
    with pytest.raises(ValueError, match="nested deeper"):
        ExtraExtension(OWN, nested(17))


@pytest.mark.parametrize(
    "text", ["", "1", "3.1", "1.40", "0.40.1", "1.03", "1.3.", ".1.3", "1.3.6 ", "1..3", "a.b"]
)
def test_text_that_is_no_oid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no object identifier|above 39"):
        check_oid(text)
    with pytest.raises(ValueError, match=r"no object identifier|above 39"):
        ExtraExtension(text, NULL)


@pytest.mark.parametrize("text", [f"2.25.{2**128 - 1}", f"2.{2**128 - 81}", f"1.3.{2**128 - 1}.1"])
def test_numbers_of_oids_have_up_to_128_bits(text: str) -> None:
    check_oid(text)

    assert x509.ObjectIdentifier(text).dotted_string == text


@pytest.mark.parametrize("text", [f"2.25.{2**128}", f"2.{2**128 - 80}", f"1.3.{2**128}.1"])
def test_larger_numbers_of_oids_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="more than 128 bits"):
        check_oid(text)


_SIMPLE = st.one_of(
    st.binary(max_size=20).map(lambda octets: der.tlv(0x04, octets)),
    st.text(max_size=10).map(lambda text: der.tlv(0x0C, text.encode())),
    st.integers(min_value=0, max_value=2**64).map(
        lambda number: der.integer(number.to_bytes((number.bit_length() + 7) // 8 or 1))
    ),
    st.sampled_from([NULL, b"\x01\x01\x00", b"\x01\x01\xff", b"\x02\x01\x80", b"\x80\x01\x07"]),
)
_VALUES = st.recursive(
    _SIMPLE,
    lambda inner: st.lists(inner, max_size=4).map(lambda parts: der.sequence(*parts)),
    max_leaves=8,
)


@given(_VALUES)
def test_every_value_in_der_is_taken(value: bytes) -> None:
    assert ExtraExtension(OWN, value).value == value


@given(_VALUES, st.data())
def test_a_value_that_is_cut_or_has_more_after_it_is_none(
    value: bytes, data: st.DataObject
) -> None:
    cut = value[: data.draw(st.integers(1, len(value) - 1))]

    for damaged in (cut, value + b"\x00", value + value):
        with pytest.raises(ValueError, match="is not DER"):
            ExtraExtension(OWN, damaged)
