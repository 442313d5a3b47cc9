"""The strict DER reader, against the writer and against what is no DER."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import der as reader
from policy.signing import der as writer


@given(tag=st.integers(1, 255).filter(lambda tag: tag & 0x1F != 0x1F), content=st.binary())
def test_what_is_written_is_read(tag: int, content: bytes) -> None:
    assert list(reader.values(writer.tlv(tag, content))) == [(tag, content)]
    assert reader.whole(writer.tlv(tag, content), tag) == content


@pytest.mark.parametrize("length", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_length_has_its_shortest_form(length: int) -> None:
    encoded = writer.tlv(0x04, bytes(length))

    assert reader.whole(encoded, 0x04) == bytes(length)
    assert len(encoded) - length == 2 + (length > 127) + (length > 255) + (length > 65535)


@pytest.mark.parametrize(
    "octets",
    [
        b"\x30",
        b"\x30\x01",
        b"\x30\x80\x00\x00",
        b"\x30\x81",
        b"\x30\x81\x01\x00",
        b"\x30\x81\x7f" + bytes(127),
        b"\x30\x82\x00\x80" + bytes(128),
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x85\x00\x00\x00\x00\x01\x00",
        b"\x30\xff",
        b"\x1f\x01\x00",
        b"\x3f\x81\x00\x00",
    ],
)
def test_other_encoding_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"data|length|tag"):
        reader.read(octets, 0)


def test_value_must_be_alone_and_of_its_tag() -> None:
    for octets in (b"\x30\x00\x00", b"\x31\x00", b""):
        with pytest.raises(ValueError, match=r"tag|data"):
            reader.whole(octets, 0x30)


@pytest.mark.parametrize(
    ("content", "number"), [(b"\x01", 1), (b"\x7f", 127), (b"\x00\x80", 128), (b"\x01\x00", 256)]
)
def test_positive_integer_is_read(content: bytes, number: int) -> None:
    assert reader.positive_integer(content) == number
    assert writer.integer(number.to_bytes(2)) == writer.tlv(0x02, content)


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x80", b"\xff", b"\x00\x01", b"\x00\x00\x80"])
def test_other_integer_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="integer"):
        reader.positive_integer(content)


@given(
    arcs=st.tuples(st.integers(0, 1), st.integers(0, 39))
    | st.tuples(st.just(2), st.integers(0, 2**40)),
    rest=st.lists(st.integers(0, 2**40), max_size=5),
)
def test_object_identifier_is_read_as_written(arcs: tuple[int, int], rest: list[int]) -> None:
    dotted = ".".join(map(str, (*arcs, *rest)))

    assert reader.dotted(reader.whole(writer.object_identifier(dotted), 0x06)) == dotted


def test_object_identifier_may_be_long() -> None:
    assert reader.dotted(b"\x2a" + b"\x01" * 63) == "1.2" + ".1" * 63


@pytest.mark.parametrize("content", [b"", b"\x80", b"\x2a\x83", b"\x2a" * 65])
def test_other_object_identifier_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="object identifier"):
        reader.dotted(content)


@pytest.mark.parametrize(
    ("moment", "encoded"),
    [
        (datetime(1950, 1, 1, tzinfo=UTC), b"\x17\x0d500101000000Z"),
        (datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), b"\x17\x0d491231235959Z"),
        (datetime(2050, 1, 1, tzinfo=UTC), b"\x18\x0f20500101000000Z"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), b"\x18\x0f99991231235959Z"),
    ],
)
def test_time_is_written_in_the_form_of_its_year(moment: datetime, encoded: bytes) -> None:
    assert writer.time(moment) == encoded


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 1, microsecond=1, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None),
    ],
)
def test_time_that_is_not_whole_seconds_of_utc_is_refused(moment: datetime) -> None:
    with pytest.raises(ValueError, match="whole seconds of UTC"):
        writer.time(moment)
