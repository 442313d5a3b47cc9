"""Issuance: the claim of an order, the signature, and what recovery finds."""

from __future__ import annotations

import enum
from datetime import timedelta

import asyncpg

from policy.model.accounts import Caller
from policy.model.authorizations import Authorization
from policy.model.certificates import Certificate, Reservation, RevocationReason
from policy.model.errors import CallerStale, Problem
from policy.model.ids import CertificateId, OrderId
from policy.model.orders import Order
from storage.accounts import CALLER
from storage.pool import Database
from storage.rows import (
    AUTHORIZATION_COLUMNS,
    CERTIFICATE_COLUMNS,
    ORDER_COLUMNS,
    authorizations_of,
    certificate_of,
    identifier_text,
    order_of,
    problem_json,
)

_READ = f"""
    WITH {CALLER}
    SELECT caller.id AS caller_id, {ORDER_COLUMNS}, {AUTHORIZATION_COLUMNS},
        CASE WHEN EXISTS (SELECT FROM accounts WHERE thumbprint = $4) THEN 'account'
            WHEN EXISTS (SELECT FROM blocked_keys WHERE thumbprint = $4) THEN 'blocked'
        END AS key_use
    FROM caller
    LEFT JOIN orders AS o ON o.id = $3 AND o.account_id = caller.id
    LEFT JOIN LATERAL unnest(o.authorization_ids) WITH ORDINALITY AS part (id, position) ON true
    LEFT JOIN authorizations AS a ON a.id = part.id
    LEFT JOIN validations AS v ON v.authorization_id = a.id AND v.status = 'valid'
    ORDER BY part.position
"""
# Decides the race between finalize requests: one finds the order ready. The proofs and the key are
# looked at once more in the same statement, since what was read may be seconds old; serial and
# bytes are durable with the order's move.
_CLAIM = f"""
    WITH {CALLER}, claimed AS (
        UPDATE orders AS o SET status = 'processing', certificate_id = $4
        FROM caller
        WHERE o.id = $3 AND o.account_id = caller.id AND o.status = 'ready'
            AND o.expires_at > now()
            AND NOT EXISTS (
                SELECT FROM unnest(o.authorization_ids) AS part (id)
                LEFT JOIN authorizations AS a ON a.id = part.id
                WHERE a.status IS DISTINCT FROM 'valid' OR a.expires_at <= now()
            )
            AND NOT EXISTS (SELECT FROM accounts WHERE thumbprint = $17)
            AND NOT EXISTS (SELECT FROM blocked_keys WHERE thumbprint = $17)
        RETURNING o.id, o.account_id
    ), numbered AS (
        INSERT INTO serials (serial, certificate_id) SELECT $5, $4 FROM claimed
    ), reserved AS (
        INSERT INTO certificates
            (id, serial, issuer, shard, status, account_id, order_id, profile, profile_version,
             identifiers, not_before, not_after, spki_sha256, owner, lease_until, tbs)
        SELECT $4, $5, $6, $7, 'reserved', account_id, id, $8, $9, $10, $11, $12, $13, $15,
            now() + $16, $14
        FROM claimed
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT 'account:' || account_id, 'order_claimed', 'order:' || id,
            jsonb_build_object('certificate', $4::uuid, 'serial', encode($5, 'hex'))
        FROM claimed
    )
    SELECT caller.id AS caller_id, (SELECT count(*) FROM claimed) AS claimed,
        CASE WHEN EXISTS (SELECT FROM accounts WHERE thumbprint = $17) THEN 'account'
            WHEN EXISTS (SELECT FROM blocked_keys WHERE thumbprint = $17) THEN 'blocked'
        END AS key_use
    FROM caller
"""
_RESERVE_INTERNAL = """
    WITH numbered AS (
        INSERT INTO serials (serial, certificate_id) VALUES ($2, $1)
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        VALUES ($14, 'certificate_reserved', 'certificate:' || $1::uuid,
            jsonb_build_object('serial', encode($2, 'hex')))
    )
    INSERT INTO certificates
        (id, serial, issuer, shard, status, profile, profile_version, identifiers, not_before,
         not_after, spki_sha256, owner, lease_until, tbs)
    VALUES ($1, $2, $3, $4, 'reserved', $5, $6, $7, $8, $9, $10, $12, now() + $13, $11)
"""
# Decides between the process that claimed and recovery: both sign the same bytes, one stores.
_COMPLETE = """
    WITH signed AS (
        UPDATE certificates SET status = 'issued', signature = $2
        WHERE id = $1 AND status = 'reserved'
        RETURNING id, order_id, serial
    ), ordered AS (
        UPDATE orders AS o SET status = 'valid'
        FROM signed WHERE o.id = signed.order_id AND o.status = 'processing'
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT 'system:issuance', 'certificate_issued', 'certificate:' || id,
            jsonb_build_object('order', order_id, 'serial', encode(serial, 'hex'))
        FROM signed
    )
    SELECT count(*) FROM signed
"""
_ORPHAN = """
    WITH orphaned AS (
        UPDATE certificates
        SET status = 'orphaned', revoked_at = date_trunc('second', now()), revocation_reason = $2
        WHERE id = $1 AND status = 'reserved'
        RETURNING id, order_id, serial
    ), ordered AS (
        UPDATE orders AS o SET status = 'invalid', error = $3
        FROM orphaned WHERE o.id = orphaned.order_id AND o.status = 'processing'
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT 'system:issuance', 'certificate_orphaned', 'certificate:' || id,
            jsonb_build_object('order', order_id, 'serial', encode(serial, 'hex'))
        FROM orphaned
    )
    SELECT count(*) FROM orphaned
"""
# Decides which process recovers: rows that another one is taking are skipped.
_TAKE_ABANDONED = f"""
    UPDATE certificates AS c SET owner = $1, lease_until = now() + $2
    FROM (
        SELECT id FROM certificates
        WHERE status = 'reserved' AND lease_until < now()
        ORDER BY lease_until LIMIT $3
        FOR UPDATE SKIP LOCKED
    ) AS abandoned
    WHERE c.id = abandoned.id
    RETURNING {CERTIFICATE_COLUMNS}
"""


class SerialTaken(Exception):
    """The serial was handed out before; nothing was changed."""


class KeyUse(enum.Enum):
    """Why a key gets no certificate: an account has it, or it was reported as compromised."""

    ACCOUNT = "account"
    BLOCKED = "blocked"


class KeyTaken(Exception):
    """The key gets no certificate any more, for the ``use`` it has; nothing was changed."""

    def __init__(self, use: KeyUse) -> None:
        super().__init__(use.value)
        self.use = use


class Issuances:
    """From a ready order to a signed certificate."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(
        self, caller: Caller, order_id: OrderId, thumbprint: bytes
    ) -> tuple[Order, tuple[Authorization, ...], KeyUse | None] | None:
        """What finalize must know: the order, its authorizations, and what keeps the key with
        this ``thumbprint`` out of certificates. None if the order isn't the caller's or isn't
        there.

        Raises CallerStale.
        """
        rows = await self._database.fetch(
            _READ, caller.account_id, caller.thumbprint, order_id, thumbprint
        )
        if not rows:
            raise CallerStale
        if rows[0]["order_id"] is None:
            return None
        use = rows[0]["key_use"]
        return order_of(rows[0]), authorizations_of(rows), None if use is None else KeyUse(use)

    async def claim(
        self,
        caller: Caller,
        order_id: OrderId,
        reservation: Reservation,
        thumbprint: bytes,
        *,
        owner: str,
        lease: timedelta,
    ) -> bool:
        """Commit the reservation with the order's move to processing; False if the order is not
        ready or a proof no longer holds. ``thumbprint`` is the key's. Others recover the
        reservation when ``lease`` is over.

        Raises SerialTaken, KeyTaken, CallerStale.
        """
        try:
            row = await self._database.fetchrow(
                _CLAIM,
                caller.account_id,
                caller.thumbprint,
                order_id,
                reservation.id,
                reservation.serial,
                reservation.issuer,
                reservation.shard,
                reservation.profile,
                reservation.profile_version,
                [identifier_text(identifier) for identifier in reservation.identifiers],
                reservation.not_before,
                reservation.not_after,
                reservation.spki_sha256,
                reservation.tbs,
                owner,
                lease,
                thumbprint,
            )
        except asyncpg.UniqueViolationError as error:
            raise SerialTaken(reservation.serial.hex()) from error
        if row is None:
            raise CallerStale
        is_claimed: bool = row["claimed"] == 1
        if not is_claimed and row["key_use"] is not None:
            raise KeyTaken(KeyUse(row["key_use"]))
        return is_claimed

    async def reserve_internal(
        self, reservation: Reservation, *, requester: str, owner: str, lease: timedelta
    ) -> None:
        """Commit a reservation for the server's own use. Raises SerialTaken."""
        try:
            await self._database.execute(
                _RESERVE_INTERNAL,
                reservation.id,
                reservation.serial,
                reservation.issuer,
                reservation.shard,
                reservation.profile,
                reservation.profile_version,
                [identifier_text(identifier) for identifier in reservation.identifiers],
                reservation.not_before,
                reservation.not_after,
                reservation.spki_sha256,
                reservation.tbs,
                owner,
                lease,
                requester,
            )
        except asyncpg.UniqueViolationError as error:
            raise SerialTaken(reservation.serial.hex()) from error

    async def complete(self, certificate_id: CertificateId, signature: bytes) -> bool:
        """Record the signature with the order's move to valid; False if it was recorded before."""
        return bool(await self._database.fetchval(_COMPLETE, certificate_id, signature))

    async def orphan(self, certificate_id: CertificateId, problem: Problem) -> bool:
        """Give a reservation up whose signing has an unknown outcome: its serial counts as issued
        and is revoked, its order is invalid. False if it was completed meanwhile."""
        return bool(
            await self._database.fetchval(
                _ORPHAN,
                certificate_id,
                RevocationReason.CESSATION_OF_OPERATION,
                problem_json(problem),
            )
        )

    async def take_abandoned(self, owner: str, lease: timedelta, limit: int) -> list[Certificate]:
        """Reservations whose lease is over, now leased to ``owner``."""
        rows = await self._database.fetch(_TAKE_ABANDONED, owner, lease, limit)
        return [certificate_of(row) for row in rows]
