"""External account keys. The HMAC keys are sealed secrets; only ciphertext passes here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from policy.model.external_accounts import ExternalAccount
from policy.model.ids import AccountId, ExternalAccountId
from storage.pool import Database, Record

_COLUMNS = "id, owner, created_at, expires_at, max_uses, uses, revoked_at"
# Of an account made with the key there may be many more; these are what a list shows.
_SHOWN_ACCOUNTS = 20

_CREATE = """
    WITH secret AS (
        INSERT INTO sealed_secrets (id, purpose, sealed) VALUES ($1, $6, $7)
    ), made AS (
        INSERT INTO external_accounts (id, owner, created_at, expires_at, max_uses)
        VALUES ($1, $2, $3, $4, $5)
        RETURNING id, owner, expires_at, max_uses
    )
    INSERT INTO audit_events (actor, action, subject, detail)
    SELECT $8, 'external_account_created', 'external_account:' || id,
        jsonb_build_object('owner', owner, 'expires_at', expires_at, 'max_uses', max_uses)
    FROM made
"""
_FIND = f"""
    SELECT {_COLUMNS}, sealed
    FROM external_accounts JOIN (SELECT id, sealed FROM sealed_secrets) AS s USING (id)
    WHERE id = $1
"""
_LIST = f"""
    SELECT {_COLUMNS}, ARRAY(
        SELECT a.id FROM accounts AS a WHERE a.external_account_id = e.id
        ORDER BY a.id LIMIT {_SHOWN_ACCOUNTS}
    ) AS accounts
    FROM external_accounts AS e WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2
"""
_REVOKE = """
    WITH changed AS (
        UPDATE external_accounts SET revoked_at = now()
        WHERE id = $1 AND revoked_at IS NULL
        RETURNING id
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject)
        SELECT $2, 'external_account_revoked', 'external_account:' || id FROM changed
    )
    SELECT count(*) FROM changed
"""


@dataclass(frozen=True, slots=True)
class ListedExternalAccount:
    """A key with the first of the accounts that were made with it."""

    external_account: ExternalAccount
    accounts: tuple[AccountId, ...]


class ExternalAccounts:
    """The table of external account keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, new: ExternalAccount, sealed: bytes, *, purpose: str, actor: str
    ) -> None:
        """Add a key with its sealed secret; ``actor`` is who did it."""
        await self._database.execute(
            _CREATE,
            new.id,
            new.owner,
            new.created_at,
            new.expires_at,
            new.max_uses,
            purpose,
            sealed,
            actor,
        )

    async def find(self, id_: ExternalAccountId) -> tuple[ExternalAccount, bytes] | None:
        """A key on record and its sealed secret."""
        row = await self._database.fetchrow(_FIND, id_)
        return None if row is None else (_external_account(row), row["sealed"])

    async def list(
        self, after: ExternalAccountId | None, limit: int
    ) -> Sequence[ListedExternalAccount]:
        """Keys in the order of their ids, from the first after ``after``."""
        return [
            ListedExternalAccount(_external_account(row), tuple(map(AccountId, row["accounts"])))
            for row in await self._database.fetch(_LIST, after, limit)
        ]

    async def claim_revocation(self, id_: ExternalAccountId, *, actor: str) -> bool:
        """Revoke the key; False if there is none or it was revoked before."""
        return bool(await self._database.fetchval(_REVOKE, id_, actor))


def _external_account(row: Record) -> ExternalAccount:
    return ExternalAccount(
        id=ExternalAccountId(row["id"]),
        owner=row["owner"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        max_uses=row["max_uses"],
        uses=row["uses"],
        revoked_at=row["revoked_at"],
    )
