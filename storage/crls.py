"""Published CRLs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from policy.model.certificates import Crl
from storage.pool import Database

_COLUMNS = "issuer, shard, number, this_update, next_update, der"
_FIND = f"SELECT {_COLUMNS} FROM crls WHERE issuer = $1 AND shard = $2"
_STATES = """
    SELECT issuer, shard, number, this_update, requests
    FROM crls LEFT JOIN (
        SELECT issuer, shard, array_agg(id) AS requests FROM crl_requests GROUP BY issuer, shard
    ) AS requested USING (issuer, shard)
"""
# Decides between two publishers: the number grows, and one whose lease was taken over since
# (a lower fencing token) comes too late. The requests that it was made for are done with it.
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
    ), done AS (
        DELETE FROM crl_requests USING published WHERE id = ANY ($8)
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT 'system:publication', 'crl_published', 'crl:' || $1::text || '/' || $2::int,
            jsonb_build_object('number', number)
        FROM published
    )
    SELECT count(*) FROM published
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlState:
    """What is known of a shard's newest CRL without reading it. ``requests`` are those for a
    newer one: each stands for a revocation that it may not list."""

    number: int
    this_update: datetime
    requests: Sequence[UUID]


class Crls:
    """The table of CRLs: the newest of each shard."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, issuer: str, shard: int) -> Crl | None:
        """The newest CRL of a shard."""
        row = await self._database.fetchrow(_FIND, issuer, shard)
        return None if row is None else Crl(**dict(row))

    async def states(self) -> Mapping[tuple[str, int], CrlState]:
        """The state of each CRL, by issuer and shard."""
        return {
            (row["issuer"], row["shard"]): CrlState(
                number=row["number"],
                this_update=row["this_update"],
                requests=row["requests"] or (),
            )
            for row in await self._database.fetch(_STATES)
        }

    async def publish(self, crl: Crl, fencing_token: int, requests: Sequence[UUID] = ()) -> bool:
        """Replace the shard's CRL by a newer one, which does with ``requests``; False, and nothing
        is changed, if ``crl`` comes too late. What it lists must have been read after them."""
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
                list(requests),
            )
        )
