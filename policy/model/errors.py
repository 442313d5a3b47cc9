"""The one error that clients may be told about, and the problems that are kept with objects."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from policy.model.identifiers import Identifier, UnverifiedIdentifier


class ErrorKind(enum.StrEnum):
    """What went wrong, in the words of RFC 8555, section 6.7, and a few of HTTP's.

    Front ends map each kind to their own wire form (for ACME: ``acme_server/acme/problems.py``).
    """

    ACCOUNT_DOES_NOT_EXIST = "accountDoesNotExist"
    ALREADY_REVOKED = "alreadyRevoked"
    BAD_CSR = "badCSR"
    BAD_NONCE = "badNonce"
    BAD_PUBLIC_KEY = "badPublicKey"
    BAD_REVOCATION_REASON = "badRevocationReason"
    BAD_SIGNATURE_ALGORITHM = "badSignatureAlgorithm"
    CAA = "caa"
    COMPOUND = "compound"
    CONNECTION = "connection"
    DNS = "dns"
    EXTERNAL_ACCOUNT_REQUIRED = "externalAccountRequired"
    INCORRECT_RESPONSE = "incorrectResponse"
    INVALID_CONTACT = "invalidContact"
    INVALID_PROFILE = "invalidProfile"
    MALFORMED = "malformed"
    ORDER_NOT_READY = "orderNotReady"
    RATE_LIMITED = "rateLimited"
    REJECTED_IDENTIFIER = "rejectedIdentifier"
    SERVER_INTERNAL = "serverInternal"
    TLS = "tls"
    UNAUTHORIZED = "unauthorized"
    UNSUPPORTED_CONTACT = "unsupportedContact"
    UNSUPPORTED_IDENTIFIER = "unsupportedIdentifier"
    USER_ACTION_REQUIRED = "userActionRequired"
    # Not ACME error types of their own: the front end chooses the wire form.
    ACCOUNT_INACTIVE = "accountInactive"
    CONFLICT = "conflict"
    METHOD_NOT_ALLOWED = "methodNotAllowed"
    NOT_FOUND = "notFound"
    TOO_LARGE = "tooLarge"
    UNAVAILABLE = "unavailable"
    UNSUPPORTED_MEDIA_TYPE = "unsupportedMediaType"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A failure kept with an order or a challenge, and shown to its owner (RFC 8555, 6.7.1).

    ``identifier`` is one as it was sent where it was refused for its form.
    ``cause`` is a stable code of the cause (``validators/causes.py``), None where there is none.
    """

    kind: ErrorKind
    detail: str
    identifier: Identifier | UnverifiedIdentifier | None = None
    cause: str | None = None
    subproblems: tuple[Problem, ...] = ()


class ServerError(Exception):
    """A failure the client may be told; everything else is a defect and flies to the edge.

    ``retry_after`` is in seconds. ``location`` is the id of an object that the answer points
    to (the account that holds a key already). ``allowed`` lists what would have been accepted
    (signature algorithms, HTTP methods).
    """

    def __init__(
        self,
        kind: ErrorKind,
        detail: str,
        *,
        identifier: Identifier | UnverifiedIdentifier | None = None,
        subproblems: Sequence[Problem] = (),
        retry_after: int | None = None,
        location: str | None = None,
        allowed: Sequence[str] = (),
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.identifier = identifier
        self.subproblems = tuple(subproblems)
        self.retry_after = retry_after
        self.location = location
        self.allowed = tuple(allowed)

    def as_problem(self) -> Problem:
        """The same failure as a value that can be kept with an object."""
        return Problem(
            kind=self.kind,
            detail=self.detail,
            identifier=self.identifier,
            subproblems=self.subproblems,
        )


class DatabaseUnavailable(Exception):
    """The database can't be reached or didn't answer in time; the request may be sent again."""


class CallerStale(Exception):
    """The account or its key changed since the caller's signature was checked."""
