"""Problem documents of ACME (RFC 8555, section 6.7; RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from policy.model.errors import ErrorKind, Problem, ServerError

NAMESPACE = "urn:ietf:params:acme:error:"
# Longer than this, a detail isn't read by anybody.
_MAX_DETAIL_BYTES = 1000


class WireError(NamedTuple):
    """How a kind of error appears: its type without the namespace, and its HTTP status."""

    type: str
    status: HTTPStatus


_BAD_REQUEST = HTTPStatus.BAD_REQUEST
_FORBIDDEN = HTTPStatus.FORBIDDEN

# Kinds without an ACME type of their own use the registered one that fits (the namespace is for
# registered types only); the HTTP status tells them apart.
PROBLEMS: Mapping[ErrorKind, WireError] = {
    ErrorKind.ACCOUNT_DOES_NOT_EXIST: WireError("accountDoesNotExist", _BAD_REQUEST),
    ErrorKind.ALREADY_REVOKED: WireError("alreadyRevoked", _BAD_REQUEST),
    ErrorKind.BAD_CSR: WireError("badCSR", _BAD_REQUEST),
    ErrorKind.BAD_NONCE: WireError("badNonce", _BAD_REQUEST),
    ErrorKind.BAD_PUBLIC_KEY: WireError("badPublicKey", _BAD_REQUEST),
    ErrorKind.BAD_REVOCATION_REASON: WireError("badRevocationReason", _BAD_REQUEST),
    ErrorKind.BAD_SIGNATURE_ALGORITHM: WireError("badSignatureAlgorithm", _BAD_REQUEST),
    ErrorKind.CAA: WireError("caa", _FORBIDDEN),
    ErrorKind.COMPOUND: WireError("compound", _BAD_REQUEST),
    ErrorKind.CONNECTION: WireError("connection", _BAD_REQUEST),
    ErrorKind.DNS: WireError("dns", _BAD_REQUEST),
    ErrorKind.EXTERNAL_ACCOUNT_REQUIRED: WireError("externalAccountRequired", _FORBIDDEN),
    ErrorKind.INCORRECT_RESPONSE: WireError("incorrectResponse", _FORBIDDEN),
    ErrorKind.INVALID_CONTACT: WireError("invalidContact", _BAD_REQUEST),
    # draft-ietf-acme-profiles, section 6.3.
    ErrorKind.INVALID_PROFILE: WireError("invalidProfile", _BAD_REQUEST),
    ErrorKind.MALFORMED: WireError("malformed", _BAD_REQUEST),
    ErrorKind.ORDER_NOT_READY: WireError("orderNotReady", _FORBIDDEN),
    ErrorKind.RATE_LIMITED: WireError("rateLimited", HTTPStatus.TOO_MANY_REQUESTS),
    ErrorKind.REJECTED_IDENTIFIER: WireError("rejectedIdentifier", _BAD_REQUEST),
    ErrorKind.SERVER_INTERNAL: WireError("serverInternal", HTTPStatus.INTERNAL_SERVER_ERROR),
    ErrorKind.TLS: WireError("tls", _BAD_REQUEST),
    ErrorKind.UNAUTHORIZED: WireError("unauthorized", _FORBIDDEN),
    ErrorKind.UNSUPPORTED_CONTACT: WireError("unsupportedContact", _BAD_REQUEST),
    ErrorKind.UNSUPPORTED_IDENTIFIER: WireError("unsupportedIdentifier", _BAD_REQUEST),
    ErrorKind.USER_ACTION_REQUIRED: WireError("userActionRequired", _FORBIDDEN),
    ErrorKind.ACCOUNT_INACTIVE: WireError("unauthorized", HTTPStatus.UNAUTHORIZED),
    ErrorKind.CONFLICT: WireError("malformed", HTTPStatus.CONFLICT),
    ErrorKind.METHOD_NOT_ALLOWED: WireError("malformed", HTTPStatus.METHOD_NOT_ALLOWED),
    ErrorKind.NOT_FOUND: WireError("malformed", HTTPStatus.NOT_FOUND),
    ErrorKind.TOO_LARGE: WireError("malformed", HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    ErrorKind.UNAVAILABLE: WireError("serverInternal", HTTPStatus.SERVICE_UNAVAILABLE),
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: WireError("malformed", HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
}


def render_error(error: ServerError) -> dict[str, Any]:
    """The problem document of an answer. ``identifier`` stands in subproblems only, so an error
    about one name gets one (RFC 8555, section 6.7.1)."""
    document = _document(error.kind, error.detail)
    document["status"] = PROBLEMS[error.kind].status.value
    subproblems = error.subproblems
    if not subproblems and error.identifier is not None:
        subproblems = (error.as_problem(),)
    if subproblems:
        document["subproblems"] = [_render_subproblem(problem) for problem in subproblems]
    if error.kind is ErrorKind.BAD_SIGNATURE_ALGORITHM:
        document["algorithms"] = list(error.allowed)
    return document


def render_problem(problem: Problem) -> dict[str, Any]:
    """A problem kept with an order or a challenge; its ``status`` is advisory (RFC 9457, 3.1.2)."""
    document = _document(problem.kind, problem.detail)
    document["status"] = PROBLEMS[problem.kind].status.value
    if problem.subproblems:
        document["subproblems"] = [_render_subproblem(part) for part in problem.subproblems]
    return document


def _render_subproblem(problem: Problem) -> dict[str, Any]:
    document = _document(problem.kind, problem.detail)
    if problem.identifier is not None:
        identifier = problem.identifier
        document["identifier"] = {"type": str(identifier.type), "value": identifier.value}
    return document


def _document(kind: ErrorKind, detail: str) -> dict[str, Any]:
    return {"type": NAMESPACE + PROBLEMS[kind].type, "detail": _printable(detail)}


def _printable(detail: str) -> str:
    """``detail`` without what could break a terminal or a log of the client's, in 1,000 bytes."""
    if not detail.isprintable():
        detail = "".join(
            character if character.isprintable() else ascii(character)[1:-1] for character in detail
        )
    encoded = detail.encode()
    if len(encoded) <= _MAX_DETAIL_BYTES:
        return detail
    return encoded[: _MAX_DETAIL_BYTES - 3].decode(errors="ignore") + "…"
