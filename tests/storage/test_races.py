"""What many do at once is done once: each race is decided by one statement."""

from __future__ import annotations

import asyncio
import hashlib
import os
from datetime import UTC, datetime, timedelta

import pytest

from acme_server.workflow.clock import new_id
from policy.model.accounts import Account, AccountStatus, Caller
from policy.model.authorizations import AuthorizationStatus, NewAuthorization, ValidationTask
from policy.model.errors import CallerStale
from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import AccountId, AuthorizationId, OrderId
from policy.model.orders import NewOrder, Order, OrderStatus
from storage.accounts import Accounts
from storage.authorizations import Authorizations
from storage.leases import Leases
from storage.orders import Orders
from storage.pool import Database
from support.workflow import REFUSED, verdict_of

WEEK = timedelta(days=7)
LEASE = timedelta(seconds=30)
TYPES = ("http-01", "dns-01")


def an_account() -> Account:
    """A valid account with a key of its own."""
    key = os.urandom(16)
    return Account(
        id=AccountId(new_id()),
        status=AccountStatus.VALID,
        jwk=key,
        thumbprint=hashlib.sha256(key).digest(),
        contacts=("mailto:a@example.org",),
        terms_agreed=None,
        created_at=datetime.now(UTC),
    )


@pytest.fixture
async def caller(database: Database) -> Caller:
    account = an_account()
    await Accounts(database).create(account, spki_sha256=os.urandom(32), address="192.0.2.1")
    return Caller(account.id, account.thumbprint)


async def an_order(database: Database, caller: Caller, count: int = 1) -> Order:
    """A pending order for ``count`` names."""
    names = [Identifier(IdentifierType.DNS, f"n{i}.example.com") for i in range(count)]
    new = NewOrder(
        id=OrderId(new_id()),
        identifiers=tuple(names),
        profile="tls_server",
        profile_version="1",
        challenge_types=TYPES,
    )
    authorizations = [
        NewAuthorization(
            id=AuthorizationId(new_id()),
            identifier=name,
            wildcard=False,
            token="t" * 32,
            challenge_types=TYPES,
        )
        for name in names
    ]
    return await Orders(database).create(
        caller, new, authorizations, order_lifetime=WEEK, authorization_lifetime=WEEK
    )


async def answer(
    database: Database, caller: Caller, order: Order, position: int = 0, kind: str = "http-01"
) -> ValidationTask:
    """The claimed validation of one authorization of the order."""
    answered = await Authorizations(database).answer(
        caller, order.authorization_ids[position], kind, owner="me", lease=LEASE
    )
    assert answered is not None
    assert answered[1] is not None
    return answered[1]


async def test_registrations_with_one_key_make_one_account(database: Database) -> None:
    accounts = Accounts(database)
    first = an_account()
    twins = [
        Account(
            id=AccountId(new_id()),
            status=first.status,
            jwk=first.jwk,
            thumbprint=first.thumbprint,
            contacts=(),
            terms_agreed=None,
            created_at=first.created_at,
        )
        for _ in range(50)
    ]

    results = await asyncio.gather(
        *(accounts.create(twin, spki_sha256=bytes(32), address="::1") for twin in twins)
    )

    assert sum(is_new for _, is_new in results) == 1
    assert len({account.id for account, _ in results}) == 1
    assert await database.fetchval("SELECT count(*) FROM audit_events") == 1


async def test_fifty_answers_to_one_challenge_claim_one_validation(
    database: Database, caller: Caller
) -> None:
    order = await an_order(database, caller)
    table = Authorizations(database)

    answers = await asyncio.gather(
        *(
            table.answer(caller, order.authorization_ids[0], "http-01", owner=f"p{i}", lease=LEASE)
            for i in range(50)
        )
    )

    assert sum(answered is not None and answered[1] is not None for answered in answers) == 1
    assert all(answered is not None for answered in answers)
    assert await database.fetchval("SELECT count(*) FROM validations") == 1


async def test_last_of_many_authorizations_makes_the_order_ready_once(
    database: Database, caller: Caller
) -> None:
    order = await an_order(database, caller, 40)
    table = Authorizations(database)
    tasks = [await answer(database, caller, order, i) for i in range(40)]

    concluded = await asyncio.gather(*(table.conclude(t, verdict_of(t)) for t in tasks))

    assert all(concluded)
    found = await Orders(database).find(caller, order.id)
    assert found is not None
    assert found.status is OrderStatus.READY
    assert await database.fetchval("SELECT pending_authorizations FROM orders") == 0


async def test_one_failure_among_many_makes_the_order_invalid_for_good(
    database: Database, caller: Caller
) -> None:
    order = await an_order(database, caller, 10)
    table = Authorizations(database)
    tasks = [await answer(database, caller, order, i) for i in range(10)]

    await asyncio.gather(
        *(
            table.conclude(task, verdict_of(task, REFUSED if i == 5 else None))
            for i, task in enumerate(tasks)
        )
    )

    found = await Orders(database).find(caller, order.id)
    assert found is not None
    assert found.status is OrderStatus.INVALID
    assert found.error is not None
    assert found.error.identifier == Identifier(IdentifierType.DNS, "n5.example.com")


async def test_two_challenges_of_one_authorization_count_once(
    database: Database, caller: Caller
) -> None:
    order = await an_order(database, caller, 2)
    table = Authorizations(database)
    both = [await answer(database, caller, order, 0, kind) for kind in TYPES]

    concluded = await asyncio.gather(*(table.conclude(t, verdict_of(t)) for t in both))

    assert sorted(concluded) == [False, True]
    found = await Orders(database).find(caller, order.id)
    assert found is not None
    assert found.status is OrderStatus.PENDING


async def test_late_result_of_a_former_owner_is_dropped(database: Database, caller: Caller) -> None:
    order = await an_order(database, caller)
    table = Authorizations(database)
    task = await answer(database, caller, order)
    await database.execute("UPDATE validations SET lease_until = now() - interval '1 s'")

    taken = await asyncio.gather(*(table.claim_abandoned(f"o{i}", LEASE, 5) for i in range(8)))

    claims = [claim for claims in taken for claim in claims]
    assert [claim.attempt for claim in claims] == [2]
    assert not await table.conclude(task, verdict_of(task, REFUSED))
    assert await table.conclude(claims[0], verdict_of(claims[0]))


async def test_validation_under_lease_is_not_taken_over(database: Database, caller: Caller) -> None:
    order = await an_order(database, caller)
    await answer(database, caller, order)

    assert await Authorizations(database).claim_abandoned("other", LEASE, 5) == []


async def test_deactivated_account_can_do_nothing_and_its_validation_changes_nothing(
    database: Database, caller: Caller
) -> None:
    order = await an_order(database, caller)
    task = await answer(database, caller, order)
    await Accounts(database).deactivate(caller)

    assert not await Authorizations(database).conclude(task, verdict_of(task))
    with pytest.raises(CallerStale):
        await an_order(database, caller)
    with pytest.raises(CallerStale):
        await Orders(database).find(caller, order.id)
    assert await database.fetchval("SELECT status FROM orders") == "invalid"
    assert await database.fetchval("SELECT status FROM authorizations") == "deactivated"


async def test_request_signed_by_a_former_key_changes_nothing(
    database: Database, caller: Caller
) -> None:
    stale = Caller(caller.account_id, b"\x00" * 32)

    with pytest.raises(CallerStale):
        await an_order(database, stale)

    assert await database.fetchval("SELECT count(*) FROM orders") == 0
    assert await database.fetchval("SELECT count(*) FROM authorizations") == 0


async def test_expired_objects_are_read_as_what_they_are(
    database: Database, caller: Caller
) -> None:
    order = await an_order(database, caller)
    await database.execute("UPDATE orders SET expires_at = now() - interval '1 s'")
    await database.execute("UPDATE authorizations SET expires_at = now() - interval '1 s'")

    found = await Orders(database).find(caller, order.id)
    authorization = await Authorizations(database).find(caller, order.authorization_ids[0])

    assert found is not None
    assert found.status is OrderStatus.INVALID
    assert authorization is not None
    assert authorization.status is AuthorizationStatus.EXPIRED
    late = await Authorizations(database).answer(
        caller, authorization.id, "http-01", owner="me", lease=LEASE
    )
    assert late is not None
    assert late[1] is None


async def test_lease_has_one_holder_and_its_token_grows(database: Database) -> None:
    leases = Leases(database)

    tokens = await asyncio.gather(*(leases.take("job", f"o{i}", LEASE) for i in range(20)))

    assert sorted(token is not None for token in tokens) == [False] * 19 + [True]
    holder = f"o{next(i for i, token in enumerate(tokens) if token is not None)}"
    assert await leases.take("job", holder, LEASE) == 1
    await leases.release("job", holder)
    assert await leases.take("job", "next", LEASE) == 2


async def test_orders_are_listed_newest_first_and_only_to_their_account(
    database: Database, caller: Caller
) -> None:
    placed = [(await an_order(database, caller)).id for _ in range(5)]
    stranger = an_account()
    await Accounts(database).create(stranger, spki_sha256=os.urandom(32), address="::1")
    orders = Orders(database)

    first = await orders.list_for(caller, None, 3)
    rest = await orders.list_for(caller, first[-1].id, 3)

    assert [order.id for order in [*first, *rest]] == sorted(placed, reverse=True)
    assert await orders.list_for(Caller(stranger.id, stranger.thumbprint), None, 3) == []
