"""The states of rate limits, by the generic cell rate algorithm, exact over all replicas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from policy.limits import Demand
from storage.pool import Database

_TAKE = "SELECT place, wait FROM take_limits($1, $2, $3, $4, $5, $6, $7, $8)"
# Locked in the order of take_limits; whatever was taken since stays taken.
_GIVE_BACK = """
    WITH locked AS (
        SELECT l.kind, l.key, d.step
        FROM unnest($1::text[], $2::text[], $3::interval[]) AS d (kind, key, step)
        JOIN rate_limits AS l ON l.kind = d.kind AND l.key = d.key
        ORDER BY l.kind, l.key
        FOR UPDATE OF l
    )
    UPDATE rate_limits AS l SET given_back_at = l.given_back_at - locked.step
    FROM locked WHERE l.kind = locked.kind AND l.key = locked.key
"""
# Never refuses: what happened has happened. More than the burst doesn't lengthen the wait.
_COUNT = """
    INSERT INTO rate_limits AS l (kind, key, given_back_at) VALUES ($1, $2, now() + $3)
    ON CONFLICT (kind, key) DO UPDATE SET given_back_at = least(
        greatest(l.given_back_at, clock_timestamp()) + $3, clock_timestamp() + $3 * $4::integer
    )
"""
_RECORD_NAMES = """
    INSERT INTO issued_name_sets (name_set) VALUES ($1)
    ON CONFLICT (name_set) DO UPDATE SET issued_at = now()
"""
# Rows in use are skipped: their users may wait for rows that are being removed here.
_FORGET_STATES = """
    DELETE FROM rate_limits AS l USING (
        SELECT kind, key FROM rate_limits WHERE given_back_at <= now() LIMIT $1
        FOR UPDATE SKIP LOCKED
    ) AS stale
    WHERE l.kind = stale.kind AND l.key = stale.key
"""
_FORGET_NAMES = """
    DELETE FROM issued_name_sets AS n USING (
        SELECT name_set FROM issued_name_sets WHERE issued_at < now() - $2::interval LIMIT $1
        FOR UPDATE SKIP LOCKED
    ) AS stale
    WHERE n.name_set = stale.name_set
"""
# Longer than a certificate is valid, so that whoever renews in time is known.
_NAMES_KEPT = timedelta(days=430)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A demand of which nothing is left; ``wait`` is the exact time until there is."""

    demand: Demand
    wait: timedelta


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a set of demands: if any was refused, nothing was taken."""

    taken: tuple[Demand, ...]
    refused: tuple[Refusal, ...]


class Limits:
    """The tables of limits and of issued name sets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(
        self,
        demands: Sequence[Demand],
        *,
        names: bytes | None = None,
        at: datetime | None = None,
    ) -> Outcome:
        """Take one of each, all or none, in one statement.

        ``names`` is the name set of the request, for demands that spare renewals. ``at`` stands in
        for the database's clock. Raises ValueError for a demand that stands there twice.
        """
        if len({(demand.kind, demand.key) for demand in demands}) < len(demands):
            raise ValueError("a demand stands there twice")
        rows = await self._database.fetch(
            _TAKE,
            [demand.kind.value for demand in demands],
            [demand.key for demand in demands],
            [demand.limit.step for demand in demands],
            [demand.limit.burst for demand in demands],
            [demand.spends for demand in demands],
            [demand.spares_renewals for demand in demands],
            names,
            at,
        )
        counted = [(demands[row["place"] - 1], row["wait"]) for row in rows]
        refused = tuple(Refusal(demand, wait) for demand, wait in counted if wait)
        taken = () if refused else tuple(demand for demand, _ in counted if demand.spends)
        return Outcome(taken, refused)

    async def give_back(self, taken: Sequence[Demand]) -> None:
        """Undo a ``take``, since what it was for didn't come about."""
        await self._database.execute(
            _GIVE_BACK,
            [demand.kind.value for demand in taken],
            [demand.key for demand in taken],
            [demand.limit.step for demand in taken],
        )

    async def count(self, demand: Demand) -> None:
        """Take one even if none is left."""
        await self._database.execute(
            _COUNT, demand.kind.value, demand.key, demand.limit.step, demand.limit.burst
        )

    async def record_names(self, names: bytes) -> None:
        """Note that a certificate with this name set was issued."""
        await self._database.execute(_RECORD_NAMES, names)

    async def forget_stale(self, batch: int = 5_000) -> int:
        """Remove states that are as good as none, and name sets nobody renews; their number."""
        forgotten = 0
        for statement, arguments in ((_FORGET_STATES, ()), (_FORGET_NAMES, (_NAMES_KEPT,))):
            removed = batch
            while removed == batch:
                removed = await self._database.execute(statement, batch, *arguments)
                forgotten += removed
        return forgotten
