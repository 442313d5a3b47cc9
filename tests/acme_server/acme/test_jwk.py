"""Public keys from strangers."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import josepy
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from acme_server.acme import base64url
from acme_server.acme.jwk import parse_jwk
from policy.model.errors import ErrorKind, ServerError
from support.jose import ALGORITHMS, ClientKey, b64, b64_int

KEYS = {algorithm: ClientKey.generate(algorithm) for algorithm in ALGORITHMS}
P256, RSA = KEYS["ES256"].jwk, KEYS["RS256"].jwk


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_each_type_is_read_and_verifies(key: ClientKey) -> None:
    jwk = parse_jwk(key.jwk, algorithm=key.algorithm)

    assert jwk.algorithm == key.algorithm
    assert b64(jwk.thumbprint) == key.thumbprint
    assert json.loads(jwk.canonical) == key.jwk
    assert jwk.verifies(key.signature(b"text"), b"text")
    assert not jwk.verifies(key.signature(b"text"), b"next")


@pytest.mark.parametrize("key", [KEYS["ES256"], KEYS["RS256"]], ids=["EC", "RSA"])
def test_the_thumbprint_is_the_one_josepy_makes(key: ClientKey) -> None:
    assert parse_jwk(key.jwk).thumbprint == josepy.JWK.from_json(key.jwk).thumbprint()


def test_the_thumbprint_of_rfc_7638() -> None:
    jwk = {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSo"
        "c_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_"
        "FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4v"
        "MQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    }

    assert b64(parse_jwk(jwk).thumbprint) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_unknown_members_change_nothing() -> None:
    named = parse_jwk({"x5u": "http://169.254.169.254/", "kid": "me", **P256})

    assert named.canonical == parse_jwk(P256).canonical


REFUSED: dict[str, tuple[object, ErrorKind]] = {
    "no-object": ([P256], ErrorKind.MALFORMED),
    "null": (None, ErrorKind.MALFORMED),
    "no-type": ({**P256, "kty": None}, ErrorKind.MALFORMED),
    "symmetric": ({"kty": "oct", "k": "AAAA"}, ErrorKind.BAD_PUBLIC_KEY),
    "symmetric-without-key": ({"kty": "oct"}, ErrorKind.BAD_PUBLIC_KEY),
    "curve-unknown": ({**P256, "crv": "secp256k1"}, ErrorKind.BAD_PUBLIC_KEY),
    "curve-of-another-type": ({**P256, "crv": "Ed25519"}, ErrorKind.BAD_PUBLIC_KEY),
    "curve-of-another-size": ({**P256, "crv": "P-384"}, ErrorKind.BAD_PUBLIC_KEY),
    "coordinate-of-31-bytes": ({**P256, "x": b64(bytes(31))}, ErrorKind.BAD_PUBLIC_KEY),
    "coordinate-of-33-bytes": ({**P256, "x": b64(bytes(33))}, ErrorKind.BAD_PUBLIC_KEY),
    "coordinate-missing": ({"kty": "EC", "crv": "P-256", "x": P256["x"]}, ErrorKind.MALFORMED),
    "coordinate-padded": ({**P256, "x": P256["x"] + "="}, ErrorKind.MALFORMED),
    "coordinate-a-number": ({**P256, "x": 5}, ErrorKind.MALFORMED),
    "off-curve": ({**P256, "x": P256["y"], "y": P256["x"]}, ErrorKind.BAD_PUBLIC_KEY),
    "zero-point": ({**P256, "x": b64(bytes(32)), "y": b64(bytes(32))}, ErrorKind.BAD_PUBLIC_KEY),
    "coordinate-beyond-the-field": ({**P256, "x": b64(b"\xff" * 32)}, ErrorKind.BAD_PUBLIC_KEY),
    "ed448": ({"kty": "OKP", "crv": "Ed448", "x": b64(bytes(57))}, ErrorKind.BAD_PUBLIC_KEY),
    "x25519": ({"kty": "OKP", "crv": "X25519", "x": b64(bytes(32))}, ErrorKind.BAD_PUBLIC_KEY),
    "ed25519-short": ({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, ErrorKind.BAD_PUBLIC_KEY),
    "modulus-leading-zero": (
        {**RSA, "n": b64(b"\x00" + base64url.decode(RSA["n"]))},
        ErrorKind.MALFORMED,
    ),
    "exponent-leading-zero": ({**RSA, "e": b64(b"\x00\x01\x00\x01")}, ErrorKind.MALFORMED),
    "modulus-empty": ({**RSA, "n": ""}, ErrorKind.MALFORMED),
    "exponent-empty": ({**RSA, "e": ""}, ErrorKind.MALFORMED),
    "exponent-0": ({**RSA, "e": "AA"}, ErrorKind.MALFORMED),
    "exponent-1": ({**RSA, "e": b64_int(1)}, ErrorKind.BAD_PUBLIC_KEY),
    "exponent-2": ({**RSA, "e": b64_int(2)}, ErrorKind.BAD_PUBLIC_KEY),
    "exponent-even": ({**RSA, "e": b64_int(65_536)}, ErrorKind.BAD_PUBLIC_KEY),
    "exponent-of-65-bits": ({**RSA, "e": b64_int((1 << 64) + 1)}, ErrorKind.BAD_PUBLIC_KEY),
    "exponent-of-2048-bits": ({**RSA, "e": b64_int((1 << 2047) + 1)}, ErrorKind.BAD_PUBLIC_KEY),
    "modulus-of-1-bit": ({**RSA, "n": b64_int(1)}, ErrorKind.BAD_PUBLIC_KEY),
    "modulus-of-8192-bits": ({**RSA, "n": b64_int((1 << 8191) + 1)}, ErrorKind.BAD_PUBLIC_KEY),
    "modulus-of-16384-bits": ({**RSA, "n": b64_int((1 << 16383) + 1)}, ErrorKind.BAD_PUBLIC_KEY),
    "for-encryption": ({**P256, "use": "enc"}, ErrorKind.MALFORMED),
    "for-another-algorithm": ({**P256, "alg": "ES384"}, ErrorKind.MALFORMED),
    "for-rs384": ({**RSA, "alg": "RS384"}, ErrorKind.MALFORMED),
    "for-signing-only": ({**P256, "key_ops": ["sign"]}, ErrorKind.MALFORMED),
    "for-text": ({**P256, "key_ops": "verify"}, ErrorKind.MALFORMED),
}


@pytest.mark.parametrize(("members", "kind"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_key_of_ours_is_refused(members: object, kind: ErrorKind) -> None:
    with pytest.raises(ServerError) as refused:
        parse_jwk(members)

    assert refused.value.kind is kind


@pytest.mark.parametrize("name", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
@pytest.mark.parametrize("bits", [2048, 4096, 16384])
def test_private_members_are_refused_before_anything_is_computed(name: str, bits: int) -> None:
    """A library that is given a wrong ``d`` looks for the factors: seconds of computing."""
    modulus = b64_int((1 << bits - 1) + 1)
    begun = time.process_time()
    parse_jwk(RSA)
    parsed = time.process_time()
    with pytest.raises(ServerError) as refused:
        parse_jwk({**RSA, "n": modulus, name: modulus})
    ended = time.process_time()

    assert refused.value.kind is ErrorKind.BAD_PUBLIC_KEY
    assert "compromised" in refused.value.detail
    assert ended - parsed < 100 * (parsed - begun)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_each_key_goes_with_exactly_one_algorithm(key: ClientKey, algorithm: str) -> None:
    if algorithm == key.algorithm:
        assert parse_jwk(key.jwk, algorithm=algorithm).algorithm == algorithm
        return
    with pytest.raises(ServerError) as refused:
        parse_jwk(key.jwk, algorithm=algorithm)

    assert refused.value.kind is ErrorKind.BAD_PUBLIC_KEY


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
def test_only_the_fixed_length_form_of_an_ecdsa_signature_verifies(algorithm: str) -> None:
    key = KEYS[algorithm]
    jwk = parse_jwk(key.jwk)
    good = key.signature(b"text")
    half = len(good) // 2
    r, s = int.from_bytes(good[:half]), int.from_bytes(good[half:])
    wrong = [
        encode_dss_signature(r, s),
        bytes(len(good)),
        bytes(half) + good[half:],
        good[:half] + bytes(half),
        b"\xff" * len(good),
        b"\x00" + good,
        good + b"\x00",
        good[:-1],
        good[half:] + good[:half],
        b"",
    ]

    assert jwk.verifies(good, b"text")
    assert [jwk.verifies(signature, b"text") for signature in wrong] == [False] * len(wrong)


def test_an_rsa_signature_has_the_length_of_the_modulus() -> None:
    key = KEYS["RS256"]
    jwk = parse_jwk(key.jwk)
    good = key.signature(b"text")

    assert jwk.verifies(good, b"text")
    for wrong in (b"\x00" + good, good + b"\x00", good[1:], b"", bytes(256), b"\xff" * 256):
        assert not jwk.verifies(wrong, b"text")


def test_the_largest_rsa_key_is_read_quickly() -> None:
    key = rsa.generate_private_key(65_537, 4096)
    numbers = key.public_key().public_numbers()
    jwk = parse_jwk({"kty": "RSA", "n": b64_int(numbers.n), "e": "AQAB"})

    assert jwk.key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    ) == key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


_TEXT = st.text(alphabet="AQZaz09-_=\x00é\ud800", max_size=8)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT | st.just("EC"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)
_NAMES = ["kty", "crv", "x", "y", "n", "e", "alg", "use", "key_ops"]
_VALUES = st.sampled_from([*P256.values(), *RSA.values(), "OKP", "Ed25519", "P-521", ""])


@given(st.dictionaries(st.sampled_from(_NAMES), _JSON | _VALUES, max_size=9))
def test_anything_else_is_refused_in_our_words(members: dict[str, Any]) -> None:
    try:
        outcome = json.loads(parse_jwk(members).canonical).items() <= members.items()
    except ServerError as refused:
        outcome = refused.kind in (ErrorKind.MALFORMED, ErrorKind.BAD_PUBLIC_KEY)

    assert outcome


@given(st.binary(max_size=80))
def test_base64url_has_one_text_per_octets(octets: bytes) -> None:
    text = base64url.encode(octets)

    assert text == base64.urlsafe_b64encode(octets).decode().rstrip("=")
    assert base64url.decode(text) == octets


@given(st.text(alphabet="AQgwzE09-_+/=~ \n\x00é\ud800", max_size=12))
def test_base64url_that_no_encoder_makes_is_refused(text: str) -> None:
    try:
        octets = base64url.decode(text)
    except ValueError:
        return

    assert base64url.encode(octets) == text
