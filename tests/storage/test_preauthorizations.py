"""Pre-authorizations that an order takes while something else happens to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar, cast

import pytest

from policy.model.accounts import Caller
from policy.model.authorizations import Authorization, AuthorizationStatus
from policy.model.errors import CallerStale
from policy.model.orders import Order, OrderStatus
from storage.authorizations import Authorizations
from storage.maintenance import Maintenance
from storage.orders import Orders
from storage.pool import Connection, Database
from support.edge import PATIENT
from support.workflow import REFUSED, House, build_house, verdict_of

T = TypeVar("T")
NAME = "a.example"
_WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
async def house(database: Database) -> House:
    return await build_house(database)


@pytest.fixture
async def caller(house: House) -> Caller:
    return await house.caller()


async def preauthorize(house: House, caller: Caller) -> Authorization:
    """A pending authorization without an order."""
    authorization, is_new = await house.preauthorizations.create(caller, ("dns", NAME))
    assert is_new
    return authorization


@asynccontextmanager
async def order_in_the_making(house: House, caller: Caller) -> AsyncIterator[Order]:
    """An order that has taken the authorization, and is committed when the block ends."""
    async with house.database.transaction() as connection:
        orders = house.orders._orders
        house.orders._orders = Orders(cast("Any", _Within(connection)))
        try:
            yield await house.order(caller, NAME)
        finally:
            house.orders._orders = orders


class _Within:
    """``Database`` for statements of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def fetchrow(self, sql: str, *arguments: object) -> Any:
        """The first row."""
        return await self._connection.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: object) -> Any:
        """The first value of the first row."""
        return await self._connection.fetchval(sql, *arguments)


async def until_waiting(database: Database, call: Awaitable[T]) -> asyncio.Future[T]:
    """``call``, begun and stopped by a lock of somebody else's."""
    begun = asyncio.ensure_future(call)
    async with asyncio.timeout(PATIENT):
        while await database.fetchval(_WAITING) == 0:
            assert not begun.done()
    return begun


async def test_result_that_waits_for_the_order_that_took_it_makes_that_order_ready(
    house: House, caller: Caller
) -> None:
    """Its snapshot is older than the order: what it would do is undone and done again."""
    authorization = await preauthorize(house, caller)
    table = Authorizations(house.database)
    task = await _claimed(house, caller, authorization)

    async with order_in_the_making(house, caller) as order:
        late = await until_waiting(house.database, table.conclude(task, verdict_of(task)))
    assert await late

    found = await house.orders.get(caller, order.id)
    assert order.authorization_ids == (authorization.id,)
    assert (order.status, found.status) == (OrderStatus.PENDING, OrderStatus.READY)
    events = "SELECT count(*) FROM audit_events WHERE action = 'authorization_validated'"
    assert await house.database.fetchval(events) == 1


async def test_failure_that_waits_for_the_order_that_took_it_ends_that_order(
    house: House, caller: Caller
) -> None:
    authorization = await preauthorize(house, caller)
    table = Authorizations(house.database)
    task = await _claimed(house, caller, authorization)

    async with order_in_the_making(house, caller) as order:
        late = await until_waiting(house.database, table.conclude(task, verdict_of(task, REFUSED)))
    assert await late

    assert (await house.orders.get(caller, order.id)).status is OrderStatus.INVALID


async def test_deactivation_that_waits_for_the_order_that_took_it_ends_that_order(
    house: House, caller: Caller
) -> None:
    authorization = await preauthorize(house, caller)

    async with order_in_the_making(house, caller) as order:
        late = await until_waiting(
            house.database, house.authorizations.deactivate(caller, authorization.id)
        )
    assert (await late).status is AuthorizationStatus.DEACTIVATED

    assert (await house.orders.get(caller, order.id)).status is OrderStatus.INVALID


@pytest.mark.parametrize("is_proven", [True, False])
async def test_order_that_waits_for_a_result_counts_what_it_became(
    house: House, caller: Caller, is_proven: bool
) -> None:
    authorization = await preauthorize(house, caller)
    task = await _claimed(house, caller, authorization)
    verdict = verdict_of(task, None if is_proven else REFUSED)

    async with house.database.transaction() as connection:
        assert await Authorizations(cast("Any", _Within(connection))).conclude(task, verdict)
        late = await until_waiting(house.database, house.order(caller, NAME))
    order = await late

    assert order.status is (OrderStatus.READY if is_proven else OrderStatus.PENDING)
    assert (order.authorization_ids == (authorization.id,)) == is_proven


async def test_request_signed_by_a_former_key_takes_nothing(house: House, caller: Caller) -> None:
    await preauthorize(house, caller)
    stale = Caller(caller.account_id, bytes(32))

    with pytest.raises(CallerStale):
        await house.order(stale, NAME)
    with pytest.raises(CallerStale):
        await house.preauthorizations.create(stale, ("dns", "b.example"))

    assert await house.database.fetchval("SELECT count(*) FROM preauthorizations") == 1
    assert await house.database.fetchval("SELECT count(*) FROM authorizations") == 1


async def test_orders_without_pre_authorized_names_cost_one_statement(
    house: House, caller: Caller
) -> None:
    await preauthorize(house, caller)
    before = house.database.statements
    await house.order(caller, "b.example")
    between = house.database.statements
    await house.order(caller, NAME, "c.example")

    assert between - before == 1
    assert house.database.statements - between == 2


async def test_what_an_order_cannot_use_stays_for_another(house: House, caller: Caller) -> None:
    house.orders._rules = replace(house.orders._rules, reuses_authorizations=False)
    authorization = await preauthorize(house, caller)
    await house.authorizations.answer(caller, authorization.id, "http-01")

    wildcard = await house.order(caller, f"*.{NAME}")
    order = await house.order(caller, NAME)

    assert authorization.id not in wildcard.authorization_ids
    assert order.authorization_ids == (authorization.id,)
    assert order.status is OrderStatus.READY
    left = await house.database.fetchval("SELECT count(*) FROM preauthorizations")
    assert left == 0


async def test_a_proof_that_is_reused_leaves_no_entry_behind(house: House, caller: Caller) -> None:
    authorization = await preauthorize(house, caller)
    await house.authorizations.answer(caller, authorization.id, "http-01")

    await house.order(caller, NAME)
    before = house.database.statements
    order = await house.order(caller, NAME)

    assert order.authorization_ids == (authorization.id,)
    assert house.database.statements - before == 1


async def test_entries_that_served_their_time_are_removed(house: House, caller: Caller) -> None:
    await preauthorize(house, caller)
    await house.preauthorizations.create(caller, ("dns", "b.example"))
    await house.database.execute(
        "UPDATE preauthorizations SET expires_at = now() WHERE identifier = $1", f"dns:{NAME}"
    )

    await Maintenance(house.database).forget_expired_proofs()

    rows = await house.database.fetch("SELECT identifier FROM preauthorizations")
    assert [row["identifier"] for row in rows] == ["dns:b.example"]


async def _claimed(house: House, caller: Caller, authorization: Authorization) -> Any:
    """The validation of its first challenge, claimed and not carried out."""
    answered = await Authorizations(house.database).answer(
        caller,
        authorization.id,
        authorization.challenges[0].type,
        owner="me",
        lease=house.worker.lease,
    )
    assert answered is not None
    assert answered[1] is not None
    return answered[1]
