"""The strict JWS parser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_server.acme.jwk import SIGNATURE_ALGORITHMS, parse_jwk
from acme_server.acme.jws import UnverifiedJws, parse_jws
from policy.model.errors import ErrorKind, ServerError
from support.jose import ALGORITHMS, ClientKey, b64, b64_json, mac

KEY = ClientKey.generate()
URL = "https://acme.example/acme/new-order"
HEADER = {"jwk": KEY.jwk, "nonce": "AAAA", "url": URL}
PAYLOAD = {"identifiers": [{"type": "dns", "value": "a.example"}]}


def encode(document: object) -> bytes:
    """The body of a request."""
    return json.dumps(document).encode()


def parse(document: object) -> UnverifiedJws:
    """Parse a body."""
    return parse_jws(encode(document))


def refusal(body: bytes) -> ServerError:
    """Why ``body`` is refused."""
    with pytest.raises(ServerError) as refused:
        parse_jws(body)
    return refused.value


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_jws_is_read_and_verified(algorithm: str) -> None:
    key = ClientKey.generate(algorithm)
    jws = parse(key.sign({**HEADER, "jwk": key.jwk}, PAYLOAD))
    jws.verify(parse_jwk(jws.jwk, algorithm=jws.algorithm))

    assert json.loads(jws.payload) == PAYLOAD
    assert (jws.algorithm, jws.kid, jws.nonce, jws.url) == (algorithm, None, "AAAA", URL)


def test_an_empty_payload_is_a_post_as_get() -> None:
    assert parse(KEY.sign(HEADER, b"")).payload == b""


def test_a_missing_and_an_empty_nonce_are_none() -> None:
    header = {"jwk": KEY.jwk, "url": URL}

    assert parse(KEY.sign(header, b"")).nonce is None
    assert parse(KEY.sign({**header, "nonce": ""}, b"")).nonce is None


GOOD = KEY.sign(HEADER, PAYLOAD)
STANDARD_ALPHABET = b64(b"\xfb\xff" * 32).replace("-", "+").replace("_", "/")


def header_as(**changes: Any) -> dict[str, Any]:
    """A signed JWS whose header differs; None takes a parameter away."""
    header = {"alg": KEY.algorithm, **HEADER, **changes}
    octets = json.dumps({name: value for name, value in header.items() if value is not None})
    return KEY.sign(octets.encode(), PAYLOAD)


def header_text(text: str) -> dict[str, Any]:
    """A signed JWS whose header is ``text``."""
    return KEY.sign(text.encode(errors="surrogatepass"), PAYLOAD)


def nested(depth: int) -> str:
    """A header with a value nested ``depth`` deep."""
    return json.dumps({"alg": "ES256", **HEADER})[:-1] + ',"x":' + "[" * depth + "]" * depth + "}"


MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "not-json": b"not json",
    "not-utf-8": b"\xff\xfe{}",
    "utf-16": json.dumps(GOOD).encode("utf-16"),
    "bom": b"\xef\xbb\xbf" + encode(GOOD),
    "array": b"[]",
    "array-of-one": encode([GOOD]),
    "text": b'"text"',
    "number": b"5",
    "null": b"null",
    "comments": b"/* c */" + encode(GOOD),
    "single-quotes": str(GOOD).encode(),
    "trailing-text": encode(GOOD) + b"x",
    "two-documents": encode(GOOD) * 2,
    "no-members": b"{}",
    "no-payload": encode({k: v for k, v in GOOD.items() if k != "payload"}),
    "no-protected": encode({k: v for k, v in GOOD.items() if k != "protected"}),
    "no-signature": encode({k: v for k, v in GOOD.items() if k != "signature"}),
    "null-payload": encode({**GOOD, "payload": None}),
    "protected-a-number": encode({**GOOD, "protected": 5}),
    "protected-an-object": encode({**GOOD, "protected": HEADER}),
    "payload-an-object": encode({**GOOD, "payload": PAYLOAD}),
    "signature-a-list": encode({**GOOD, "signature": [GOOD["signature"]]}),
    "signature-empty": encode({**GOOD, "signature": ""}),
    "general-serialization": encode({"payload": GOOD["payload"], "signatures": [GOOD]}),
    "signature-and-signatures": encode({**GOOD, "signatures": [GOOD]}),
    "empty-signatures": encode({**GOOD, "signatures": []}),
    "compact-serialization": ".".join(GOOD.values()).encode(),
    "compact-in-quotes": encode(".".join(GOOD.values())),
    "unprotected-header-empty": encode({**GOOD, "header": {}}),
    "unprotected-header": encode({**GOOD, "header": {"alg": "ES256"}}),
    "extra-member": encode({**GOOD, "extra": 1}),
    "repeated-payload": encode(GOOD)[:-1] + b', "payload": ""}',
    "header-not-json": encode(KEY.sign(b"not json", PAYLOAD)),
    "header-not-utf-8": encode(KEY.sign(b"\xff\xfe", PAYLOAD)),
    "header-bom": encode(KEY.sign(b"\xef\xbb\xbf" + encode(HEADER), PAYLOAD)),
    "header-empty": encode(KEY.sign(b"", PAYLOAD)),
    "header-array": encode(KEY.sign(b"[]", PAYLOAD)),
    "header-padded": encode(KEY.sign_encoded(b64_json(HEADER) + "=", b64_json(PAYLOAD))),
    "payload-padded": encode(KEY.sign_encoded(GOOD["protected"], "e30=")),
    "payload-padded-twice": encode(KEY.sign_encoded(GOOD["protected"], "eA==")),
    "payload-after-padding": encode(KEY.sign_encoded(GOOD["protected"], "eA==AAAA")),
    "payload-with-tildes": encode(KEY.sign_encoded(GOOD["protected"], "e3~~0")),
    "payload-with-newline": encode(KEY.sign_encoded(GOOD["protected"], "e3\n0")),
    "payload-with-space": encode(KEY.sign_encoded(GOOD["protected"], "e30 ")),
    "payload-standard-alphabet": encode(KEY.sign_encoded(GOOD["protected"], "+/+/")),
    "payload-of-bad-length": encode(KEY.sign_encoded(GOOD["protected"], "e30AA")),
    "payload-with-spare-bits": encode(KEY.sign_encoded(GOOD["protected"], "e31")),
    "payload-non-ascii": encode(KEY.sign_encoded(GOOD["protected"], "é30é")),
    "signature-standard-alphabet": encode({**GOOD, "signature": STANDARD_ALPHABET}),
    "signature-padded": encode({**GOOD, "signature": GOOD["signature"] + "=="}),
    "jwk-and-kid": encode(header_as(kid=URL)),
    "neither-jwk-nor-kid": encode(header_as(jwk=None)),
    "kid-a-number": encode(header_as(jwk=None, kid=5)),
    "kid-null": encode(header_text(json.dumps({"alg": "ES256", "kid": None, "url": URL}))),
    "url-missing": encode(header_as(url=None)),
    "url-a-number": encode(header_as(url=5)),
    "url-empty": encode(header_as(url="")),
    "nonce-a-number": encode(header_as(nonce=5)),
    "nonce-padded": encode(header_as(nonce="AA==")),
    "nonce-standard-alphabet": encode(header_as(nonce="+/+/")),
    "nonce-with-spare-bits": encode(header_as(nonce="AB")),
    "crit": encode(header_as(crit=["exp"])),
    "crit-empty": encode(header_as(crit=[])),
    "b64-false": encode(header_as(b64=False)),
    "b64-true": encode(header_as(b64=True)),
    "jku": encode(header_as(jku="http://169.254.169.254/")),
    "x5u": encode(header_as(x5u="http://169.254.169.254/")),
    "x5c": encode(header_as(x5c=["AAAA"])),
    "x5c-text": encode(header_as(x5c="AAAA")),
    "x5c-of-1000": encode(header_as(x5c=["AAAA"] * 1000)),
    "typ": encode(header_as(typ="JWT")),
    "cty": encode(header_as(cty="json")),
    "zip": encode(header_as(zip="DEF")),
    "repeated-alg": encode(
        header_text('{"alg":"none","alg":"ES256",' + json.dumps(HEADER)[1:-1] + "}")
    ),
    "header-nested-990-deep": encode(header_text(nested(990))),
    "header-nested-33-deep": encode(header_text(nested(33))),
    "body-nested-20000-deep": b"[" * 20_000,
    "body-of-many-commas": b'{"protected":[' + b"1," * 20_000 + b"1]}",
    "huge-exponent": encode(header_as())[:-1] + b', "x": 1e999999}',
    "huge-number": encode(header_as())[:-1] + b', "x": ' + b"9" * 5000 + b"}",
    "nan": encode(header_as())[:-1] + b', "x": NaN}',
    "infinity": encode(header_as())[:-1] + b', "x": -Infinity}',
    "nul-in-url": encode(header_as(url=URL + "\x00")),
    "escape-in-url": encode(header_as(url=URL + "\x1b[2J")),
    "surrogate-in-url": encode(header_as(url=URL + "\ud800")),
    "surrogate-in-name": encode(header_as(**{"\udfff": 1})),
    "delete-in-kid": encode(header_as(jwk=None, kid=URL + "\x7f")),
}
for repeated in ("alg", "nonce", "url", "jwk"):
    value = json.dumps({"alg": "ES256", **HEADER}[repeated])
    text = json.dumps({"alg": "ES256", **HEADER})[:-1] + f', "{repeated}": {value}}}'
    MALFORMED[f"repeated-{repeated}-of-equal-value"] = encode(header_text(text))


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_other_shapes_are_malformed(body: bytes) -> None:
    refused = refusal(body)

    assert refused.kind is ErrorKind.MALFORMED
    assert refused.detail.endswith(".")
    assert refused.detail.isprintable()


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({**header_as(alg="none"), "signature": ""}, id="none"),
        pytest.param(header_as(alg="None"), id="none-in-capitals"),
        pytest.param(
            mac(b"secret", {"jwk": {"kty": "oct", "k": b64(b"secret")}, "url": URL}, {}),
            id="hs256-with-its-own-key",
        ),
        pytest.param(mac(b"secret", {"kid": URL, "url": URL}, {}), id="hs256-with-kid"),
        pytest.param(header_as(alg="XX999"), id="unknown"),
        pytest.param(header_as(alg="es256"), id="lower-case"),
        pytest.param(header_as(alg="PS256"), id="pss"),
        pytest.param(header_as(alg="RS384"), id="rs384"),
        pytest.param(header_as(alg="ES256K"), id="es256k"),
        pytest.param(header_as(alg=5), id="number"),
        pytest.param(header_as(alg=["ES256"]), id="list"),
        pytest.param(header_as(alg={"ES256": 1}), id="object"),
        pytest.param(header_as(alg=None), id="missing"),
    ],
)
def test_other_algorithms_are_refused_with_the_list_of_ours(document: object) -> None:
    refused = refusal(encode(document))

    assert refused.kind is ErrorKind.BAD_SIGNATURE_ALGORITHM
    assert refused.allowed == SIGNATURE_ALGORITHMS


def test_a_key_of_another_algorithm_verifies_nothing() -> None:
    other = ClientKey.generate("ES384")

    with pytest.raises(ServerError, match="malformed"):
        parse(GOOD).verify(parse_jwk(other.jwk))


@pytest.mark.parametrize("member", ["protected", "payload", "signature"])
@given(data=st.data())
def test_no_change_of_a_character_is_accepted(member: str, data: st.DataObject) -> None:
    text = GOOD[member]
    position = data.draw(st.integers(0, len(text) - 1))
    replacement = data.draw(st.sampled_from("ABCwxyz0189-_+/=~ \n\x00é"))
    changed = text[:position] + replacement + text[position + 1 :]
    key = parse_jwk(KEY.jwk)
    try:
        parse({**GOOD, member: changed}).verify(key)
        accepted = True
    except ServerError:
        accepted = False

    assert accepted == (changed == text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("AQz\x00\ud800é"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("pq"), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["protected", "payload", "signature", "header"]), _JSON))
def test_any_json_is_refused_in_our_words(document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()

    assert refusal(body).kind in (ErrorKind.MALFORMED, ErrorKind.BAD_SIGNATURE_ALGORITHM)


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_in_our_words(body: bytes) -> None:
    assert refusal(body).kind is ErrorKind.MALFORMED
