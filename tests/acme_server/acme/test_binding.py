"""The parser of external account bindings: a proof or ``malformed``, whatever comes."""

from __future__ import annotations

import base64
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_server.acme.binding import parse_binding, render_binding
from acme_server.acme.jwk import parse_jwk
from policy.model.errors import ErrorKind, ServerError
from support.jose import ClientKey, b64, b64_json, mac

URL = "https://acme.example/acme/new-account"
SECRET = b"s" * 64
KEY = ClientKey.generate()
ACCOUNT_KEY = parse_jwk(KEY.jwk)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
PARTS = ("protected", "payload", "signature")


def a_binding(**changes: Any) -> dict[str, Any]:
    """A right binding, or one whose header is changed."""
    return mac(SECRET, {"kid": "key-1", "url": URL, **changes}, KEY.jwk)


def refused(value: object) -> bool:
    """Whether the parser refuses, which it may do in one way only."""
    try:
        proof = parse_binding(value, ACCOUNT_KEY, URL)
    except ServerError as refusal:
        error = refusal
    else:
        assert render_binding(proof.text) == value
        return False
    assert error.kind is ErrorKind.MALFORMED
    assert error.detail.startswith('"externalAccountBinding"')
    return True


def test_proof_is_what_was_signed() -> None:
    binding = a_binding()

    proof = parse_binding(binding, ACCOUNT_KEY, URL)

    assert (proof.key_id, proof.digest) == ("key-1", "sha256")
    assert proof.code == hmac.digest(SECRET, proof.message, "sha256")
    assert proof.message.decode() == f"{binding['protected']}.{binding['payload']}"
    assert render_binding(proof.text) == binding


@given(JSON)
def test_any_value_is_refused(value: object) -> None:
    assert refused(value)


@given(st.sampled_from(PARTS), JSON)
def test_binding_with_any_value_for_a_part_is_refused(part: str, value: object) -> None:
    assert refused(a_binding() | {part: value})


@given(st.sampled_from(["alg", "kid", "url", "nonce", "jwk", "crit", "b64", "x5u"]), JSON)
def test_binding_with_any_value_in_its_header_is_a_proof_or_refused(
    name: str, value: object
) -> None:
    is_right = (name == "kid" and isinstance(value, str)) or (name == "url" and value == URL)

    assert refused(a_binding(**{name: value})) or is_right


@given(st.sampled_from(PARTS), st.integers(0, 10_000), st.integers(1, 255))
def test_changed_octet_never_gives_the_same_proof(part: str, place: int, flip: int) -> None:
    binding = a_binding()
    octets = bytearray(base64.urlsafe_b64decode(binding[part] + "=="))
    octets[place % len(octets)] ^= flip
    changed = binding | {part: b64(bytes(octets))}

    if not refused(changed):
        proof = parse_binding(changed, ACCOUNT_KEY, URL)
        digest = hmac.digest(SECRET, proof.message, proof.digest)
        assert not hmac.compare_digest(digest, proof.code)


@pytest.mark.parametrize("part", PARTS)
def test_binding_without_a_part_is_refused(part: str) -> None:
    binding = a_binding()
    del binding[part]

    assert refused(binding)


def test_same_key_in_other_words_is_the_same_key() -> None:
    other_words = dict(reversed(KEY.jwk.items())) | {"use": "sig", "kid": "x", "extra": [1]}

    assert not refused(mac(SECRET, {"kid": "key-1", "url": URL}, other_words))


def test_repeated_members_of_the_header_are_refused() -> None:
    protected = b64(b'{"alg":"HS256","kid":"a","kid":"b","url":"' + URL.encode() + b'"}')
    payload = b64_json(KEY.jwk)
    code = hmac.digest(SECRET, f"{protected}.{payload}".encode(), "sha256")

    assert refused({"protected": protected, "payload": payload, "signature": b64(code)})
