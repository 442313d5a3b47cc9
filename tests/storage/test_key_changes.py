"""Key changes: one winner, nothing else changed, and keys that no account may have."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from policy.model.accounts import Account, Caller
from policy.model.errors import CallerStale
from storage.keychanges import KeyChanges, KeyRefusal, NewKey
from storage.pool import Database
from support.workflow import House, build_house, csr_for


@pytest.fixture
async def house(database: Database) -> House:
    return await build_house(database)


@pytest.fixture
def table(database: Database) -> KeyChanges:
    return KeyChanges(database)


def a_key(**changes: Any) -> NewKey:
    """A key that nobody has."""
    values = {"jwk": b"{}", "thumbprint": os.urandom(32), "spki_sha256": os.urandom(32)}
    return NewKey(**{**values, **changes})


async def test_account_with_another_key_is_otherwise_as_it_was(
    house: House, table: KeyChanges
) -> None:
    caller, key = await house.caller(), a_key()
    order = await house.ready_order(caller, "a.example")
    columns = "id, status, contacts, terms_agreed, created_at"
    before = await house.database.fetchrow(f"SELECT {columns} FROM accounts")

    changed = await table.change(caller, key)

    assert isinstance(changed, Account)
    assert (changed.id, changed.thumbprint) == (caller.account_id, key.thumbprint)

    now = Caller(caller.account_id, key.thumbprint)
    assert await house.database.fetchrow(f"SELECT {columns} FROM accounts") == before
    assert await house.orders.get(now, order.id) == order
    with pytest.raises(CallerStale):
        await house.orders.get(caller, order.id)
    with pytest.raises(CallerStale):
        await table.change(caller, a_key())


async def test_changes_at_once_have_one_winner(house: House, table: KeyChanges) -> None:
    caller = await house.caller()
    keys = [a_key() for _ in range(30)]

    outcomes = await asyncio.gather(
        *(table.change(caller, key) for key in keys), return_exceptions=True
    )

    winners = [k for k, outcome in zip(keys, outcomes, strict=True) if isinstance(outcome, Account)]
    assert [key.thumbprint for key in winners] == [
        await house.database.fetchval("SELECT thumbprint FROM accounts")
    ]
    losers = [outcome for outcome in outcomes if not isinstance(outcome, Account)]
    assert {type(outcome) for outcome in losers} == {CallerStale}
    changes = "SELECT count(*) FROM audit_events WHERE action = 'account_key_changed'"
    assert await house.database.fetchval(changes) == 1


async def test_one_key_goes_to_one_of_many_accounts(house: House, table: KeyChanges) -> None:
    callers, key = [await house.caller() for _ in range(12)], a_key()

    outcomes = await asyncio.gather(*(table.change(caller, key) for caller in callers))

    (winner,) = (outcome for outcome in outcomes if isinstance(outcome, Account))
    refusal = KeyRefusal(holder_id=winner.id, is_certified=False, is_blocked=False)
    assert [outcome for outcome in outcomes if outcome != winner] == [refusal] * 11


async def test_key_of_a_deactivated_account_stays_taken(house: House, table: KeyChanges) -> None:
    caller, former = await house.caller(), await house.caller()
    await house.accounts.deactivate(former)

    refusal = await table.change(caller, a_key(thumbprint=former.thumbprint))

    assert isinstance(refusal, KeyRefusal)
    assert refusal.holder_id == former.account_id


async def test_deactivated_account_changes_no_key(house: House, table: KeyChanges) -> None:
    caller = await house.caller()
    await house.accounts.deactivate(caller)

    with pytest.raises(CallerStale):
        await table.change(caller, a_key())


async def test_key_of_a_certificate_and_a_blocked_one_are_refused(
    house: House, table: KeyChanges
) -> None:
    caller, blocked = await house.caller(), a_key()
    order = await house.ready_order(caller, "a.example")
    await house.issuance.finalize(caller, order.id, csr_for("a.example"))
    spki = await house.database.fetchval("SELECT spki_sha256 FROM certificates")
    await house.database.execute(
        "INSERT INTO blocked_keys (thumbprint, certificate_id, blocked_by)"
        " VALUES ($1, new_id(), 'operator:a')",
        blocked.thumbprint,
    )

    refusals = [await table.change(caller, key) for key in (a_key(spki_sha256=spki), blocked)]

    assert refusals == [
        KeyRefusal(holder_id=None, is_certified=True, is_blocked=False),
        KeyRefusal(holder_id=None, is_certified=False, is_blocked=True),
    ]
