"""Audit events, and the sealed batches over them. Both are append-only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from storage.pool import Database

_LIST = """
    SELECT id, at, transaction_id::text AS transaction_id, actor, action, subject,
        detail::text AS detail
    FROM audit_events WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2
"""
_FOR_SUBJECT = """
    SELECT id, at, transaction_id::text AS transaction_id, actor, action, subject,
        detail::text AS detail
    FROM audit_events WHERE subject = ANY ($1) AND id >= $2 ORDER BY id LIMIT $3
"""
# In the order of transactions, of those that ended before every transaction that still runs:
# nothing can be added in front of what was read.
_UNSEALED = """
    WITH sealed AS (
        SELECT coalesce(max(last_transaction), '0'::xid8) AS last_transaction FROM audit_batches
    )
    SELECT id, at, transaction_id::text AS transaction_id, actor, action, subject,
        detail::text AS detail
    FROM audit_events, sealed
    WHERE transaction_id > sealed.last_transaction
        AND transaction_id < audit_horizon()
    ORDER BY audit_events.transaction_id, audit_events.id -- numbers; the texts sort otherwise
    LIMIT $1
"""
_LAST_BATCH = "SELECT number, root FROM audit_batches ORDER BY number DESC LIMIT 1"
# Decides between two sealers: one of them makes batch ``number``.
_SEAL = """
    INSERT INTO audit_batches
        (number, last_transaction, last_event, events, root, checkpoint)
    VALUES ($1, $2::text::xid8, $3, $4, $5, $6)
    ON CONFLICT (number) DO NOTHING
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """Who did what to which object. ``detail`` is JSON text as PostgreSQL prints it."""

    id: UUID
    at: datetime
    transaction_id: str
    actor: str
    action: str
    subject: str
    detail: str | None


class AuditEvents:
    """The tables of events and batches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, after: UUID | None, limit: int) -> Sequence[AuditEvent]:
        """Events in the order of their ids, from the first after ``after``."""
        return [AuditEvent(**dict(row)) for row in await self._database.fetch(_LIST, after, limit)]

    async def about(self, subjects: Sequence[str], since: UUID, limit: int) -> Sequence[AuditEvent]:
        """Events about any of ``subjects`` (``order:…``) with ids from ``since`` on."""
        rows = await self._database.fetch(_FOR_SUBJECT, list(subjects), since, limit)
        return [AuditEvent(**dict(row)) for row in rows]

    async def unsealed(self, limit: int) -> Sequence[AuditEvent]:
        """The events to seal next, in the order to seal them in, whole transactions only unless
        one alone exceeds ``limit``."""
        rows = await self._database.fetch(_UNSEALED, limit)
        events = [AuditEvent(**dict(row)) for row in rows]
        if len(events) == limit:
            last = events[-1].transaction_id
            return [event for event in events if event.transaction_id != last] or events
        return events

    async def last_batch(self) -> tuple[int, bytes] | None:
        """Number and root of the newest batch."""
        row = await self._database.fetchrow(_LAST_BATCH)
        return None if row is None else (row["number"], row["root"])

    async def seal(
        self, number: int, last: AuditEvent, events: int, root: bytes, checkpoint: bytes
    ) -> bool:
        """Record a batch that ends with ``last``; False if there is one of that number."""
        return bool(
            await self._database.execute(
                _SEAL, number, last.transaction_id, last.id, events, root, checkpoint
            )
        )
