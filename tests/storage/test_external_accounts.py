"""External account keys in the database: each use is counted once, whatever races."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from acme_server.workflow.clock import new_id
from policy.model.accounts import Account, AccountStatus
from policy.model.external_accounts import ExternalAccount
from policy.model.ids import AccountId, ExternalAccountId
from storage.accounts import Accounts
from storage.external_accounts import ExternalAccounts
from storage.pool import Database


def a_key(**changes: Any) -> ExternalAccount:
    """A key for one account, good for ever, unless said otherwise."""
    key = ExternalAccount(
        id=ExternalAccountId(new_id()), owner="shop", created_at=datetime.now(UTC)
    )
    return replace(key, **changes)


async def added(database: Database, **changes: Any) -> ExternalAccount:
    """A key on record."""
    key = a_key(**changes)
    await ExternalAccounts(database).create(key, b"sealed", purpose="test", actor="operator:a")
    return key


def an_account(key: ExternalAccount) -> Account:
    """An account to be made with a key."""
    jwk = os.urandom(16)
    return Account(
        id=AccountId(new_id()),
        status=AccountStatus.VALID,
        jwk=jwk,
        thumbprint=hashlib.sha256(jwk).digest(),
        contacts=(),
        terms_agreed=None,
        created_at=datetime.now(UTC),
        external_account_id=key.id,
        external_account_binding="a.b.c",
    )


async def create(database: Database, account: Account) -> tuple[Account, bool] | None:
    """Make the account."""
    return await Accounts(database).create(
        account, spki_sha256=account.thumbprint, address="192.0.2.1"
    )


async def uses(database: Database, key: ExternalAccount) -> tuple[int, int]:
    """How often the key was used: as counted, and as accounts."""
    found = await ExternalAccounts(database).find(key.id)
    assert found is not None
    accounts: int = await database.fetchval(
        "SELECT count(*) FROM accounts WHERE external_account_id = $1", key.id
    )
    return found[0].uses, accounts


async def test_what_was_stored_is_found_again(database: Database) -> None:
    key = await added(
        database, max_uses=None, expires_at=datetime.now(UTC) + timedelta(days=1), owner="Ünïcode"
    )
    account = an_account(key)
    made = await create(database, account)

    assert made == (account, True)
    assert await Accounts(database).find(account.id) == account
    assert await ExternalAccounts(database).find(key.id) == (replace(key, uses=1), b"sealed")
    (listed,) = await ExternalAccounts(database).list(None, 10)
    assert (listed.external_account, listed.accounts) == (replace(key, uses=1), (account.id,))


@pytest.mark.parametrize("max_uses", [1, 4])
async def test_no_more_accounts_are_made_than_a_key_is_good_for(
    database: Database, max_uses: int
) -> None:
    key = await added(database, max_uses=max_uses)

    results = await asyncio.gather(*(create(database, an_account(key)) for _ in range(20)))

    assert sum(result is not None and result[1] for result in results) == max_uses
    assert sum(result is None for result in results) == 20 - max_uses
    assert await uses(database, key) == (max_uses, max_uses)


async def test_one_account_made_many_times_at_once_counts_once(database: Database) -> None:
    key = await added(database, max_uses=None)
    account = an_account(key)
    twins = [replace(account, id=AccountId(new_id())) for _ in range(20)]

    results = await asyncio.gather(*(create(database, twin) for twin in twins))

    assert [result is not None for result in results] == [True] * 20
    assert sum(result is not None and result[1] for result in results) == 1
    assert len({result[0].id for result in results if result is not None}) == 1
    assert await uses(database, key) == (1, 1)


async def test_revocation_and_use_at_once_have_one_order(database: Database) -> None:
    keys = ExternalAccounts(database)
    for _ in range(10):
        key = await added(database)
        made, is_revoked = await asyncio.gather(
            create(database, an_account(key)), keys.claim_revocation(key.id, actor="operator:a")
        )

        assert is_revoked
        assert await create(database, an_account(key)) is None
        assert await uses(database, key) == ((0, 0) if made is None else (1, 1))


@pytest.mark.parametrize("how", ["revoked", "expired", "unknown"])
async def test_key_that_is_not_good_makes_no_account(database: Database, how: str) -> None:
    key = a_key() if how == "unknown" else await added(database)
    if how == "revoked":
        await ExternalAccounts(database).claim_revocation(key.id, actor="operator:a")
    elif how == "expired":
        await database.execute("UPDATE external_accounts SET expires_at = now()")

    assert await create(database, an_account(key)) is None
    assert await database.fetchval("SELECT count(*) FROM accounts") == 0
    audited = "SELECT count(*) FROM audit_events WHERE action LIKE 'account%'"
    assert await database.fetchval(audited) == 0


async def test_key_is_revoked_once(database: Database) -> None:
    keys, key = ExternalAccounts(database), await added(database)

    claims = await asyncio.gather(
        *(keys.claim_revocation(key.id, actor=f"operator:{n}") for n in range(5))
    )

    assert sorted(claims) == [False] * 4 + [True]
    assert not await keys.claim_revocation(a_key().id, actor="operator:a")
    events = "SELECT count(*) FROM audit_events WHERE action = 'external_account_revoked'"
    assert await database.fetchval(events) == 1


@pytest.mark.parametrize(
    "change",
    [
        "max_uses = 0",
        "uses = 2",
        "uses = -1",
        "owner = repeat('x', 201)",
    ],
)
async def test_counts_that_make_no_sense_are_refused(database: Database, change: str) -> None:
    await added(database)

    with pytest.raises(asyncpg.CheckViolationError):
        await database.execute(f"UPDATE external_accounts SET {change}")


async def test_binding_and_its_key_come_together(database: Database) -> None:
    key = await added(database)
    await create(database, an_account(key))

    for column in ("external_account_id", "external_account_binding"):
        with pytest.raises(asyncpg.CheckViolationError):
            await database.execute(f"UPDATE accounts SET {column} = NULL")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await database.execute("DELETE FROM external_accounts")
