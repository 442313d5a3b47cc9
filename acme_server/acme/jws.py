"""The strict front parser for JSON Web Signatures (RFC 7515; RFC 8555, section 6.2).

One shape only: the flattened serialization with exactly ``protected``, ``payload`` and
``signature``, each in canonical base64url, and a protected header of known parameters. What
libraries tolerate beyond it (no signature, unprotected headers, padding, repeated members,
``b64`` and ``crit``, keys fetched by URL) never reaches a verifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from acme_server.acme import base64url
from acme_server.acme.jwk import SIGNATURE_ALGORITHMS, Jwk
from acme_server.web.strictjson import parse_object
from policy.model.errors import ErrorKind, ServerError

_MEMBERS = frozenset({"protected", "payload", "signature"})
_HEADERS = frozenset({"alg", "jwk", "kid", "nonce", "url"})
_INNER_HEADERS = _HEADERS - {"nonce"}


@dataclass(frozen=True, slots=True)
class UnverifiedJws:
    """A JWS of the right shape. Nothing in it may be believed before ``verify``.

    ``jwk`` is the embedded key's parsed JSON; exactly one of ``jwk`` and ``kid`` is given.
    ``payload`` is empty for POST-as-GET.
    """

    algorithm: str
    jwk: object | None
    kid: str | None
    nonce: str | None
    url: str
    payload: bytes
    signature: bytes
    signed: bytes

    def verify(self, key: Jwk) -> None:
        """Check the signature with ``key``. Raises ServerError(MALFORMED)."""
        if key.algorithm != self.algorithm:
            raise _malformed(f"is signed with {self.algorithm}, its key with {key.algorithm}")
        if not key.verifies(self.signature, self.signed):
            raise _malformed("has a signature that its key does not verify")


def parse_jws(body: bytes) -> UnverifiedJws:
    """The JWS in the body of a request.

    Raises ServerError: BAD_SIGNATURE_ALGORITHM, MALFORMED for everything else.
    """
    if not body:
        raise ServerError(
            ErrorKind.MALFORMED,
            "The request has no body; it must be a JWS, for a read one with an empty payload.",
        )
    return read_jws(parse_object(body, "The request body"))


def read_jws(document: Mapping[str, Any]) -> UnverifiedJws:
    """The JWS in a parsed JSON object. Raises ServerError as ``parse_jws``."""
    return _read(document, _HEADERS, SIGNATURE_ALGORITHMS)


def read_inner_jws(
    document: Mapping[str, Any], algorithms: Sequence[str] = SIGNATURE_ALGORITHMS
) -> UnverifiedJws:
    """The JWS nested in a payload, signed with one of ``algorithms``.

    The nonce is the outer one's affair: a header that has any is refused (RFC 8555, sections
    7.3.4 and 7.3.5). Raises ServerError as ``parse_jws``.
    """
    return _read(document, _INNER_HEADERS, algorithms)


def _read(
    document: Mapping[str, Any], headers: Set[str], algorithms: Sequence[str]
) -> UnverifiedJws:
    if document.keys() != _MEMBERS:
        raise _malformed('must have the members "protected", "payload", "signature" and no other')
    header = parse_object(_decode(document, "protected"), "The protected header of the JWS")
    if not headers >= header.keys():
        unknown = sorted(header.keys() - headers)[0][:32]
        raise _malformed(f'has the header parameter "{unknown}", which is not accepted')
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise ServerError(
            ErrorKind.BAD_SIGNATURE_ALGORITHM,
            f"The signature algorithm must be one of {', '.join(algorithms)}.",
            allowed=algorithms,
        )
    payload = _decode(document, "payload")
    signature = _decode(document, "signature")
    if not signature:
        raise _malformed("has an empty signature")
    if ("jwk" in header) == ("kid" in header):
        raise _malformed('must have exactly one of the header parameters "jwk" and "kid"')
    signed = f"{document['protected']}.{document['payload']}".encode("ascii")
    return UnverifiedJws(
        algorithm,
        header.get("jwk"),
        _optional_text(header, "kid"),
        _nonce(header),
        _url(header),
        payload,
        signature,
        signed,
    )


def _url(header: Mapping[str, Any]) -> str:
    url = header.get("url")
    if not isinstance(url, str) or not url:
        raise _malformed('must have the URL of the request in the header parameter "url"')
    return url


def _nonce(header: Mapping[str, Any]) -> str | None:
    """RFC 8555, section 6.5.2. An empty one is as good as none: the client may get a fresh one."""
    nonce = _optional_text(header, "nonce")
    if not nonce:
        return None
    try:
        base64url.decode(nonce)
    except ValueError as error:
        raise _malformed("has a nonce that is not base64url without padding") from error
    return nonce


def _optional_text(header: Mapping[str, Any], name: str) -> str | None:
    value = header.get(name)
    if name in header and not isinstance(value, str):
        raise _malformed(f'must have a string in the header parameter "{name}"')
    return value


def _decode(document: Mapping[str, Any], name: str) -> bytes:
    text = document[name]
    if not isinstance(text, str):
        raise _malformed(f'must have a string in "{name}"')
    try:
        return base64url.decode(text)
    except ValueError as error:
        raise _malformed(f'must have base64url without padding in "{name}"') from error


def _malformed(rule: str) -> ServerError:
    return ServerError(ErrorKind.MALFORMED, f"The JWS {rule}.")
