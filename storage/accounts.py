"""Accounts, and the guard that each statement for a caller starts with."""

from __future__ import annotations

from collections.abc import Sequence

from policy.model.accounts import Account, AccountStatus, Caller
from policy.model.errors import CallerStale
from policy.model.ids import AccountId, ExternalAccountId
from storage.pool import Database, Record

# First in each statement of a caller ($1 account, $2 thumbprint of the key that signed): no row
# if the account is no longer valid or has another key, and then nothing below finds anything.
CALLER = """
    caller AS (
        SELECT id FROM accounts WHERE id = $1 AND thumbprint = $2 AND status = 'valid'
    )
"""

ACCOUNT_COLUMNS = """
    id, status, jwk, thumbprint, contacts, terms_agreed, created_at, external_account_id,
    external_account_binding
"""

# Decides the race between registrations with one key: one inserts, the others find its row; who
# looked before that was committed sees nothing and asks again. Also decides the race between
# registrations with one external account key ($8): who locked its row first uses it, and who
# waited sees what is left of it. It counts accounts that were made, not requests. A key that a
# certificate has, or that was reported as compromised, makes no account.
_CREATE = f"""
    WITH binding AS (
        SELECT id FROM external_accounts
        WHERE id = $8 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
            AND (max_uses IS NULL OR uses < max_uses)
        FOR UPDATE
    ), made AS (
        INSERT INTO accounts ({ACCOUNT_COLUMNS}, created_from)
        SELECT $1, 'valid', $2, $3, $4, $5, $6, $8, $9, $7
        WHERE ($8::uuid IS NULL OR EXISTS (SELECT FROM binding))
            AND NOT EXISTS (SELECT FROM blocked_keys WHERE thumbprint = $3)
            AND NOT EXISTS (SELECT FROM certificates WHERE spki_sha256 = $10)
        ON CONFLICT (thumbprint) DO NOTHING
        RETURNING {ACCOUNT_COLUMNS}
    ), used AS (
        UPDATE external_accounts SET uses = uses + 1
        FROM made WHERE external_accounts.id = made.external_account_id
        RETURNING external_accounts.id, made.id AS account_id
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT 'account:' || id, 'account_created', 'account:' || id,
            jsonb_build_object('address', $7::text, 'terms', $5::text)
        FROM made
        UNION ALL
        SELECT 'account:' || account_id, 'external_account_bound', 'external_account:' || id,
            jsonb_build_object('account', account_id)
        FROM used
    )
    SELECT {ACCOUNT_COLUMNS}, true AS is_new FROM made
    UNION ALL
    SELECT {ACCOUNT_COLUMNS}, false FROM accounts
    WHERE thumbprint = $3 AND NOT EXISTS (SELECT FROM made)
"""
_IS_REFUSED = """
    SELECT EXISTS (SELECT FROM blocked_keys WHERE thumbprint = $1)
        OR EXISTS (SELECT FROM certificates WHERE spki_sha256 = $2)
"""
_FIND = f"SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE id = $1"
_FIND_BY_THUMBPRINT = f"SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE thumbprint = $1"
_LIST = f"""
    SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2
"""
# NULL leaves contacts or terms as they are.
_UPDATE = f"""
    WITH before AS (
        SELECT terms_agreed FROM accounts WHERE id = $1
    ), changed AS (
        UPDATE accounts
        SET contacts = coalesce($3, contacts), terms_agreed = coalesce($4, terms_agreed)
        WHERE id = $1 AND thumbprint = $2 AND status = 'valid'
        RETURNING {ACCOUNT_COLUMNS}
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT 'account:' || id, 'account_updated', 'account:' || id, NULL
        FROM changed WHERE $3 IS NOT NULL
        UNION ALL
        SELECT 'account:' || id, 'terms_agreed', 'account:' || id,
            jsonb_build_object('terms', changed.terms_agreed)
        FROM changed, before WHERE changed.terms_agreed IS DISTINCT FROM before.terms_agreed
    )
    SELECT {ACCOUNT_COLUMNS} FROM changed
"""
# Orders that were not claimed yet end with the account, and so do their authorizations and its
# pre-authorizations with their validations: the result of one under way finds nothing to change,
# and no process takes it over. Authorizations of finished orders stay as they are, of which there
# may be too many for one statement: without the account and its proven names they serve nobody.
_DEACTIVATE = f"""
    WITH changed AS (
        UPDATE accounts SET status = 'deactivated'
        WHERE id = $1 AND thumbprint = $2 AND status = 'valid'
        RETURNING {ACCOUNT_COLUMNS}
    ), ended_orders AS (
        UPDATE orders SET status = 'invalid'
        FROM changed
        WHERE orders.account_id = changed.id AND orders.status IN ('pending', 'ready')
        RETURNING orders.authorization_ids
    ), released AS (
        DELETE FROM preauthorizations USING changed
        WHERE preauthorizations.account_id = changed.id
        RETURNING authorization_id
    ), held AS (
        SELECT unnest(authorization_ids) AS id FROM ended_orders
        UNION
        SELECT authorization_id FROM released
    ), ended_authorizations AS (
        UPDATE authorizations SET status = 'deactivated'
        FROM held
        WHERE authorizations.id = held.id AND authorizations.account_id = $1
            AND authorizations.status IN ('pending', 'valid')
        RETURNING authorizations.id
    ), ended_validations AS (
        UPDATE validations SET status = 'invalid', ended_at = now()
        FROM ended_authorizations
        WHERE validations.authorization_id = ended_authorizations.id
            AND validations.status = 'processing'
    ), forgotten AS (
        DELETE FROM proven_names USING changed WHERE proven_names.account_id = changed.id
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject)
        SELECT 'account:' || id, 'account_deactivated', 'account:' || id FROM changed
    )
    SELECT {ACCOUNT_COLUMNS} FROM changed
"""


class Accounts:
    """The table of accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, account: Account, *, spki_sha256: bytes, address: str
    ) -> tuple[Account, bool] | None:
        """The account of the key, and whether this call made it. ``spki_sha256`` is the SHA-256
        of the key's SubjectPublicKeyInfo, ``address`` the client's.

        None if the external account key that it names can't be used (any more), or ``refuses``
        its key.
        """
        row = await self._database.fetchrow(
            _CREATE,
            account.id,
            account.jwk,
            account.thumbprint,
            list(account.contacts),
            account.terms_agreed,
            account.created_at,
            address,
            account.external_account_id,
            account.external_account_binding,
            spki_sha256,
        )
        if row is not None:
            return account_of(row), row["is_new"]
        # Made by another request while this statement looked, and committed by now.
        existing = await self.find_by_thumbprint(account.thumbprint)
        return None if existing is None else (existing, False)

    async def refuses(self, thumbprint: bytes, spki_sha256: bytes) -> bool:
        """Whether a key makes no account: a certificate's, or one known to be compromised."""
        return bool(await self._database.fetchval(_IS_REFUSED, thumbprint, spki_sha256))

    async def find(self, account_id: AccountId) -> Account | None:
        """The account, whatever its state."""
        row = await self._database.fetchrow(_FIND, account_id)
        return None if row is None else account_of(row)

    async def find_by_thumbprint(self, thumbprint: bytes) -> Account | None:
        """The account of a key, whatever its state."""
        row = await self._database.fetchrow(_FIND_BY_THUMBPRINT, thumbprint)
        return None if row is None else account_of(row)

    async def update(
        self, caller: Caller, *, contacts: tuple[str, ...] | None, terms_agreed: str | None
    ) -> Account:
        """Replace the contacts, the terms agreed to, or both; None leaves them as they are.

        Raises CallerStale.
        """
        row = await self._database.fetchrow(
            _UPDATE,
            caller.account_id,
            caller.thumbprint,
            None if contacts is None else list(contacts),
            terms_agreed,
        )
        return _changed(row)

    async def deactivate(self, caller: Caller) -> Account:
        """Deactivate, with the open orders and authorizations. Raises CallerStale."""
        row = await self._database.fetchrow(_DEACTIVATE, caller.account_id, caller.thumbprint)
        return _changed(row)

    async def list(self, after: AccountId | None, limit: int) -> Sequence[Account]:
        """Accounts in the order of their ids, from the first after ``after``."""
        return [account_of(row) for row in await self._database.fetch(_LIST, after, limit)]


def _changed(row: Record | None) -> Account:
    if row is None:
        raise CallerStale
    return account_of(row)


def account_of(row: Record) -> Account:
    """An account from a row with ACCOUNTACCOUNT_COLUMNS."""
    bound_to = row["external_account_id"]
    return Account(
        id=AccountId(row["id"]),
        status=AccountStatus(row["status"]),
        jwk=row["jwk"],
        thumbprint=row["thumbprint"],
        contacts=tuple(row["contacts"]),
        terms_agreed=row["terms_agreed"],
        created_at=row["created_at"],
        external_account_id=None if bound_to is None else ExternalAccountId(bound_to),
        external_account_binding=row["external_account_binding"],
    )
