"""JSON with one meaning."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_server.web.strictjson import MAX_DEPTH, parse_object
from policy.model.errors import ErrorKind, ServerError

REFUSED = {
    "empty": b"",
    "array": b"[]",
    "text": b'"a"',
    "null": b"null",
    "repeated": b'{"a":1,"a":1}',
    "repeated-by-escape": b'{"a":1,"\\u0061":2}',
    "repeated-inside": b'{"x":[{"a":1,"a":2}]}',
    "nan": b'{"a":NaN}',
    "infinity": b'{"a":Infinity}',
    "minus-infinity": b'{"a":-Infinity}',
    "overflowing-float": b'{"a":1e999}',
    "long-float": b'{"a":0.' + b"1" * 100 + b"}",
    "long-integer": b'{"a":' + b"1" * 21 + b"}",
    "hex": b'{"a":0x10}',
    "leading-zero": b'{"a":01}',
    "trailing-comma": b'{"a":1,}',
    "comment": b'{"a":1/*c*/}',
    "raw-newline": b'{"a":"x\ny"}',
    "raw-nul": b'{"a":"x\x00y"}',
    "bom": b"\xef\xbb\xbf{}",
    "utf-16": '{"a":1}'.encode("utf-16-le"),
    "latin-1": b'{"a":"\xe9"}',
    "encoded-surrogate": b'{"a":"\xed\xa0\x80"}',
    "overlong": b'{"a":"\xc0\x80"}',
    "escaped-nul": b'{"a":"\\u0000"}',
    "escaped-newline": b'{"a":"x\\ny"}',
    "escaped-tab-in-name": b'{"a\\t":1}',
    "delete": b'{"a":"\x7f"}',
    "c1-control": '{"a":"\x85"}'.encode(),
    "lone-high-surrogate": b'{"a":"\\ud83d"}',
    "lone-low-surrogate": b'{"a":["x",{"b":"\\ude00"}]}',
    "too-deep": b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
    "far-too-deep": b'{"a":' * 100_000,
    "too-many-members": b"{" + b",".join(b'"%d":1' % n for n in range(65)) + b"}",
    "too-many-objects": b'{"a":[' + b"{}" * 6000 + b"]}",
    "too-many-elements": b'{"a":[' + b"1," * 6000 + b"1]}",
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_what_could_be_read_in_two_ways_is_refused(raw: bytes) -> None:
    with pytest.raises(ServerError) as refused:
        parse_object(raw, "The payload")

    assert refused.value.kind is ErrorKind.MALFORMED
    assert refused.value.detail.startswith("The payload ")


ACCEPTED: dict[bytes, dict[str, Any]] = {
    b"{}": {},
    b' \n{"a" : [1, -2.5, true, null]}\r\n ': {"a": [1, -2.5, True, None]},
    b'{"a":"\\ud83d\\ude00 \\/ \\" \\u00e9"}': {"a": '\U0001f600 / " é'},
    '{"ä":"bücher"}'.encode(): {"ä": "bücher"},
    b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}": {},
    b'{"a":"' + b"[" * 20 + b"{" * 11 + b'"}': {"a": "[" * 20 + "{" * 11},
    b'{"a":18446744073709551615}': {"a": 18446744073709551615},
}


@pytest.mark.parametrize(("raw", "document"), ACCEPTED.items(), ids=range(len(ACCEPTED)))
def test_plain_json_is_read(raw: bytes, document: dict[str, Any]) -> None:
    parsed = parse_object(raw, "The payload")

    assert document in ({}, parsed)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text('aé\u4e00😀 /\\"[{'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text("abc", min_size=1), _VALUES, max_size=4), st.booleans())
def test_what_others_write_is_read_back(document: dict[str, Any], is_ascii: bool) -> None:
    raw = json.dumps(document, ensure_ascii=is_ascii).encode()

    assert parse_object(raw, "The payload") == document
