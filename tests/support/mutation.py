"""Requests that were right and are damaged: in their JSON before they are signed, in their JWS
after it, in their bytes, and in the HTTP around them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from support.acme import JOSE
from support.jose import ClientKey, b64, mac

_VALUES: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1.5, 2**31, 2**63, 2**64, 10**30, 1e308, float("nan")),
    *("", " ", "\x00", "\ud800", "\x1b[2J", "\r\nX: y", "é", "٣", "\u202e", "\ufeff", "\U0001f512"),
    *(
        "A",
        "A" * 22,
        "A" * 3000,
        "=",
        "==",
        "e30",
        "../..",
        "%00",
        "*",
        "*.",
        ".",
        "-",
        "deactivated",
    ),
    *(
        "valid",
        "revoked",
        "none",
        "HS256",
        "RS256",
        "EdDSA",
        "oct",
        "ip",
        "dns",
        "127.0.0.1",
        "::1",
    ),
    *("'; DROP TABLE accounts; --", "${jndi:ldap://x}", "<script>", "mailto:a@b.example"),
    *("9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "2026-12-31T23:59:60Z", "2026-02-30"),
    *([], {}, [[]], [{}], {"": 1}, ["a"] * 300, {"a": {"b": {"c": []}}}),
)
_BITS = (
    b"\r\n",
    b"\n",
    b"\x00",
    b" ",
    b":",
    b'"',
    b"{",
    b"}",
    b"[",
    b",",
    b"\\u0000",
    b"\\",
    b"\xff",
)
_NAMES = (
    *("", "alg", "jwk", "kid", "nonce", "url", "crit", "b64", "jku", "x5c", "typ", "payload"),
    *("protected", "signature", "signatures", "header", "contact", "status", "identifiers", "csr"),
    *("notBefore", "notAfter", "profile", "__proto__", "type", "value", "n", "e", "d", "x", "crv"),
)
_LINES = (
    *("Content-Length: 0", "Content-Length: 1", "Content-Length: -1", "Transfer-Encoding: chunked"),
    *(
        "Transfer-Encoding: gzip",
        "Content-Encoding: gzip",
        "Content-Type: text/plain",
        "Host: evil",
    ),
    *(
        "Expect: 100-continue",
        "Expect: x",
        "Connection: close",
        "Connection: upgrade",
        "Upgrade: h2c",
    ),
    *(
        "X-Forwarded-For: 1.2.3.4",
        "Replay-Nonce: AAAA",
        "Accept-Language: " + "x" * 500,
        "X:",
        ":x",
    ),
    *(
        "If-None-Match: *",
        "Range: bytes=0-1",
        "Cookie: a=b",
        "Authorization: Basic AA==",
        " folded",
    ),
)
_METHODS = ("GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "CONNECT", "post", "P", "")
_TYPES = ("", "text/plain", "application/json", JOSE + ";charset=utf-8", JOSE + "\t", "a" * 300)


@dataclass(frozen=True)
class Inner:
    """A JWS to stand in a payload, alone or as its ``member``; a key in octets is one for HS256."""

    key: ClientKey | bytes
    header: Mapping[str, Any]
    payload: object
    member: str | None = None

    def sign(self, header: Mapping[str, Any], payload: object) -> dict[str, Any]:
        """A payload with this JWS over ``header`` and ``payload`` instead."""
        if isinstance(self.key, bytes):
            jws = mac(self.key, header, payload)
        else:
            jws = self.key.sign(header, payload)
        return jws if self.member is None else {"termsOfServiceAgreed": True, self.member: jws}


@dataclass(frozen=True)
class Right:
    """A right request, to be damaged; ``inner`` is the JWS within its payload."""

    url: str
    payload: object
    inner: Inner | None = None

    @classmethod
    def around(cls, url: str, inner: Inner) -> Right:
        """With a payload that ``inner`` makes."""
        return cls(url, inner.sign(inner.header, inner.payload), inner)


@dataclass(frozen=True)
class Damaged:
    """What is sent: ``raw`` is a whole HTTP request after which the client sends no more; else it
    is a body for ``target`` that is framed right."""

    how: str
    target: str
    body: bytes
    content_type: str = JOSE
    raw: bytes | None = None


class Mutator:
    """Damages requests of ``key``'s owner, as ``rng`` wills."""

    def __init__(self, rng: random.Random, origin: str) -> None:
        self._rng = rng
        self._origin = origin
        self._ways: list[Callable[[ClientKey, Right, dict[str, Any]], Damaged]] = [
            self._payload,
            self._payload,
            self._payload_bytes,
            self._within,
            self._header,
            self._header_bytes,
            self._envelope,
            self._body_bytes,
            self._path,
            self._media_type,
            self._http,
            self._http,
        ]

    def damage(self, key: ClientKey, right: Right, header: Mapping[str, Any]) -> Damaged:
        """``right``, signed by ``key`` under ``header``, damaged in one of the ways."""
        return self._rng.choice(self._ways)(key, right, dict(header))

    # ---- before it is signed --------------------------------------------------------------------

    def _payload(self, key: ClientKey, right: Right, header: dict[str, Any]) -> Damaged:
        if right.payload == b"":
            payload = _dumps(self._value())
        else:
            payload = _dumps(self._tree(right.payload))
        return self._signed("payload", right.url, key.sign(header, payload))

    def _payload_bytes(self, key: ClientKey, right: Right, header: dict[str, Any]) -> Damaged:
        octets = right.payload if isinstance(right.payload, bytes) else _dumps(right.payload)
        return self._signed("payload bytes", right.url, key.sign(header, self._octets(octets)))

    def _within(self, key: ClientKey, right: Right, header: dict[str, Any]) -> Damaged:
        """The JWS or the DER within, where there is one."""
        payload, inner = right.payload, right.inner
        if inner is not None:
            changed = self._tree([inner.header, inner.payload])
            parts = changed if isinstance(changed, list) and len(changed) == 2 else [{}, changed]
            inner_header = parts[0] if isinstance(parts[0], dict) else {"": parts[0]}
            jws = inner.sign(inner_header, parts[1])
            return self._signed("inner JWS", right.url, key.sign(header, jws))
        if not (isinstance(payload, dict) and isinstance(payload.get("der"), bytes)):
            return self._payload(key, right, header)
        octets = bytearray(payload["der"])
        for _ in range(self._rng.randint(1, 3)):
            octets[self._rng.randrange(len(octets))] = self._rng.randrange(256)
        return self._signed("CSR", right.url, key.sign(header, {"csr": b64(bytes(octets))}))

    def _header(self, key: ClientKey, right: Right, header: dict[str, Any]) -> Damaged:
        changed = self._tree({"alg": key.algorithm, **header})
        return self._signed("header", right.url, key.sign(_dumps(changed), _shown(right.payload)))

    def _header_bytes(self, key: ClientKey, right: Right, header: dict[str, Any]) -> Damaged:
        octets = self._octets(_dumps({"alg": key.algorithm, **header}))
        return self._signed("header bytes", right.url, key.sign(octets, _shown(right.payload)))

    def _path(self, key: ClientKey, right: Right, header: dict[str, Any]) -> Damaged:
        """Another target, and a JWS that is right for it."""
        path = self._octets(right.url.removeprefix(self._origin).encode()).decode("latin-1")
        target = "/" + re.sub(r"[^!-~]", "~", path).lstrip("/")
        header["url"] = self._origin + target
        jws = key.sign(header, _shown(right.payload))
        return Damaged("path", target, _dumps(jws))

    # ---- after it was signed --------------------------------------------------------------------

    def _envelope(self, key: ClientKey, right: Right, header: dict[str, Any]) -> Damaged:
        jws = self._tree(key.sign(header, _shown(right.payload)))
        return self._signed("envelope", right.url, jws)

    def _body_bytes(self, key: ClientKey, right: Right, header: dict[str, Any]) -> Damaged:
        body = self._octets(_dumps(key.sign(header, _shown(right.payload))))
        return Damaged("body", right.url.removeprefix(self._origin), body)

    def _media_type(self, key: ClientKey, right: Right, header: dict[str, Any]) -> Damaged:
        body = _dumps(key.sign(header, _shown(right.payload)))
        kind = self._rng.choice(_TYPES)
        return Damaged("media type", right.url.removeprefix(self._origin), body, kind)

    def _http(self, key: ClientKey, right: Right, header: dict[str, Any]) -> Damaged:
        body = _dumps(key.sign(header, _shown(right.payload)))
        target = right.url.removeprefix(self._origin)
        rng = self._rng
        method = rng.choice(_METHODS) if rng.random() < 0.2 else "POST"
        version = (
            rng.choice(("HTTP/1.0", "HTTP/2.0", "HTTP/1.1 ", ""))
            if rng.random() < 0.1
            else "HTTP/1.1"
        )
        lines = ["Host: acme.example", f"Content-Type: {JOSE}", f"Content-Length: {len(body)}"]
        for _ in range(rng.randint(0, 2)):
            lines.insert(rng.randint(0, len(lines)), rng.choice(_LINES))
        if rng.random() < 0.2:
            del lines[rng.randrange(len(lines))]
        head = "\r\n".join([f"{method} {target} {version}", *lines]).encode() + b"\r\n\r\n"
        if rng.random() < 0.4:
            head = self._octets(head)
        return Damaged("HTTP", target, body, raw=head + body)

    # ---- how ------------------------------------------------------------------------------------

    def _signed(self, how: str, url: str, document: object) -> Damaged:
        return Damaged(how, url.removeprefix(self._origin), _dumps(document))

    def _value(self) -> object:
        return self._rng.choice(_VALUES)

    def _tree(self, value: object) -> object:
        """``value`` with one to three changes somewhere within."""
        changed: object = json.loads(_dumps(_jsonable(value)))
        for _ in range(self._rng.randint(1, 3)):
            changed = self._changed(changed)
        return changed

    def _changed(self, value: object) -> object:
        rng = self._rng
        if isinstance(value, dict) and value and rng.random() < 0.9:
            return self._changed_object(value)
        if isinstance(value, list) and value and rng.random() < 0.8:
            position = rng.randrange(len(value))
            if rng.random() < 0.3:
                return value[:position] + [value[position]] * rng.choice((0, 2, 3, 150))
            return [*value[:position], self._changed(value[position]), *value[position + 1 :]]
        if isinstance(value, str) and value and rng.random() < 0.6:
            return self._octets(value.encode(errors="surrogatepass")).decode("latin-1")
        return self._value()

    def _changed_object(self, value: dict[str, object]) -> dict[str, object]:
        rng = self._rng
        name = rng.choice(list(value))
        choice = rng.random()
        if choice < 0.15:
            return {other: value[other] for other in value if other != name}
        if choice < 0.3:
            return {**value, rng.choice(_NAMES): self._value()}
        if choice < 0.4:
            return {**value, name: value[rng.choice(list(value))]}
        return {**value, name: self._changed(value[name])}

    def _octets(self, octets: bytes) -> bytes:
        changed = bytearray(octets or b"x")
        rng = self._rng
        for _ in range(rng.randint(1, 3)):
            position = rng.randrange(len(changed))
            choice = rng.randrange(5)
            if choice == 0:
                changed[position] = rng.randrange(256)
            elif choice == 1:
                changed[position:position] = rng.choice(_BITS)
            elif choice == 2:
                del changed[position : position + rng.randint(1, 8)]
            elif choice == 3:
                changed[position:position] = changed[position : position + rng.randint(1, 60)]
            else:
                changed[position] ^= 1 << rng.randrange(8)
            changed = changed or bytearray(b"x")
        return bytes(changed)


def _dumps(document: object) -> bytes:
    return json.dumps(_jsonable(document)).encode()


def _jsonable(value: object) -> object:
    """A payload as it goes out: the DER of a CSR in base64url."""
    if isinstance(value, dict) and isinstance(value.get("der"), bytes):
        return {"csr": b64(value["der"])}
    return value


def _shown(payload: object) -> object:
    return payload if isinstance(payload, bytes) else _jsonable(payload)
