"""What operators look up, whoever's it is. Nothing here is on a request's way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from policy.model.authorizations import Authorization, ChallengeStatus
from policy.model.certificates import Certificate, CertificateStatus
from policy.model.errors import Problem
from policy.model.identifiers import Identifier
from policy.model.ids import AccountId, AuthorizationId, CertificateId, OrderId
from policy.model.orders import Order
from storage.pool import Database, Record
from storage.rows import (
    AUTHORIZATION_COLUMNS,
    CERTIFICATE_COLUMNS,
    ORDER_COLUMNS,
    authorizations_of,
    certificate_of,
    identifier_text,
    order_of,
    problem_of,
)

_ORDER = f"""
    SELECT {ORDER_COLUMNS}, o.certificate_id AS claimed_certificate_id
    FROM orders AS o WHERE o.id = $1
"""
_ORDERS_OF = f"""
    SELECT {ORDER_COLUMNS} FROM orders AS o
    WHERE o.account_id = $1 AND ($2::uuid IS NULL OR o.id < $2)
    ORDER BY o.id DESC LIMIT $3
"""
_AUTHORIZATIONS = f"""
    SELECT {AUTHORIZATION_COLUMNS}, v.attempt, v.owner, v.answered_at,
        v.evidence::text AS evidence
    FROM authorizations AS a LEFT JOIN validations AS v ON v.authorization_id = a.id
    WHERE a.id = ANY ($1)
    ORDER BY array_position($1, a.id), v.answered_at
"""
_CERTIFICATE = f"SELECT {CERTIFICATE_COLUMNS} FROM certificates AS c WHERE c.id = $1"
_CERTIFICATES = f"""
    SELECT {CERTIFICATE_COLUMNS} FROM certificates AS c
    WHERE ($1::uuid IS NULL OR c.id < $1)
        AND ($3::text[] IS NULL OR c.identifiers && $3)
        AND ($4::uuid IS NULL OR c.account_id = $4)
        AND ($5::text IS NULL OR c.status = $5)
        AND ($6::boolean IS NULL OR (c.revoked_at IS NOT NULL) = $6)
        AND ($7::interval IS NULL OR c.not_after BETWEEN now() AND now() + $7)
    ORDER BY c.id DESC LIMIT $2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedValidation:
    """A challenge that was answered, with what came of it.

    ``attempt`` counts the processes that took it on, ``owner`` is the last of them; ``evidence``
    is what the validator did and saw, None while it runs.
    """

    authorization_id: AuthorizationId
    type: str
    status: ChallengeStatus
    attempt: int
    owner: str
    answered_at: datetime
    ended_at: datetime | None
    problem: Problem | None
    evidence: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFilter:
    """Which certificates are wanted; None: any. ``expires_within`` is from now on."""

    identifiers: tuple[Identifier, ...] | None = None
    account_id: AccountId | None = None
    status: CertificateStatus | None = None
    is_revoked: bool | None = None
    expires_within: timedelta | None = None


class Lookups:
    """Finds objects of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def order(self, order_id: OrderId) -> tuple[Order, CertificateId | None] | None:
        """The order, and the certificate that it claimed, whatever became of it."""
        row = await self._database.fetchrow(_ORDER, order_id)
        if row is None:
            return None
        claimed = row["claimed_certificate_id"]
        return order_of(row), None if claimed is None else CertificateId(claimed)

    async def orders_of(
        self, account_id: AccountId, before: OrderId | None, limit: int
    ) -> list[Order]:
        """The account's orders, newest first, from the first before ``before``."""
        rows = await self._database.fetch(_ORDERS_OF, account_id, before, limit)
        return [order_of(row) for row in rows]

    async def authorizations(
        self, ids: Sequence[AuthorizationId]
    ) -> tuple[tuple[Authorization, ...], list[RecordedValidation]]:
        """The authorizations in the order of ``ids``, and what was done to validate them."""
        rows = await self._database.fetch(_AUTHORIZATIONS, list(ids))
        validations = [_validation(row) for row in rows if row["validation_type"] is not None]
        return authorizations_of(rows), validations

    async def certificate(self, certificate_id: CertificateId) -> Certificate | None:
        """The certificate with this id."""
        row = await self._database.fetchrow(_CERTIFICATE, certificate_id)
        return None if row is None else certificate_of(row)

    async def certificates(
        self, wanted: CertificateFilter, before: CertificateId | None, limit: int
    ) -> list[Certificate]:
        """The wanted certificates, newest first, from the first before ``before``."""
        identifiers = wanted.identifiers
        rows = await self._database.fetch(
            _CERTIFICATES,
            before,
            limit,
            None if identifiers is None else [identifier_text(entry) for entry in identifiers],
            wanted.account_id,
            wanted.status,
            wanted.is_revoked,
            wanted.expires_within,
        )
        return [certificate_of(row) for row in rows]


def _validation(row: Record) -> RecordedValidation:
    evidence = row["evidence"]
    return RecordedValidation(
        authorization_id=AuthorizationId(row["authorization_id"]),
        type=row["validation_type"],
        status=ChallengeStatus(row["validation_status"]),
        attempt=row["attempt"],
        owner=row["owner"],
        answered_at=row["answered_at"],
        ended_at=row["validation_ended_at"],
        problem=problem_of(row["validation_error"]),
        evidence=None if evidence is None else orjson.loads(evidence),
    )
