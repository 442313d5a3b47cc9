"""Authorizations that clients ask for before they order anything (RFC 8555, section 7.4.1)."""

from __future__ import annotations

from datetime import timedelta

from policy.model.accounts import Caller
from policy.model.authorizations import Authorization, NewAuthorization
from policy.model.errors import CallerStale
from storage.accounts import CALLER
from storage.pool import Database
from storage.rows import AUTHORIZATION_COLUMNS, authorizations_of, identifier_text

# Decides the race between requests for one name: the primary key of preauthorizations lets one
# in, and a row that has served its time is replaced by whoever saw it. Who comes second gets no
# row, asks again and finds the winner's.
_CREATE = f"""
    WITH {CALLER}, noted AS (
        SELECT p.authorization_id FROM preauthorizations AS p
        JOIN caller ON p.account_id = caller.id
        WHERE p.identifier = $4
    ), existing AS (
        SELECT a.*, true AS is_proof
        FROM caller
        JOIN proven_names AS p ON p.account_id = caller.id
            AND p.identifier = $4 AND NOT p.wildcard AND p.expires_at > now()
            AND p.method = ANY ($6)
        JOIN authorizations AS a ON a.id = p.authorization_id
        WHERE $8 AND a.status = 'valid' AND a.expires_at > now()
        UNION ALL
        SELECT a.*, false
        FROM noted JOIN authorizations AS a ON a.id = noted.authorization_id
        WHERE a.order_id IS NULL AND a.status IN ('pending', 'valid') AND a.expires_at > now()
        ORDER BY is_proof DESC
        LIMIT 1
    ), taken AS (
        INSERT INTO preauthorizations AS p (account_id, identifier, authorization_id, expires_at)
        SELECT id, $4, $3, now() + $7 FROM caller WHERE NOT EXISTS (SELECT FROM existing)
        ON CONFLICT (account_id, identifier) DO UPDATE
        SET authorization_id = excluded.authorization_id, expires_at = excluded.expires_at
        WHERE p.authorization_id = (SELECT authorization_id FROM noted)
        RETURNING account_id, expires_at
    ), made AS (
        INSERT INTO authorizations
            (id, account_id, order_id, identifier, wildcard, status, token, challenge_types,
             expires_at)
        SELECT $3, account_id, NULL, $4, false, 'pending', $5, $6, expires_at FROM taken
        RETURNING *
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT 'account:' || account_id, 'authorization_created', 'authorization:' || id,
            jsonb_build_object('identifier', identifier)
        FROM made
    )
    SELECT caller.id AS caller_id, (SELECT count(*) FROM made) AS made, {AUTHORIZATION_COLUMNS}
    FROM caller
    LEFT JOIN (
        SELECT id, account_id, order_id, identifier, wildcard, status, token, challenge_types,
            expires_at
        FROM existing
        UNION ALL
        SELECT id, account_id, order_id, identifier, wildcard, status, token, challenge_types,
            expires_at
        FROM made
    ) AS a ON true
    LEFT JOIN validations AS v ON v.authorization_id = a.id
"""


class Preauthorizations:
    """The table of authorizations without an order."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, caller: Caller, new: NewAuthorization, *, lifetime: timedelta, reuses: bool
    ) -> tuple[Authorization, bool]:
        """The caller's authorization for the name, and whether this call made it: a valid one
        where there is one and ``reuses``, else the one that waits for an order, else ``new``.

        Raises CallerStale.
        """
        while True:
            rows = await self._database.fetch(
                _CREATE,
                caller.account_id,
                caller.thumbprint,
                new.id,
                identifier_text(new.identifier),
                new.token,
                list(new.challenge_types),
                lifetime,
                reuses,
            )
            if not rows:
                raise CallerStale
            if found := authorizations_of(rows):
                return found[0], rows[0]["made"] == 1
