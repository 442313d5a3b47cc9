"""Changing the keys of accounts (RFC 8555, section 7.3.5)."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from policy.model.accounts import Account, Caller
from policy.model.errors import CallerStale
from policy.model.ids import AccountId
from storage.accounts import ACCOUNT_COLUMNS, CALLER, account_of
from storage.pool import Database

# Decides the race between key changes of one account: the first one finds the old key in place.
# Between two accounts that want one key the unique index decides; who comes second asks again.
_CHANGE = f"""
    WITH {CALLER}, facts AS (
        SELECT (SELECT id FROM accounts WHERE thumbprint = $4) AS holder_id,
            EXISTS (SELECT FROM certificates WHERE spki_sha256 = $5) AS is_certified,
            EXISTS (SELECT FROM blocked_keys WHERE thumbprint = $4) AS is_blocked
    ), changed AS (
        UPDATE accounts SET jwk = $3, thumbprint = $4
        FROM facts
        WHERE id = $1 AND thumbprint = $2 AND status = 'valid'
            AND holder_id IS NULL AND NOT is_certified AND NOT is_blocked
        RETURNING {ACCOUNT_COLUMNS}
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT 'account:' || id, 'account_key_changed', 'account:' || id,
            jsonb_build_object('from', encode($2, 'hex'), 'to', encode($4, 'hex'))
        FROM changed
    )
    SELECT facts.*, changed.* FROM caller CROSS JOIN facts LEFT JOIN changed ON true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key to be an account's: its canonical JWK, RFC 7638 thumbprint, and the SHA-256 of its
    SubjectPublicKeyInfo."""

    jwk: bytes
    thumbprint: bytes
    spki_sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRefusal:
    """Why a key was not taken: which account has it, whether it is a certificate's, or blocked."""

    holder_id: AccountId | None
    is_certified: bool
    is_blocked: bool


class KeyChanges:
    """Replaces the keys of accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def change(self, caller: Caller, new: NewKey) -> Account | KeyRefusal:
        """The caller's account, once it has the key; nothing else of it changes.

        Raises CallerStale, also if another key change was faster.
        """
        while True:
            try:
                row = await self._database.fetchrow(
                    _CHANGE,
                    caller.account_id,
                    caller.thumbprint,
                    new.jwk,
                    new.thumbprint,
                    new.spki_sha256,
                )
            except asyncpg.UniqueViolationError:
                continue
            if row is None:
                raise CallerStale
            if row["id"] is not None:
                return account_of(row)
            holder = row["holder_id"]
            if holder is None and not row["is_certified"] and not row["is_blocked"]:
                raise CallerStale
            return KeyRefusal(
                holder_id=None if holder is None else AccountId(holder),
                is_certified=row["is_certified"],
                is_blocked=row["is_blocked"],
            )
