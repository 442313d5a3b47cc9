"""Whatever strangers send to the parsers: it is read in its one meaning, or refused in our
words."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st

from acme_server.acme import base64url, wire
from acme_server.acme.jwk import parse_jwk
from acme_server.acme.jws import UnverifiedJws, parse_jws
from acme_server.web.routes import Route, Routes
from acme_server.web.strictjson import parse_object
from acme_server.web.urls import Urls
from policy.model.errors import ErrorKind, ServerError
from policy.model.ids import encode_id, parse_id
from support.edge import PlainFrontEnd
from support.jose import ClientKey, b64

KEY = ClientKey.generate("EdDSA")
URL = "https://acme.example/acme/new-order"
SIGNED = json.dumps(KEY.sign({"jwk": KEY.jwk, "nonce": "AAAA", "url": URL}, {"a": [1]})).encode()
PUBLIC = parse_jwk(KEY.jwk)
REFUSALS = (
    ErrorKind.MALFORMED,
    ErrorKind.BAD_SIGNATURE_ALGORITHM,
    ErrorKind.BAD_PUBLIC_KEY,
    ErrorKind.BAD_CSR,
    ErrorKind.BAD_REVOCATION_REASON,
)
T = TypeVar("T")

TEXTS = st.text(max_size=12) | st.sampled_from(
    ["dns", "ip", "deactivated", "mailto:a@b.example", "2026-12-31T00:00:00Z", "AAAA", "\x00", "é"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
CHANGES = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 3), st.binary(min_size=1, max_size=4)),
    min_size=1,
    max_size=3,
)


def changed(octets: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """``octets`` with some replaced, inserted, removed or repeated."""
    result = bytearray(octets)
    for place, how, new in changes:
        position = place % (len(result) or 1)
        if how == 0:
            result[position : position + len(new)] = new
        elif how == 1:
            result[position:position] = new
        elif how == 2:
            del result[position : position + len(new)]
        else:
            result[position:position] = result[position : position + 40]
    return bytes(result)


def attempt(parse: Callable[[], T]) -> T | ServerError:
    """What ``parse`` returns, or how it refuses."""
    try:
        return parse()
    except ServerError as refusal:
        assert_is_ours(refusal)
        return refusal


def assert_is_ours(refusal: ServerError) -> None:
    """The refusal is one that a client may read."""
    assert refusal.kind in REFUSALS
    assert refusal.detail.isprintable()
    assert refusal.detail.endswith((".", ")."))


# ---- JSON ---------------------------------------------------------------------------------------


@given(raw=st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_json_is_read_as_by_everybody_or_refused(raw: bytes) -> None:
    document = attempt(lambda: parse_object(raw, "The payload"))

    assert isinstance(document, ServerError) or document == json.loads(raw)


@given(CHANGES)
def test_json_with_octets_changed(changes: list[tuple[int, int, bytes]]) -> None:
    raw = changed(b'{"a": [1, -2.5e3, true, null], "b\\u00e9": {"c": "\\ud83d\\ude00"}}', changes)
    document = attempt(lambda: parse_object(raw, "The payload"))

    assert isinstance(document, ServerError) or document == json.loads(raw)


# ---- JWS ----------------------------------------------------------------------------------------


@given(CHANGES)
def test_a_signed_request_with_octets_changed_says_what_was_signed_or_nothing(
    changes: list[tuple[int, int, bytes]],
) -> None:
    def verified() -> UnverifiedJws:
        jws = parse_jws(changed(SIGNED, changes))
        jws.verify(PUBLIC)
        return jws

    jws, original = attempt(verified), parse_jws(SIGNED)

    assert isinstance(jws, ServerError) or jws == original


RIGHT_HEADERS = tuple(
    {"alg": "EdDSA", "nonce": "AAAA", "url": URL, **who} for who in ({"kid": URL}, {"jwk": KEY.jwk})
)


@given(
    right=st.sampled_from(RIGHT_HEADERS),
    drawn=st.dictionaries(
        st.sampled_from(["alg", "jwk", "kid", "nonce", "url"]), VALUES, max_size=2
    ),
)
@example(right=RIGHT_HEADERS[0], drawn={})
@example(right=RIGHT_HEADERS[1], drawn={})
@example(right=RIGHT_HEADERS[0], drawn={"alg": ["ES256"]})
def test_any_header_is_read_or_refused(right: dict[str, Any], drawn: dict[str, Any]) -> None:
    header = right | drawn
    raw = json.dumps(header).encode()
    jws = attempt(lambda: parse_jws(json.dumps(KEY.sign(raw, {})).encode()))

    if isinstance(jws, ServerError):
        assert drawn
    else:
        assert (jws.kid, jws.jwk) == (header.get("kid"), header.get("jwk"))
        assert (jws.algorithm, jws.url) == (header["alg"], header["url"])
        assert jws.nonce == (header["nonce"] or None)


# ---- base64url ----------------------------------------------------------------------------------


@given(text=st.text(max_size=20))
@example(text="AA")
@example(text="AB")
@example(text="A")
@example(text="ＡＡ")
def test_base64url_is_read_in_its_only_spelling(text: str) -> None:
    try:
        octets = base64url.decode(text)
    except ValueError:
        return

    assert base64.urlsafe_b64encode(octets).decode().rstrip("=") == text


# ---- payloads -----------------------------------------------------------------------------------

PARSERS: dict[str, Callable[[bytes], object]] = {
    "newAccount": wire.parse_new_account,
    "account": wire.parse_account_update,
    "authorization": wire.parse_authorization_update,
    "challenge": wire.parse_challenge_answer,
    "newAuthz": wire.parse_new_authorization,
    "newOrder": wire.parse_new_order,
    "finalize": wire.parse_finalize,
    "revokeCert": wire.parse_revocation,
}
MEMBERS = st.sampled_from(
    [
        *("contact", "termsOfServiceAgreed", "onlyReturnExisting", "externalAccountBinding"),
        *("status", "identifiers", "identifier", "notBefore", "notAfter", "profile"),
        *("csr", "certificate", "reason", "type", "value"),
    ]
)


@given(
    name=st.sampled_from(sorted(PARSERS)),
    members=st.dictionaries(MEMBERS, VALUES | st.lists(st.dictionaries(MEMBERS, TEXTS))),
)
def test_any_payload_is_read_or_refused(name: str, members: dict[str, Any]) -> None:
    attempt(lambda: PARSERS[name](json.dumps(members).encode()))


@given(
    text=st.datetimes(timezones=st.timezones()).map(datetime.isoformat)
    | st.text(alphabet="0123456789-:.TtZz+ ", max_size=40)
    | st.text(max_size=30)
)
@example(text="2026-12-31T00:00:00Z")
@example(text="9999-12-31T23:59:59-23:59")
@example(text="0001-01-01T00:00:00+23:59")
@example(text="2026-12-31T23:59:60Z")
def test_any_time_is_read_or_refused(text: str) -> None:
    payload = {"identifiers": [{"type": "dns", "value": "a.example"}], "notAfter": text}
    request = attempt(lambda: wire.parse_new_order(json.dumps(payload).encode()))

    if not isinstance(request, ServerError):
        assert request.not_after == datetime.fromisoformat(text.upper())
        assert request.not_after.utcoffset() == timedelta(0)


# ---- URLs and paths -----------------------------------------------------------------------------


@given(text=st.text(max_size=30) | st.text("AQgwz09-_", min_size=20, max_size=24))
@example(text=b64(bytes(16)))
@example(text=b64(bytes(16))[:-1] + "B")
def test_an_id_has_one_text(text: str) -> None:
    found = parse_id(text)

    assert found is None or encode_id(found) == text


@given(st.uuids())
def test_an_id_is_read_back(id_: UUID) -> None:
    assert parse_id(encode_id(id_)) == id_


FRONT_END = PlainFrontEnd()
PATTERNS = (
    *("/directory", "/acme/new-order", "/acme/account/{id}", "/acme/account/{id}/orders"),
    *("/acme/order/{id}", "/acme/order/{id}/finalize", "/acme/challenge/{id}/{type}"),
    *("/crl/{issuer}/{shard}.crl", "/issuers/{id}.der"),
)
ROUTES = Routes(
    FRONT_END, [Route(pattern, FRONT_END, {"GET": FRONT_END.echo}) for pattern in PATTERNS]
)
SEGMENTS = st.sampled_from(
    [
        *("acme", "directory", "new-order", "account", "order", "challenge", "finalize", "orders"),
        *(
            "",
            ".",
            "..",
            "%2e",
            "a",
            "a.crl",
            ".crl",
            "crl",
            "issuers",
            "x.der",
            "{id}",
            "a/b",
            "?",
        ),
    ]
)


_PARAMETER = re.compile(r"\{[a-z]+\}")


@st.composite
def paths(draw: st.DrawFn) -> str:
    """A path that a route serves, or one that differs from it in a few characters."""

    def parameter(_: object) -> str:
        return draw(SEGMENTS | st.text(min_size=1, max_size=4))

    served = _PARAMETER.sub(parameter, draw(st.sampled_from(PATTERNS)))
    return changed(served.encode(), draw(CHANGES | st.just([]))).decode("latin-1")


@given(path=paths() | st.lists(SEGMENTS | st.text(max_size=4), max_size=6).map("/".join))
@example(path="/acme/challenge/{id}/dns-01")
@example(path="/crl/a/0.crl")
def test_a_path_is_served_as_what_its_route_renders(path: str) -> None:
    """No path but the rendered one leads to a resource: nothing is decoded or tidied up."""
    found = ROUTES.find(path)
    if found is None:
        return
    route, parameters = found
    literals = _PARAMETER.split(route.pattern)
    rendered = literals[0] + "".join(map("".join, zip(parameters, literals[1:], strict=True)))

    assert rendered == path
    assert all(parameter and "/" not in parameter for parameter in parameters)


@given(text=st.text(max_size=30) | st.text("htps:/@?#[]a.1", max_size=30).map("http://".__add__))
@example(text="https://acme.example")
@example(text="http://[::1]:80/a")
@example(text="http://[")
def test_an_external_url_is_the_start_of_all_urls_or_refused(text: str) -> None:
    try:
        urls = Urls(text)
    except ValueError:
        return

    assert urls.directory.startswith(text + "/")
    assert urls.of_target(urls.served("/directory")) == urls.directory
    assert urlsplit(urls.new_order).path == urls.path + "/acme/new-order"
