"""Hostile requests, row by row, and what must hold after each of them.

The ids are those of the table of hostile inputs: J envelopes, K embedded keys, N nonces and URLs,
W the HTTP layer. A row is sent, its answer compared, and then it is checked that the error is a
problem document, that the nonce it came with works, that nothing changed, and that the log has one
line.
"""

from __future__ import annotations

import base64
import gc
import gzip
import hashlib
import json
import math
import resource
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from structlog.testing import capture_logs

from acme_server.workflow.nonces import NonceSeal
from policy.model.errors import ErrorKind, ServerError
from support.acme import JOSE, AcmeClient, FakeServed, any_id, encoded, serve_acme
from support.edge import Reply
from support.jose import ClientKey, b64, b64_int, b64_json, mac

ORDER = {"identifiers": [{"type": "dns", "value": "a.example"}]}
TERMS = {"termsOfServiceAgreed": True}
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
RSA = ClientKey.generate("RS256")
P256 = ClientKey.generate("ES256")


@dataclass(frozen=True)
class Sent:
    """A request to be made."""

    url: str
    document: object
    content_type: str | None = JOSE
    headers: Mapping[str, str] | None = None


Builder = Callable[[FakeServed, AcmeClient], Awaitable[Sent]]
ROWS: dict[str, tuple[Builder, int, str]] = {}


def row(id_: str, status: int, kind: str) -> Callable[[Builder], Builder]:
    """Register a row."""

    def register(builder: Builder) -> Builder:
        assert id_ not in ROWS
        ROWS[id_] = builder, status, kind
        return builder

    return register


# ---- J: the envelope and its header -------------------------------------------------------------


def body_row(id_: str, kind: str, make: Callable[[dict[str, Any]], object]) -> None:
    """A row that changes a right JWS for newOrder after it was signed."""

    async def build(served: FakeServed, client: AcmeClient) -> Sent:
        url = served.urls.new_order
        return Sent(url, make(client.key.sign(await client.header(url), ORDER)))

    row(id_, 400, kind)(build)


def header_row(
    id_: str, kind: str, change: Callable[[dict[str, Any]], dict[str, Any]], status: int = 400
) -> None:
    """A row that signs another header for newOrder."""

    async def build(served: FakeServed, client: AcmeClient) -> Sent:
        url = served.urls.new_order
        return Sent(url, client.key.sign(change(await client.header(url)), ORDER))

    row(id_, status, kind)(build)


def key_row(id_: str, kind: str, jwk: Mapping[str, Any], algorithm: str = "RS256") -> None:
    """A row that registers with an embedded key, signed by whatever signs so."""

    async def build(served: FakeServed, client: AcmeClient) -> Sent:
        url = served.urls.new_account
        header = {"alg": algorithm, "jwk": jwk, "nonce": await client.nonce(), "url": url}
        signer = RSA if algorithm == "RS256" else P256
        return Sent(url, signer.sign(header, TERMS))

    row(id_, 400, kind)(build)


def flip(text: str) -> str:
    """``text`` with another first character."""
    return ("B" if text[0] == "A" else "A") + text[1:]


def der_signature(jws: dict[str, Any]) -> dict[str, Any]:
    """The same signature as X.509 has it."""
    raw = base64.urlsafe_b64decode(jws["signature"] + "==")
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    return {**jws, "signature": b64(encode_dss_signature(r, s))}


body_row("J001", "malformed", lambda jws: b"")
body_row("J003", "malformed", lambda jws: [])
body_row("J005", "malformed", lambda jws: {k: v for k, v in jws.items() if k != "payload"})
body_row("J007", "malformed", lambda jws: {**jws, "protected": 5})
body_row("J009", "malformed", lambda jws: {**jws, "protected": b64(b"not json")})
body_row("J011", "malformed", lambda jws: {**jws, "protected": b64(b"\xff\xfe")})
body_row("J013", "malformed", lambda jws: {**jws, "protected": b64(b"\xef\xbb\xbf{}")})
body_row("J015", "malformed", lambda jws: {**jws, "protected": jws["protected"] + "="})
body_row("J017", "malformed", lambda jws: {**jws, "signature": "+/" + jws["signature"][2:]})
body_row("J019", "malformed", lambda jws: {**jws, "payload": "~~" + jws["payload"]})
body_row("J021", "malformed", lambda jws: {**jws, "payload": jws["payload"] + "==AAAA"})
body_row("J023", "malformed", lambda jws: {"payload": jws["payload"], "signatures": [jws]})
body_row("J023-none", "malformed", lambda jws: {"payload": jws["payload"], "signatures": []})
body_row("J025", "malformed", lambda jws: {**jws, "signatures": [jws]})
body_row("J027", "malformed", lambda jws: ".".join(jws.values()).encode())
body_row("J029", "malformed", lambda jws: {**jws, "header": {}})
body_row("J045", "malformed", lambda jws: {**jws, "signature": b64(bytes(64))})
body_row("J047", "malformed", der_signature)
body_row("J051", "malformed", lambda jws: {**jws, "payload": b64_json({"identifiers": []})})
body_row("J051-signature", "malformed", lambda jws: {**jws, "signature": flip(jws["signature"])})
body_row("J075", "malformed", lambda jws: {**jws, "extra": 1})
body_row("J081", "malformed", lambda jws: repr(jws).encode())
body_row("J081-comment", "malformed", lambda jws: b"/**/" + json.dumps(jws).encode())

header_row("J037", "badSignatureAlgorithm", lambda header: {**header, "alg": "XX999"})
header_row("J053", "malformed", lambda header: {**header, "jwk": P256.jwk})
header_row("J063", "malformed", lambda header: {**header, "crit": ["exp"]})
header_row("J065", "malformed", lambda header: {**header, "b64": False})
header_row("J067", "malformed", lambda header: {**header, "jku": "http://169.254.169.254/"})
header_row("J069", "malformed", lambda header: {**header, "x5c": ["AAAA"]})
header_row("J069-text", "malformed", lambda header: {**header, "x5c": "AAAA"})
header_row("J069-thousand", "malformed", lambda header: {**header, "x5c": ["AAAA"] * 1000})
header_row("J057", "malformed", lambda header: {**header, "kid": "https://evil/acme/account/1"})
for number, suffix in enumerate(("/", "?x", "#f", "%31", "=", "A", "\n", "/orders")):
    header_row(
        f"J059-{number}", "malformed", lambda header, s=suffix: {**header, "kid": header["kid"] + s}
    )
header_row("J059-host", "malformed", lambda header: {**header, "kid": header["kid"].upper()})
for number, text in enumerate(
    (str(2**63), "1" + "0" * 30, "-1", "1e3", "٣", " 1", "", "..", "%00")
):
    header_row(
        f"J061-{number}",
        "malformed",
        lambda header, t=text: {**header, "kid": header["kid"].rpartition("/")[0] + "/" + t},
    )
header_row(
    "J061-missing",
    "accountDoesNotExist",
    lambda header: {**header, "kid": header["kid"].rpartition("/")[0] + "/" + encoded(any_id())},
)
header_row("J061-null", "malformed", lambda header: {**header, "kid": None})
header_row("J061-nul", "malformed", lambda header: {**header, "kid": header["kid"] + "\x00"})


def text_header_row(id_: str, change: Callable[[str], str]) -> None:
    """A row that signs a header whose text was changed."""

    async def build(served: FakeServed, client: AcmeClient) -> Sent:
        url = served.urls.new_order
        text = json.dumps(await client.header(url))
        return Sent(url, client.key.sign(change(text).encode(), ORDER))

    row(id_, 400, "malformed")(build)


def appended(member: str) -> Callable[[str], str]:
    """Add a member to the text of an object."""
    return lambda text: text[:-1] + ", " + member + "}"


text_header_row("J071", appended('"alg": "ES256"'))
text_header_row("J073", appended('"nonce": "AAAA"'))
text_header_row("J073-url", appended('"url": "https://acme.example/acme/new-account"'))
text_header_row("J077", appended('"x": ' + "[" * 990 + "]" * 990))
text_header_row("J079", appended('"x": 1e999999'))
text_header_row("J079-nan", appended('"x": NaN'))
text_header_row("J079-infinity", appended('"x": Infinity'))


@row("J031", 400, "badSignatureAlgorithm")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    url = served.urls.new_order
    jws = client.key.sign({**await client.header(url), "alg": "none"}, ORDER)
    return Sent(url, {**jws, "signature": ""})


@row("J033", 400, "badSignatureAlgorithm")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    url = served.urls.new_account
    jwk = {"kty": "oct", "k": b64(b"secret")}
    header = {"jwk": jwk, "nonce": await client.nonce(), "url": url}
    return Sent(url, mac(b"secret", header, TERMS))


@row("J035", 400, "badSignatureAlgorithm")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    url = served.urls.new_order
    header = await client.header(url)
    del header["alg"]
    return Sent(url, mac(json.dumps(client.key.jwk).encode(), header, ORDER))


key_row("J039", "badPublicKey", RSA.jwk, "ES256")
key_row("J041", "badPublicKey", P256.jwk, "ES512")
key_row("J043", "malformed", {**RSA.jwk, "alg": "RS384"})


@row("J049", 400, "badNonce")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    """The other signature over the same text verifies too; the nonce is what stops it."""
    url = served.urls.new_order
    jws = client.key.sign(await client.header(url), ORDER)
    assert (await client.send(url, jws)).status == 201
    raw = base64.urlsafe_b64decode(jws["signature"] + "==")
    s = (P256_ORDER - int.from_bytes(raw[32:])) % P256_ORDER
    return Sent(url, {**jws, "signature": b64(raw[:32] + s.to_bytes(32))})


@row("J055", 400, "malformed")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    url = served.urls.new_account
    return Sent(url, client.key.sign(await client.header(url), TERMS))


@row("J055-jwk-elsewhere", 400, "malformed")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    url = served.urls.new_order
    header = {"jwk": client.key.jwk, "nonce": await client.nonce(), "url": url}
    return Sent(url, client.key.sign(header, ORDER))


@row("J051-other-key", 400, "malformed")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    url = served.urls.new_order
    return Sent(url, ClientKey.generate().sign(await client.header(url), ORDER))


@row("J051-other-algorithm", 400, "malformed")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    url = served.urls.new_order
    return Sent(url, RSA.sign({**await client.header(url), "alg": "RS256"}, ORDER))


def payload_row(id_: str, payload: object, target: str = "new_order") -> None:
    """A row with a right envelope and another payload."""

    async def build(served: FakeServed, client: AcmeClient) -> Sent:
        url = getattr(served.urls, target)
        header = await client.header(url)
        if target == "new_account":
            del header["kid"]
            header["jwk"] = client.key.jwk
        return Sent(url, client.key.sign(header, payload))

    row(id_, 400, "malformed")(build)


payload_row("J085", b"not json")
payload_row("J085-array", [])
payload_row("J085-utf-16", json.dumps(ORDER).encode("utf-16"))
payload_row("J085-repeated", b'{"identifiers":[],"identifiers":[]}')
payload_row("J085-deep", b'{"identifiers":' + b"[" * 5000 + b"]" * 5000 + b"}")
payload_row("J087", b"")
payload_row("J087-new-account", b"", "new_account")
payload_row("A001-text", {"termsOfServiceAgreed": "true"}, "new_account")
payload_row("A011", {**TERMS, "contact": "mailto:a@x.org"}, "new_account")
payload_row("A011-null", {**TERMS, "contact": None}, "new_account")
payload_row("A011-null-in-list", {**TERMS, "contact": [None]}, "new_account")
payload_row("A011-object", {**TERMS, "contact": {}}, "new_account")
payload_row("A007", {**TERMS, "contact": ["mailto:a\x00@x.org"]}, "new_account")
payload_row("A007-surrogate", {**TERMS, "contact": ["mailto:\ud800@x.org"]}, "new_account")
payload_row("O001", {})
payload_row("O001-empty", {"identifiers": []})
payload_row("O001-object", {"identifiers": {}})
payload_row("O001-text", {"identifiers": "x"})
payload_row("O001-null", {"identifiers": [None]})
payload_row("O001-list", {"identifiers": [[]]})
payload_row("O001-number", {"identifiers": [{"type": "dns", "value": 5}]})
payload_row("O023", {"identifiers": [{"type": "dns", "value": "example.com\x00.evil.com"}]})
payload_row("O055", {**ORDER, "notBefore": "yesterday"})
payload_row("O055-month", {**ORDER, "notBefore": "2026-13-01T00:00:00Z"})
payload_row("O055-number", {**ORDER, "notAfter": 5})
payload_row("O055-no-offset", {**ORDER, "notAfter": "2026-12-01T00:00:00"})
payload_row("O055-week", {**ORDER, "notAfter": "2026-W48-5T00:00:00Z"})
payload_row("O055-year-1", {**ORDER, "notAfter": "0001-01-01T00:00:00+14:00"})
payload_row("O055-offset", {**ORDER, "notAfter": "2026-12-01T00:00:00+99:00"})
payload_row("O059-number", {**ORDER, "profile": 5})


def account_row(id_: str, payload: object) -> None:
    """A row that updates the client's account."""

    async def build(served: FakeServed, client: AcmeClient) -> Sent:
        assert client.kid is not None
        return Sent(client.kid, client.key.sign(await client.header(client.kid), payload))

    row(id_, 400, "malformed")(build)


account_row("A017", {"status": "revoked"})
account_row("A017-pending", {"status": "pending"})
account_row("A017-number", {"status": 5})
account_row("A017-list", {"status": ["deactivated"]})


def csr_row(id_: str, kind: str, payload: object) -> None:
    """A row that finalizes."""

    async def build(served: FakeServed, client: AcmeClient) -> Sent:
        url = served.urls.finalize(served.fakes.orders.order.id)
        return Sent(url, client.key.sign(await client.header(url), payload))

    row(id_, 400, kind)(build)


csr_row("F009", "badCSR", {"csr": "-----BEGIN CERTIFICATE REQUEST-----\\nAAAA"})
csr_row("F009-padded", "badCSR", {"csr": "AA=="})
csr_row("F009-missing", "malformed", {})
csr_row("F009-number", "malformed", {"csr": 5})

# ---- K: embedded keys ---------------------------------------------------------------------------

key_row("K003", "badPublicKey", {**RSA.jwk, "n": b64_int((1 << 8191) + 1)})
key_row("K003-16384", "badPublicKey", {**RSA.jwk, "n": b64_int((1 << 16383) + 1)})
key_row("K005-0", "malformed", {**RSA.jwk, "e": b64(b"\x00")})
for exponent in (1, 2, 65_536):
    key_row(f"K005-{exponent}", "badPublicKey", {**RSA.jwk, "e": b64_int(exponent)})
key_row("K007", "badPublicKey", {**RSA.jwk, "e": b64_int((1 << 64) + 1)})
key_row("K007-2048", "badPublicKey", {**RSA.jwk, "e": b64_int((1 << 2047) + 1)})
for bits in (2048, 4096, 8192):
    number = b64_int((1 << bits - 1) + 1)
    key_row(f"K015-{bits}", "badPublicKey", {**RSA.jwk, "n": number, "d": number})
key_row("K017", "malformed", {**RSA.jwk, "n": b64(bytes(1) + bytes.fromhex("ff" * 256))})
key_row("K019", "badPublicKey", {**P256.jwk, "x": b64(bytes(31))}, "ES256")
key_row("K025", "malformed", {**P256.jwk, **{f"x{n}": 1 for n in range(3000)}}, "ES256")
key_row("K-not-an-object", "malformed", ["EC"], "ES256")  # type: ignore[arg-type]


def signed_key_row(id_: str, jwk: Mapping[str, Any], sign: Callable[[bytes], bytes]) -> None:
    """A row that registers with a weak key and a signature that this key verifies."""

    async def build(served: FakeServed, client: AcmeClient) -> Sent:
        url = served.urls.new_account
        algorithm = {"RSA": "RS256", "OKP": "EdDSA"}[jwk["kty"]]
        header = {"alg": algorithm, "jwk": jwk, "nonce": await client.nonce(), "url": url}
        protected, payload = b64_json(header), b64_json(TERMS)
        signature = sign(f"{protected}.{payload}".encode())
        return Sent(url, {"protected": protected, "payload": payload, "signature": b64(signature)})

    row(id_, 400, "badPublicKey")(build)


def rsa_signer(modulus: int, exponent: int, private: int) -> Callable[[bytes], bytes]:
    """PKCS #1 v1.5 with SHA-256, by hand: no library makes keys so weak."""
    length = (modulus.bit_length() + 7) // 8
    prefix = bytes.fromhex("3031300d060960864801650304020105000420")

    def sign(signed: bytes) -> bytes:
        digest = prefix + hashlib.sha256(signed).digest()
        padded = b"\x00\x01" + b"\xff" * (length - 3 - len(digest)) + b"\x00" + digest
        return pow(int.from_bytes(padded), private, modulus).to_bytes(length)

    return sign


def weak_rsa_row(id_: str, *primes: int, exponent: int = 65_537) -> None:
    """A row with the key that the given primes make."""
    modulus = math.prod(primes)
    private = pow(exponent, -1, math.lcm(*(prime - 1 for prime in primes)))
    jwk = {"kty": "RSA", "n": b64_int(modulus), "e": b64_int(exponent)}
    signed_key_row(id_, jwk, rsa_signer(modulus, exponent, private))


def primes_of(bits: int) -> tuple[int, int]:
    """The primes of a right RSA key."""
    numbers = rsa.generate_private_key(65_537, bits).private_numbers()
    return numbers.p, numbers.q


P, Q = primes_of(2048)
weak_rsa_row("K001", *primes_of(1024))
weak_rsa_row("K001-2047", P, primes_of(2044)[0])
weak_rsa_row("K005-3", P, Q, exponent=257)
weak_rsa_row("K009", 3, P, Q)
weak_rsa_row("K009-751", 751, P, Q)


@row("K023", 400, "badPublicKey")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    url = served.urls.new_account
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(bytes(32))}
    key = Ed25519PublicKey.from_public_bytes(bytes(32))
    header = {"alg": "EdDSA", "jwk": jwk, "nonce": await client.nonce(), "url": url}
    signature = b"\x01" + bytes(63)
    for attempt in range(1000):
        protected, payload = b64_json(header), b64_json({**TERMS, "attempt": attempt})
        try:
            key.verify(signature, f"{protected}.{payload}".encode())
        except InvalidSignature:
            continue
        break
    return Sent(url, {"protected": protected, "payload": payload, "signature": b64(signature)})


# ---- N: nonces, URLs, replay --------------------------------------------------------------------

header_row("N001", "badNonce", lambda header: {k: v for k, v in header.items() if k != "nonce"})
header_row("N001-empty", "badNonce", lambda header: {**header, "nonce": ""})
header_row("N005", "badNonce", lambda header: {**header, "nonce": b64(bytes(41))})
header_row("N005-short", "badNonce", lambda header: {**header, "nonce": "AAAA"})
header_row("N005-altered", "badNonce", lambda header: {**header, "nonce": flip(header["nonce"])})
header_row("N005-longer", "badNonce", lambda header: {**header, "nonce": header["nonce"] + "AAAA"})
header_row("N007", "malformed", lambda header: {**header, "nonce": header["nonce"] + "="})
header_row("N007-number", "malformed", lambda header: {**header, "nonce": 5})
header_row(
    "N009",
    "badNonce",
    lambda header: {**header, "nonce": NonceSeal(b"\x01" * 32).seal(b"epoch--1", 2_000_000_000)},
)
header_row(
    "N011",
    "badNonce",
    lambda header: {**header, "nonce": NonceSeal(bytes(32)).seal(b"epoch--1", 1_000_000_000)},
)
header_row(
    "N011-epoch",
    "badNonce",
    lambda header: {**header, "nonce": NonceSeal(bytes(32)).seal(b"epoch--0", 4_000_000_000)},
)
header_row("N015", "malformed", lambda header: {k: v for k, v in header.items() if k != "url"})
header_row("N015-number", "malformed", lambda header: {**header, "url": 5})
header_row("N015-empty", "malformed", lambda header: {**header, "url": ""})
for number, url in enumerate(
    (
        "https://evil.example/acme/new-order",
        "http://acme.example/acme/new-order",
        "https://acme.example:443/acme/new-order",
        "https://ACME.example/acme/new-order",
        "https://acme.example/acme/%6eew-order",
        "https://acme.example/acme/new-order/",
        "https://acme.example/acme/new-order?",
        "https://acme.example//acme/new-order",
        "https://acme.example/acme/../acme/new-order",
        "https://acme.example/acme/new-account",
        "/acme/new-order",
    )
):
    header_row(
        f"N017-{number}", "unauthorized", lambda header, u=url: {**header, "url": u}, status=403
    )


@row("N003", 400, "badNonce")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    url = served.urls.new_order
    jws = client.key.sign(await client.header(url), ORDER)
    assert (await client.send(url, jws)).status == 201
    return Sent(url, jws)


@row("N003-after-a-failure", 400, "badNonce")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    """A request that fails later has used its nonce."""
    url = served.urls.new_order
    header = await client.header(url)
    assert (await client.send(url, client.key.sign(header, {}))).status == 400
    return Sent(url, client.key.sign(header, ORDER))


@row("N013", 400, "malformed")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    url = served.urls.new_order
    header = await client.header(url)
    nonce = header.pop("nonce")
    jws = client.key.sign(header, ORDER)
    return Sent(url, jws, headers={"Replay-Nonce": nonce})


@row("N021", 400, "malformed")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    url = served.urls.new_order
    jws = client.key.sign(await client.header(url), ORDER)
    return Sent(url, jws, headers={"Host": "u@evil/x"})


@row("N023", 404, "malformed")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    url = "https://acme.example/acme/%6eew-order"
    return Sent(url, client.key.sign(await client.header(url), ORDER))


@row("N023-query", 403, "unauthorized")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    url = served.urls.new_order
    return Sent(url + "?x=1", client.key.sign(await client.header(url), ORDER))


@row("N025", 400, "malformed")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    """The inner JWS of a key change, sent as a request of its own."""
    url = served.urls.new_order
    inner = P256.sign({"jwk": P256.jwk, "url": url}, {"account": client.kid})
    return Sent(url, inner)


# ---- W: the HTTP layer --------------------------------------------------------------------------


def type_row(id_: str, content_type: str | None, headers: Mapping[str, str] | None = None) -> None:
    """A row with a right JWS and another media type or coding."""

    async def build(served: FakeServed, client: AcmeClient) -> Sent:
        url = served.urls.new_order
        jws = client.key.sign(await client.header(url), ORDER)
        return Sent(url, jws, content_type, headers)

    row(id_, 415, "malformed")(build)


type_row("W001", None)
type_row("W001-empty", "")
type_row("W001-json", "application/json")
type_row("W003-other-charset", JOSE + "; charset=latin-1")
type_row("W003-parameter", JOSE + "; a=b")
type_row("W003-list", JOSE + ", application/json")
type_row("W025-br", JOSE, {"Content-Encoding": "br"})
type_row("W027", JOSE, {"Content-Encoding": "zstd"})
type_row("W027-twice", JOSE, {"Content-Encoding": "gzip, gzip"})


@row("W025", 415, "malformed")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    url = served.urls.new_order
    jws = client.key.sign(await client.header(url), ORDER)
    body = gzip.compress(json.dumps(jws).encode())
    return Sent(url, body, JOSE, {"Content-Encoding": "gzip"})


@row("W029", 415, "malformed")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    body = part * 1000 + b"--x--\r\n"
    return Sent(served.urls.new_order, body, "multipart/form-data; boundary=x")


@row("W011", 404, "malformed")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    url = "https://acme.example/acme/nowhere"
    return Sent(url, client.key.sign(await client.header(url), b""))


@row("J083-beyond", 413, "malformed")
async def _(served: FakeServed, client: AcmeClient) -> Sent:
    return Sent(served.urls.new_order, b" " * 65_537)


# ---- and what must hold after each --------------------------------------------------------------


async def send(client: AcmeClient, sent: Sent) -> Reply:
    """Make the request."""
    body = sent.document if isinstance(sent.document, bytes) else json.dumps(sent.document).encode()
    headers = dict(sent.headers or {})
    if sent.content_type is not None:
        headers["Content-Type"] = sent.content_type
    target = sent.url.removeprefix(client.urls.origin)
    return await client.request("POST", target, body, headers)


@pytest.mark.parametrize("id_", ROWS)
async def test_a_hostile_request_is_refused_and_changes_nothing(id_: str) -> None:
    build, status, kind = ROWS[id_]
    async with serve_acme() as served:
        client = await served.registered()
        sent = await build(served, client)
        before = served.fakes.state()
        with capture_logs() as events:
            reply = await send(client, sent)
        after = served.fakes.state()
        assert_is_problem(reply, status, kind)
        assert after == before
        assert [event["event"] for event in events] == ["request_ended"]
        assert events[0]["log_level"] == "info"
        assert str(events[0]).isprintable()

        follower = client
        if reply.headers.get("connection") == "close":
            follower = await served.connection_of(client)
        assert (await with_nonce(follower, reply.headers["replay-nonce"])).status == 200


def assert_is_problem(reply: Reply, status: int, kind: str) -> None:
    """The error is told as RFC 8555, section 6.7, has it."""
    problem = reply.problem()
    assert (reply.status, problem["type"]) == (status, f"urn:ietf:params:acme:error:{kind}")
    detail = problem["detail"]
    assert isinstance(detail, str)
    assert detail.isprintable()
    assert 0 < len(detail.encode()) <= 1000
    assert "Traceback" not in detail
    assert reply.links == ['<https://acme.example/directory>;rel="index"']
    assert reply.headers["cache-control"] == "no-store"
    if kind == "badSignatureAlgorithm":
        assert problem["algorithms"] == ["ES256", "ES384", "ES512", "EdDSA", "RS256"]


async def with_nonce(client: AcmeClient, nonce: str) -> Reply:
    """Read the account with a nonce that came with an answer."""
    assert client.kid is not None
    header = {"kid": client.kid, "nonce": nonce, "url": client.kid}
    return await client.send(client.kid, client.key.sign(header, b""))


# ---- what looks hostile and is right ------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "; charset=utf-8", "; charset=UTF-8"])
@pytest.mark.parametrize("media_type", [JOSE, "Application/JOSE+json"])
async def test_the_media_type_in_any_case_is_accepted(media_type: str, suffix: str) -> None:
    async with serve_acme() as served:
        client = await served.registered()
        url = served.urls.new_order
        jws = client.key.sign(await client.header(url), ORDER)

        assert (await client.send(url, jws, media_type + suffix)).status == 201


async def test_j083_a_body_of_exactly_the_limit_is_accepted() -> None:
    async with serve_acme() as served:
        client = await served.registered()
        url = served.urls.new_order
        body = json.dumps(client.key.sign(await client.header(url), ORDER)).encode()

        assert (await client.send(url, body.ljust(65_536))).status == 201


async def test_n019_the_host_header_plays_no_part() -> None:
    async with serve_acme() as served:
        client = await served.registered()
        url = served.urls.new_order
        jws = client.key.sign(await client.header(url), ORDER)
        reply = await send(client, Sent(url, jws, headers={"Host": "evil.example:81"}))

    assert reply.status == 201
    assert reply.headers["location"].startswith("https://acme.example/acme/order/")


@pytest.mark.parametrize("agent", ["x" * 8000, "\\x1b[2J", ""])
async def test_w041_any_user_agent_is_served(agent: str) -> None:
    async with serve_acme() as served:
        client = await served.client()
        reply = await client.request("GET", "/directory", b"", {"User-Agent": agent})

    assert reply.status == 200


async def test_k023_what_policy_refuses_is_refused_after_the_signature() -> None:
    """A weak key is judged only for who has it."""
    judged: list[object] = []

    def refuse(key: object) -> None:
        judged.append(key)
        raise ServerError(ErrorKind.BAD_PUBLIC_KEY, "Weak.")

    async with serve_acme(check_key=refuse) as served:
        client = await served.client()
        url = served.urls.new_account
        jws = client.key.sign(await client.header(url), TERMS)
        forged = await client.send(url, {**jws, "signature": flip(jws["signature"])})
        assert judged == []
        weak = await client.send(url, jws)

    assert_is_problem(forged, 400, "malformed")
    assert_is_problem(weak, 400, "badPublicKey")
    assert served.fakes.accounts.requests == []


@pytest.mark.parametrize("id_", ["J077", "J051", "K003-16384", "K007-2048", "N005", "W029"])
async def test_a_thousand_repetitions_leave_nothing_behind(id_: str) -> None:
    build, status, _ = ROWS[id_]
    async with serve_acme() as served:
        client = await served.registered()
        sent = await build(served, client)
        for _warm_up in range(200):
            await send(client, sent)
        before = resident_bytes()
        statuses = {(await send(client, sent)).status for _ in range(1000)}
        after = resident_bytes()

        assert served.edge.connections == 1
    assert statuses == {status}
    assert after - before < 5_000_000


def resident_bytes() -> int:
    """The memory of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
