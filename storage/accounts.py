"""Accounts, and the guard that each statement for a caller starts with."""

from __future__ import annotations

from collections.abc import Sequence

from policy.model.accounts import Account, AccountStatus, Caller
from policy.model.errors import CallerStale
from policy.model.ids import AccountId
from storage.pool import Database, Record

# First in each statement of a caller ($1 account, $2 thumbprint of the key that signed): no row
# if the account is no longer valid or has another key, and then nothing below finds anything.
CALLER = """
    caller AS (
        SELECT id FROM accounts WHERE id = $1 AND thumbprint = $2 AND status = 'valid'
    )
"""

_COLUMNS = "id, status, jwk, thumbprint, contacts, terms_agreed, created_at"

# Decides the race between registrations with one key: one inserts, the others find its row; who
# looked before that was committed sees nothing and asks again.
_CREATE = f"""
    WITH made AS (
        INSERT INTO accounts ({_COLUMNS}, created_from)
        VALUES ($1, 'valid', $2, $3, $4, $5, $6, $7)
        ON CONFLICT (thumbprint) DO NOTHING
        RETURNING {_COLUMNS}
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT 'account:' || id, 'account_created', 'account:' || id,
            jsonb_build_object('address', $7::text)
        FROM made
    )
    SELECT {_COLUMNS}, true AS is_new FROM made
    UNION ALL
    SELECT {_COLUMNS}, false FROM accounts
    WHERE thumbprint = $3 AND NOT EXISTS (SELECT FROM made)
"""
_FIND = f"SELECT {_COLUMNS} FROM accounts WHERE id = $1"
_FIND_BY_THUMBPRINT = f"SELECT {_COLUMNS} FROM accounts WHERE thumbprint = $1"
_LIST = f"""
    SELECT {_COLUMNS} FROM accounts WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2
"""
_SET_CONTACTS = f"""
    WITH changed AS (
        UPDATE accounts SET contacts = $3
        WHERE id = $1 AND thumbprint = $2 AND status = 'valid'
        RETURNING {_COLUMNS}
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject)
        SELECT 'account:' || id, 'account_updated', 'account:' || id FROM changed
    )
    SELECT {_COLUMNS} FROM changed
"""
# Orders that were not claimed yet end with the account, and so do its authorizations; a
# validation under way finds its authorization ended.
_DEACTIVATE = f"""
    WITH changed AS (
        UPDATE accounts SET status = 'deactivated'
        WHERE id = $1 AND thumbprint = $2 AND status = 'valid'
        RETURNING {_COLUMNS}
    ), ended_orders AS (
        UPDATE orders SET status = 'invalid'
        FROM changed
        WHERE orders.account_id = changed.id AND orders.status IN ('pending', 'ready')
    ), ended_authorizations AS (
        UPDATE authorizations SET status = 'deactivated'
        FROM orders, changed
        WHERE orders.account_id = changed.id AND authorizations.id = ANY (orders.authorization_ids)
            AND authorizations.account_id = changed.id
            AND authorizations.status IN ('pending', 'valid')
    ), forgotten AS (
        DELETE FROM proven_names USING changed WHERE proven_names.account_id = changed.id
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject)
        SELECT 'account:' || id, 'account_deactivated', 'account:' || id FROM changed
    )
    SELECT {_COLUMNS} FROM changed
"""


class Accounts:
    """The table of accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, account: Account, *, address: str) -> tuple[Account, bool]:
        """The account of the key, and whether this call made it. ``address`` is the client's."""
        while True:
            row = await self._database.fetchrow(
                _CREATE,
                account.id,
                account.jwk,
                account.thumbprint,
                list(account.contacts),
                account.terms_agreed,
                account.created_at,
                address,
            )
            if row is not None:
                return _account(row), row["is_new"]

    async def find(self, account_id: AccountId) -> Account | None:
        """The account, whatever its state."""
        row = await self._database.fetchrow(_FIND, account_id)
        return None if row is None else _account(row)

    async def find_by_thumbprint(self, thumbprint: bytes) -> Account | None:
        """The account of a key, whatever its state."""
        row = await self._database.fetchrow(_FIND_BY_THUMBPRINT, thumbprint)
        return None if row is None else _account(row)

    async def set_contacts(self, caller: Caller, contacts: tuple[str, ...]) -> Account:
        """Replace the contacts. Raises CallerStale."""
        row = await self._database.fetchrow(
            _SET_CONTACTS, caller.account_id, caller.thumbprint, list(contacts)
        )
        return _changed(row)

    async def deactivate(self, caller: Caller) -> Account:
        """Deactivate, with the open orders and authorizations. Raises CallerStale."""
        row = await self._database.fetchrow(_DEACTIVATE, caller.account_id, caller.thumbprint)
        return _changed(row)

    async def list(self, after: AccountId | None, limit: int) -> Sequence[Account]:
        """Accounts in the order of their ids, from the first after ``after``."""
        return [_account(row) for row in await self._database.fetch(_LIST, after, limit)]


def _changed(row: Record | None) -> Account:
    if row is None:
        raise CallerStale
    return _account(row)


def _account(row: Record) -> Account:
    return Account(
        id=AccountId(row["id"]),
        status=AccountStatus(row["status"]),
        jwk=row["jwk"],
        thumbprint=row["thumbprint"],
        contacts=tuple(row["contacts"]),
        terms_agreed=row["terms_agreed"],
        created_at=row["created_at"],
    )
