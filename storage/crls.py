"""Published CRLs."""

from __future__ import annotations

from policy.model.certificates import Crl
from storage.pool import Database

_COLUMNS = "issuer, shard, number, this_update, next_update, der"
_FIND = f"SELECT {_COLUMNS} FROM crls WHERE issuer = $1 AND shard = $2"
# Decides between two publishers: the number grows, and one whose lease was taken over since
# (a lower fencing token) comes too late.
_PUBLISH = """
    WITH published AS (
        INSERT INTO crls (issuer, shard, number, fencing_token, this_update, next_update, der)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (issuer, shard) DO UPDATE
        SET number = excluded.number, fencing_token = excluded.fencing_token,
            this_update = excluded.this_update, next_update = excluded.next_update,
            der = excluded.der
        WHERE crls.number < excluded.number AND crls.fencing_token <= excluded.fencing_token
        RETURNING number
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT 'system:publication', 'crl_published', 'crl:' || $1::text || '/' || $2::int,
            jsonb_build_object('number', number)
        FROM published
    )
    SELECT count(*) FROM published
"""


class Crls:
    """The table of CRLs: the newest of each shard."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, issuer: str, shard: int) -> Crl | None:
        """The newest CRL of a shard."""
        row = await self._database.fetchrow(_FIND, issuer, shard)
        return None if row is None else Crl(**dict(row))

    async def publish(self, crl: Crl, fencing_token: int) -> bool:
        """Replace the shard's CRL by a newer one; False if ``crl`` comes too late."""
        return bool(
            await self._database.fetchval(
                _PUBLISH,
                crl.issuer,
                crl.shard,
                crl.number,
                fencing_token,
                crl.this_update,
                crl.next_update,
                crl.der,
            )
        )
