"""What keeps the database healthy: partitions ahead, expiry, figures."""

from __future__ import annotations

from storage.pool import Database

_ENSURE = "SELECT ensure_partitions($1)"
_EXPIRE_ORDERS = """
    WITH due AS (
        SELECT id FROM orders
        WHERE status IN ('pending', 'ready') AND expires_at <= now() AND id >= id_bound($2)
        LIMIT $1 FOR UPDATE SKIP LOCKED
    ), ended AS (
        UPDATE orders AS o SET status = 'invalid' FROM due WHERE o.id = due.id
        RETURNING o.id
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject)
        SELECT 'system:housekeeping', 'order_expired', 'order:' || id FROM ended
    )
    SELECT count(*) FROM ended
"""
_FORGET_PROOFS = """
    WITH unused AS (
        DELETE FROM preauthorizations WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM preauthorizations WHERE expires_at <= now() LIMIT $1))
        RETURNING 1
    ), forgotten AS (
        DELETE FROM proven_names WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM proven_names WHERE expires_at <= now() LIMIT $1))
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM unused) + (SELECT count(*) FROM forgotten)
"""
# Rows that one statement removes at most, so that none runs into its timeout.
_PIECE = 5_000
_IS_ALIVE = "SELECT 1"
_DURABILITY = """
    SELECT current_setting('fsync') AS fsync,
        current_setting('synchronous_commit') AS synchronous_commit
"""


class Maintenance:
    """Upkeep that no request waits for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure_partitions(self, months_ahead: int = 3) -> list[str]:
        """Make the partitions of the coming months; the names of new ones."""
        return [row[0] for row in await self._database.fetch(_ENSURE, months_ahead)]

    async def expire_orders(self, since: object, limit: int = 500) -> int:
        """Write down that unfinished orders made after ``since`` have expired; their number."""
        expired: int = await self._database.fetchval(_EXPIRE_ORDERS, limit, since)
        return expired

    async def forget_expired_proofs(self) -> int:
        """Remove entries of proofs that can't be reused any more; their number."""
        forgotten = 0
        while (count := await self._database.fetchval(_FORGET_PROOFS, _PIECE)) > 0:
            forgotten += count
        return forgotten

    async def check(self) -> None:
        """Raises DatabaseUnavailable unless the database answers."""
        await self._database.fetchval(_IS_ALIVE)

    async def durability(self) -> dict[str, str]:
        """The settings of the database that durability rests on."""
        row = await self._database.fetchrow(_DURABILITY)
        assert row is not None
        return dict(row)
