"""Foreign text made safe."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.excerpts import excerpt


@pytest.mark.parametrize(
    ("foreign", "expected"),
    [
        ("plain text", "plain text"),
        (b"plain text", "plain text"),
        ("a\r\nb", r"a\x0d\x0ab"),
        ("\x1b[2J", r"\x1b[2J"),
        (b"\xff\x00", r"\xff\x00"),
        ("back\\slash", r"back\\slash"),
        ("bücher", r"b\u00fccher"),
        ("bücher".encode(), r"b\u00fccher"),
        ("\U0001f600", r"\U0001f600"),
        ("\u202e", r"\u202e"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 97 + "..."),
        (b"\n" * 100_000, (r"\x0a" * 25)[:97] + "..."),
    ],
)
def test_excerpts(foreign: str | bytes, expected: str) -> None:
    assert excerpt(foreign) == expected


@given(st.text() | st.binary(), st.integers(10, 300))
def test_an_excerpt_is_short_printable_ascii(foreign: str | bytes, limit: int) -> None:
    text = excerpt(foreign, limit)

    assert len(text) <= limit
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(json.dumps(text)) == text


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_different_inputs_have_different_excerpts(one: bytes, other: bytes) -> None:
    assert (excerpt(one, 1000) == excerpt(other, 1000)) is (one == other)
