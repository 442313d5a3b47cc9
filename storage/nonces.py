"""The ledger of redeemed nonces: two unlogged tables used in turn.

A nonce sealed in period ``k`` (of twice a nonce's lifetime) is redeemed into table ``k mod 2``.
It is too old at the middle of period ``k + 1`` at the latest, so from then on the table can be
emptied as a whole, before period ``k + 2`` uses it again. Age is judged by the database's clock.

PostgreSQL empties unlogged tables when it recovers from a crash, the row of the epoch with them:
without it nothing is accepted, and a new epoch begins that older nonces don't belong to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from storage.pool import Database

# A nonce from the future: a replica whose clock went ahead since it last asked the database.
_TOLERANCE_SECONDS = 60

_REDEEM = """
    WITH present AS (
        SELECT extract(epoch FROM clock_timestamp())::double precision AS now
    ), ledger AS (
        SELECT epoch, horizon FROM nonce_epoch
    ), batch AS (
        SELECT id, second / $3 % 2 AS side
        FROM unnest($1::bytea[], $2::bigint[]) AS sent (id, second), present, ledger
        WHERE second > now - $4 AND second <= now + $5 AND second >= horizon
    ), redeemed_a AS (
        INSERT INTO nonces_a (id) SELECT id FROM batch WHERE side = 0
        ON CONFLICT DO NOTHING RETURNING id
    ), redeemed_b AS (
        INSERT INTO nonces_b (id) SELECT id FROM batch WHERE side = 1
        ON CONFLICT DO NOTHING RETURNING id
    )
    SELECT now, (SELECT epoch FROM ledger) AS epoch,
        ARRAY (SELECT id FROM redeemed_a UNION ALL SELECT id FROM redeemed_b) AS accepted
    FROM present
"""
# Decides which process begins the epoch after the tables were emptied. Nonces that were sealed
# up to now may have been redeemed before.
_BEGIN_EPOCH = """
    INSERT INTO nonce_epoch (epoch, horizon)
    VALUES (substring(uuid_send(gen_random_uuid()) FROM 1 FOR 8),
        floor(extract(epoch FROM clock_timestamp()))::bigint)
    ON CONFLICT DO NOTHING
"""
_PHASE = """
    SELECT floor(extract(epoch FROM clock_timestamp()) / $1)::bigint AS period,
        extract(epoch FROM clock_timestamp())::bigint % $1 >= $1 / 2 AS is_second_half
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeemResult:
    """``accepted`` are the identifiers now redeemed for the first time; ``epoch`` is 8 bytes;
    ``now`` the database's clock in Unix seconds."""

    accepted: set[bytes]
    epoch: bytes
    now: float


class NonceLedger:
    """What was redeemed, for nonces that live ``lifetime``."""

    def __init__(self, database: Database, *, lifetime: timedelta = timedelta(hours=1)) -> None:
        self._database = database
        self._lifetime = int(lifetime.total_seconds())
        self._period = 2 * self._lifetime

    async def redeem(self, batch: Sequence[tuple[bytes, int]]) -> RedeemResult:
        """Redeem (identifier, second it was sealed in) pairs, all in one statement."""
        while True:
            row = await self._database.fetchrow(
                _REDEEM,
                [identifier for identifier, _ in batch],
                [second for _, second in batch],
                self._period,
                self._lifetime,
                _TOLERANCE_SECONDS,
            )
            assert row is not None
            if row["epoch"] is not None:
                return RedeemResult(
                    accepted=set(row["accepted"]), epoch=row["epoch"], now=row["now"]
                )
            await self._database.execute(_BEGIN_EPOCH)

    async def truncate_old(self) -> bool:
        """Empty the table that is not in use, if its nonces are too old by now."""
        row = await self._database.fetchrow(_PHASE, self._period)
        assert row is not None
        if not row["is_second_half"]:
            return False
        table = "nonces_b" if row["period"] % 2 == 0 else "nonces_a"
        if not await self._database.fetchval(f"SELECT EXISTS (SELECT FROM {table})"):
            return False
        await self._database.execute(f"TRUNCATE {table}")
        return True
