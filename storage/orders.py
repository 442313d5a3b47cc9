"""Orders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from policy.model.accounts import Caller
from policy.model.authorizations import NewAuthorization
from policy.model.errors import CallerStale
from policy.model.ids import OrderId
from policy.model.orders import NewOrder, Order
from storage.accounts import CALLER
from storage.pool import Database
from storage.rows import ORDER_COLUMNS, identifier_text, order_of

# Only valid authorizations are reused, so a pending one belongs to exactly one order, and the
# order can count those that it waits for.
_CREATE = f"""
    WITH {CALLER}, wanted AS (
        SELECT * FROM unnest($11::uuid[], $12::text[], $13::boolean[], $14::text[], $15::text[])
            WITH ORDINALITY AS w (id, identifier, wildcard, token, challenge_types, position)
    ), chosen AS (
        SELECT wanted.*, proven.id AS proven_id
        FROM wanted LEFT JOIN LATERAL (
            SELECT a.id
            FROM proven_names AS p JOIN authorizations AS a ON a.id = p.authorization_id
            WHERE $16 AND p.account_id = $1 AND p.identifier = wanted.identifier
                AND p.wildcard = wanted.wildcard AND p.expires_at > now()
                AND a.status = 'valid' AND a.expires_at > now()
        ) AS proven ON true
    ), made_authorizations AS (
        INSERT INTO authorizations
            (id, account_id, order_id, identifier, wildcard, status, token, challenge_types,
             expires_at)
        SELECT chosen.id, caller.id, $3, identifier, wildcard, 'pending', token,
            string_to_array(challenge_types, ','), now() + $10
        FROM chosen, caller WHERE proven_id IS NULL
    ), made AS (
        INSERT INTO orders
            (id, account_id, status, pending_authorizations, identifiers, authorization_ids,
             profile, profile_version, not_before, not_after, created_at, expires_at)
        SELECT $3, caller.id, CASE WHEN pending = 0 THEN 'ready' ELSE 'pending' END, pending, $4,
            ids, $5, $6, $7, $8, now(), now() + $9
        FROM caller, (
            SELECT count(*) FILTER (WHERE proven_id IS NULL) AS pending,
                array_agg(coalesce(proven_id, id) ORDER BY position) AS ids
            FROM chosen
        ) AS counted
        RETURNING *
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT 'account:' || account_id, 'order_created', 'order:' || id,
            jsonb_build_object('identifiers', identifiers, 'profile', profile)
        FROM made
    )
    SELECT {ORDER_COLUMNS} FROM made AS o
"""
_FIND = f"""
    WITH {CALLER}
    SELECT caller.id AS caller_id, {ORDER_COLUMNS}
    FROM caller LEFT JOIN orders AS o ON o.id = $3 AND o.account_id = caller.id
"""
_LIST = f"""
    WITH {CALLER}
    SELECT caller.id AS caller_id, {ORDER_COLUMNS}
    FROM caller LEFT JOIN (
        SELECT * FROM orders
        WHERE account_id = $1 AND ($3::uuid IS NULL OR id < $3)
        ORDER BY id DESC LIMIT $4
    ) AS o ON true
    ORDER BY o.id DESC
"""


class Orders:
    """The table of orders, for the accounts that placed them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        caller: Caller,
        new: NewOrder,
        authorizations: Sequence[NewAuthorization],
        *,
        order_lifetime: timedelta,
        authorization_lifetime: timedelta,
        reuses: bool = True,
    ) -> Order:
        """The order, with an authorization for each of ``authorizations``: a valid one of the
        caller where there is one and ``reuses``, else a new one. Raises CallerStale."""
        row = await self._database.fetchrow(
            _CREATE,
            caller.account_id,
            caller.thumbprint,
            new.id,
            [identifier_text(identifier) for identifier in new.identifiers],
            new.profile,
            new.profile_version,
            new.not_before,
            new.not_after,
            order_lifetime,
            authorization_lifetime,
            [entry.id for entry in authorizations],
            [identifier_text(entry.identifier) for entry in authorizations],
            [entry.wildcard for entry in authorizations],
            [entry.token for entry in authorizations],
            [",".join(entry.challenge_types) for entry in authorizations],
            reuses,
        )
        if row is None:
            raise CallerStale
        return order_of(row)

    async def find(self, caller: Caller, order_id: OrderId) -> Order | None:
        """The caller's order; None if it isn't theirs or isn't there. Raises CallerStale."""
        row = await self._database.fetchrow(_FIND, caller.account_id, caller.thumbprint, order_id)
        if row is None:
            raise CallerStale
        return None if row["order_id"] is None else order_of(row)

    async def list_for(self, caller: Caller, before: OrderId | None, limit: int) -> list[Order]:
        """The caller's orders, newest first, from the first before ``before``.

        Raises CallerStale.
        """
        rows = await self._database.fetch(
            _LIST, caller.account_id, caller.thumbprint, before, limit
        )
        if not rows:
            raise CallerStale
        return [order_of(row) for row in rows if row["order_id"] is not None]
