"""Authorizations and challenges (RFC 8555, sections 7.1.4 to 7.1.6)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from policy.model.errors import Problem
from policy.model.identifiers import Identifier
from policy.model.ids import AccountId, AuthorizationId, OrderId


class AuthorizationStatus(enum.StrEnum):
    """The states of an authorization."""

    PENDING = "pending"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"
    REVOKED = "revoked"


AUTHORIZATION_MOVES: Mapping[AuthorizationStatus, frozenset[AuthorizationStatus]] = {
    AuthorizationStatus.PENDING: frozenset(
        {
            AuthorizationStatus.VALID,
            AuthorizationStatus.INVALID,
            AuthorizationStatus.DEACTIVATED,
            AuthorizationStatus.EXPIRED,
        }
    ),
    AuthorizationStatus.VALID: frozenset(
        {
            AuthorizationStatus.DEACTIVATED,
            AuthorizationStatus.EXPIRED,
            AuthorizationStatus.REVOKED,
        }
    ),
    AuthorizationStatus.INVALID: frozenset(),
    AuthorizationStatus.DEACTIVATED: frozenset(),
    AuthorizationStatus.EXPIRED: frozenset(),
    AuthorizationStatus.REVOKED: frozenset(),
}


class ChallengeStatus(enum.StrEnum):
    """The states of a challenge."""

    PENDING = "pending"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


CHALLENGE_MOVES: Mapping[ChallengeStatus, frozenset[ChallengeStatus]] = {
    ChallengeStatus.PENDING: frozenset({ChallengeStatus.PROCESSING}),
    ChallengeStatus.PROCESSING: frozenset({ChallengeStatus.VALID, ChallengeStatus.INVALID}),
    ChallengeStatus.VALID: frozenset(),
    ChallengeStatus.INVALID: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way to prove control. ``type`` is the registered name, such as ``http-01``."""

    type: str
    status: ChallengeStatus
    token: str
    validated_at: datetime | None = None
    error: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """One account's authorization for one base name; ``identifier`` never carries ``*.``.

    An authorization past ``expires_at`` is read as EXPIRED. ``challenges`` are those offered.
    """

    id: AuthorizationId
    account_id: AccountId
    order_id: OrderId | None
    identifier: Identifier
    wildcard: bool
    status: AuthorizationStatus
    expires_at: datetime
    challenges: tuple[Challenge, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one attempt did and saw. Kept for the operator, never shown to the client.

    ``facts`` is JSON-ready: resolver, addresses, redirects, TXT values, TLS details … as the
    validator met them, every string escaped and cut.
    """

    method: str
    perspective: str
    started_at: datetime
    finished_at: datetime
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a validation ended: ``problem`` is None exactly when control was proven.

    ``is_ours`` says that it was this server that could not look, not the applicant who failed;
    ``reliance`` is how long other orders may rely on the proof, None where the proof itself sets
    no bound.
    """

    problem: Problem | None
    evidence: Evidence
    reliance: timedelta | None = None
    is_ours: bool = False

    @property
    def is_valid(self) -> bool:
        """Whether control was proven."""
        return self.problem is None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationTask:
    """A challenge that its owner asked to have validated, claimed under a lease.

    ``thumbprint`` is the account key's at the time of the answer. ``attempt`` counts claims; a
    result is taken only from the claim that made it.
    """

    authorization_id: AuthorizationId
    account_id: AccountId
    identifier: Identifier
    wildcard: bool
    type: str
    token: str
    thumbprint: bytes
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAuthorization:
    """The authorization to create for a name unless a valid one can be reused.

    ``identifier`` is the base name. ``token`` is shared by all its challenges.
    """

    id: AuthorizationId
    identifier: Identifier
    wildcard: bool
    token: str
    challenge_types: tuple[str, ...]
