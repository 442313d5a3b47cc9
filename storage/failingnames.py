"""Names that accounts keep failing to prove, and those that are paused for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from policy.model.identifiers import Identifier
from policy.model.ids import AccountId
from storage.pool import Database
from storage.rows import identifier_of, identifier_text

# The row counts exactly, whoever else adds to it; who reaches the limit pauses, once.
_ADD = """
    WITH added AS (
        INSERT INTO failing_names AS f (account_id, identifier, failures, failed_at, paused_at)
        VALUES ($1, $2, 1, now(), CASE WHEN $3 <= 1 THEN now() END)
        ON CONFLICT (account_id, identifier) DO UPDATE
        SET failures = f.failures + 1, failed_at = now(), paused_at = coalesce(
            f.paused_at, CASE WHEN f.failures + 1 >= $3 THEN now() END
        )
        RETURNING failures, paused_at
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT 'system:validation', 'name_paused', 'account:' || $1::uuid,
            jsonb_build_object('identifier', $2::text, 'failures', failures)
        FROM added WHERE paused_at = now()
    )
    SELECT count(*) FROM added WHERE paused_at = now()
"""
_REMOVE = """
    WITH removed AS (
        DELETE FROM failing_names
        WHERE account_id = $1 AND ($2::text IS NULL OR identifier = $2)
            AND (NOT $4 OR paused_at IS NOT NULL)
        RETURNING identifier, paused_at
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT $3, 'name_unpaused', 'account:' || $1::uuid,
            jsonb_build_object('identifier', identifier)
        FROM removed WHERE paused_at IS NOT NULL
    )
    SELECT identifier FROM removed WHERE paused_at IS NOT NULL ORDER BY identifier
"""
_PAUSED = """
    SELECT identifier FROM failing_names
    WHERE account_id = $1 AND identifier = ANY ($2) AND paused_at IS NOT NULL
"""
_LIST_PAUSED = """
    SELECT identifier FROM failing_names
    WHERE account_id = $1 AND paused_at IS NOT NULL ORDER BY identifier LIMIT $2
"""
_FORGET = """
    DELETE FROM failing_names AS f USING (
        SELECT account_id, identifier FROM failing_names
        WHERE paused_at IS NULL AND failed_at < now() - $2::interval
        LIMIT $1 FOR UPDATE SKIP LOCKED
    ) AS stale
    WHERE f.account_id = stale.account_id AND f.identifier = stale.identifier
"""
# Failures that are further apart have nothing to do with each other.
_KEPT = timedelta(days=90)


class FailingNames:
    """The table of names by account. Names are base names, without the ``*.`` of a wildcard."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_failure(self, account: AccountId, name: Identifier, pause_after: int) -> bool:
        """Count a failure; True if it is the one that pauses the name, at ``pause_after``."""
        return bool(
            await self._database.fetchval(_ADD, account, identifier_text(name), pause_after)
        )

    async def note_success(self, account: AccountId, name: Identifier) -> None:
        """Begin to count anew; a paused name isn't any more."""
        await self._database.fetch(
            _REMOVE, account, identifier_text(name), "system:validation", False
        )

    async def unpause(
        self, account: AccountId, name: Identifier | None, *, actor: str
    ) -> Sequence[Identifier]:
        """End the pause of a name, or of all names of the account; those that were paused."""
        text = None if name is None else identifier_text(name)
        rows = await self._database.fetch(_REMOVE, account, text, actor, True)
        return [identifier_of(row["identifier"]) for row in rows]

    async def find_paused(
        self, account: AccountId, names: Iterable[Identifier]
    ) -> frozenset[Identifier]:
        """Those of ``names`` that are paused."""
        rows = await self._database.fetch(_PAUSED, account, list(map(identifier_text, names)))
        return frozenset(identifier_of(row["identifier"]) for row in rows)

    async def list_paused(self, account: AccountId, limit: int) -> Sequence[Identifier]:
        """The first paused names of an account, in the order of their texts."""
        rows = await self._database.fetch(_LIST_PAUSED, account, limit)
        return [identifier_of(row["identifier"]) for row in rows]

    async def forget_stale(self, batch: int = 5_000) -> int:
        """Remove counts of failures long ago; their number."""
        forgotten, removed = 0, batch
        while removed == batch:
            removed = await self._database.execute(_FORGET, batch, _KEPT)
            forgotten += removed
        return forgotten
