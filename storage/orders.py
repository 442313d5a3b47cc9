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

# A pending authorization belongs to one order at most, so the order can count those that it waits
# for: a new one, or one that was asked for before (RFC 8555, section 7.4.1) and is taken with it.
_CREATE_TEMPLATE = f"""
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
                AND p.method = ANY (string_to_array(wanted.challenge_types, ','))
                AND a.status = 'valid' AND a.expires_at > now()
            -- Looked up by the whole key, one name at a time; without this the planner reads all
            -- that the account ever proved.
            LIMIT 1
        ) AS proven ON true
    ), %s
    made_authorizations AS (
        INSERT INTO authorizations
            (id, account_id, order_id, identifier, wildcard, status, token, challenge_types,
             expires_at)
        SELECT held.id, asking.id, $3, identifier, wildcard, 'pending', token,
            string_to_array(challenge_types, ','), now() + $10
        FROM held, asking WHERE held_id IS NULL
    ), made AS (
        INSERT INTO orders
            (id, account_id, status, pending_authorizations, identifiers, authorization_ids,
             profile, profile_version, not_before, not_after, created_at, expires_at)
        SELECT $3, asking.id, CASE WHEN pending = 0 THEN 'ready' ELSE 'pending' END, pending, $4,
            ids, $5, $6, $7, $8, now(), now() + $9
        FROM asking, (
            SELECT count(*) FILTER (WHERE is_open) AS pending,
                array_agg(coalesce(held_id, id) ORDER BY position) AS ids
            FROM held
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
# Nearly every order: it does nothing if the account has pre-authorized one of the names.
_CREATE = (
    _CREATE_TEMPLATE
    % """
    asking AS (
        SELECT id FROM caller
        WHERE NOT EXISTS (
            SELECT FROM preauthorizations WHERE account_id = $1 AND identifier = ANY ($12)
        )
    ), held AS (
        SELECT chosen.*, proven_id AS held_id, proven_id IS NULL AS is_open FROM chosen
    ),
"""
)
# Decides the race between orders for one pre-authorized name: one deletes the row; what this order
# can't use stays for another. Whether the order waits for it is what its own newest version says,
# not what it was a moment before.
_CREATE_ADOPTING = (
    _CREATE_TEMPLATE
    % """
    asking AS (
        SELECT id FROM caller
    ), released AS (
        DELETE FROM preauthorizations AS p USING caller, chosen, authorizations AS a
        WHERE p.account_id = caller.id AND p.identifier = chosen.identifier
            AND a.id = p.authorization_id
            AND (a.id = proven_id OR a.status NOT IN ('pending', 'valid')
                OR proven_id IS NULL AND NOT chosen.wildcard
                AND a.challenge_types <@ string_to_array(chosen.challenge_types, ',')
                AND (a.status = 'pending'
                    OR a.status = 'valid' AND $17 AND p.expires_at > now()))
        RETURNING p.authorization_id, p.identifier, p.expires_at
    ), adopted AS (
        UPDATE authorizations AS a SET order_id = $3
        FROM released JOIN chosen ON chosen.identifier = released.identifier
        WHERE a.id = released.authorization_id AND a.order_id IS NULL
            AND (a.status = 'pending' OR a.status = 'valid' AND $17 AND released.expires_at > now())
            AND a.expires_at > now() AND proven_id IS NULL AND NOT chosen.wildcard
            AND a.challenge_types <@ string_to_array(chosen.challenge_types, ',')
        RETURNING a.id, a.status, chosen.position
    ), held AS (
        SELECT chosen.*, coalesce(proven_id, adopted.id) AS held_id,
            proven_id IS NULL AND adopted.status IS DISTINCT FROM 'valid' AS is_open
        FROM chosen LEFT JOIN adopted ON adopted.position = chosen.position
    ),
"""
)
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
        adopts_proofs: bool = True,
    ) -> Order:
        """The order, with an authorization for each of ``authorizations``: a valid one of the
        caller where there is one and ``reuses``, else one that the caller asked for without an
        order, pending or (if it ``adopts_proofs``) valid, else a new one. Raises CallerStale."""
        arguments = (
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
        row = await self._database.fetchrow(_CREATE, *arguments)
        if row is None:
            row = await self._database.fetchrow(_CREATE_ADOPTING, *arguments, adopts_proofs)
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
