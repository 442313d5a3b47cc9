"""The external account binding of a newAccount request (RFC 8555, section 7.3.4).

Kept and shown again as its client sent it: in the compact serialization, which has the same
three texts.
"""

from __future__ import annotations

from collections.abc import Mapping

from acme_server.acme.jwk import Jwk, parse_jwk
from acme_server.acme.jws import UnverifiedJws, read_inner_jws
from acme_server.web.strictjson import parse_object
from acme_server.workflow.external_accounts import BindingProof
from policy.model.errors import ErrorKind, ServerError

_MEMBER = "externalAccountBinding"
_PARTS = ("protected", "payload", "signature")
_DIGESTS: Mapping[str, str] = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
_ALGORITHMS = tuple(_DIGESTS)
# An account carries its binding for ever; the largest key in use takes less than half of this.
_MAX_LENGTH = 8192


def parse_binding(unverified: object, account_key: Jwk, url: str) -> BindingProof:
    """The binding of ``account_key`` in a request to ``url``, all checked but the MAC.

    Raises ServerError(MALFORMED), whatever is wrong: it is not the request's own signature.
    """
    if not isinstance(unverified, dict):
        raise _malformed("must be a JWS in the flattened JSON serialization.")
    try:
        jws = read_inner_jws(unverified, _ALGORITHMS)
        key = parse_jwk(parse_object(jws.payload, "The payload of the JWS"))
    except ServerError as error:
        raise _malformed(f"is refused: {error.detail}") from error
    if key.thumbprint != account_key.thumbprint:
        raise _malformed("has another key in its payload than the request is signed with.")
    if jws.url != url:
        raise _malformed('must have the URL of the request in the header parameter "url".')
    return _proof(jws, ".".join(unverified[name] for name in _PARTS))


def render_binding(text: str) -> dict[str, str]:
    """The JWS that ``BindingProof.text`` stands for."""
    return dict(zip(_PARTS, text.split("."), strict=True))


def _proof(jws: UnverifiedJws, text: str) -> BindingProof:
    if jws.kid is None:
        raise _malformed('must have the key identifier in the header parameter "kid".')
    if len(text) > _MAX_LENGTH:
        raise _malformed("is too long.")
    return BindingProof(
        key_id=jws.kid,
        digest=_DIGESTS[jws.algorithm],
        message=jws.signed,
        code=jws.signature,
        text=text,
    )


def _malformed(rule: str) -> ServerError:
    return ServerError(ErrorKind.MALFORMED, f'"{_MEMBER}" {rule}')
