"""Limits around the use cases: what they count, what they spare, what they give back."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from acme_server.workflow.accounts import NewAccountRequest
from acme_server.workflow.limits import LimitUseCases
from policy.limits import Limit, LimitKind, LimitRules
from policy.model.accounts import Caller
from policy.model.authorizations import ValidationTask
from policy.model.errors import CallerStale, DatabaseUnavailable, ErrorKind, Problem, ServerError
from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import AccountId, AuthorizationId
from policy.model.orders import OrderStatus
from storage.failingnames import FailingNames
from storage.limits import Limits
from storage.pool import Database
from support.workflow import REFUSED, House, build_house, csr_for, verdict_of

DAY = timedelta(days=1)
ONE = Limit(burst=1, period=DAY)
TWO = Limit(burst=2, period=DAY)
EVERYTHING = LimitRules(
    limits=dict.fromkeys(LimitKind, Limit(burst=100, period=DAY)), pause_after=100
)


def rules(limits: Mapping[LimitKind, Limit], **others: object) -> LimitRules:
    """Some limits."""
    return replace(LimitRules(), limits=limits, **others)  # type: ignore[arg-type] # a shorthand


def registration(address: str = "192.0.2.1", key: bytes | None = None) -> NewAccountRequest:
    """A request for an account with a key of its own."""
    key = os.urandom(32) if key is None else key
    return NewAccountRequest(
        jwk=key,
        thumbprint=hashlib.sha256(key).digest(),
        spki_sha256=hashlib.sha256(key + b"spki").digest(),
        contacts=(),
        terms_agreed=True,
        only_return_existing=False,
        address=address,
    )


def name(value: str) -> Identifier:
    """A DNS identifier."""
    return Identifier(IdentifierType.DNS, value)


async def issue(house: House, caller: Caller, *names: str) -> None:
    """Get a certificate."""
    order = await house.ready_order(caller, *names)
    await house.issuance.finalize(caller, order.id, csr_for(*names))


async def fail(house: House, caller: Caller, value: str, problem: Problem = REFUSED) -> None:
    """Order a name and fail to prove it."""
    house.validators.problem = problem
    try:
        await house.ready_order(caller, value)
    finally:
        house.validators.problem = None


async def refusal(house: House, caller: Caller, *names: str) -> ServerError:
    """How an order is refused."""
    with pytest.raises(ServerError) as caught:
        await house.order(caller, *names)
    assert caught.value.kind is ErrorKind.RATE_LIMITED
    return caught.value


async def states(database: Database) -> int:
    """How many limits have something to give back."""
    count: int = await database.fetchval(
        "SELECT count(*) FROM rate_limits WHERE given_back_at > now()"
    )
    return count


async def statements(house: House, *names: str) -> list[int]:
    """The statements of a new account, a new order, its validation and its finalization."""
    database, counts = house.database, [house.database.statements]

    def note() -> None:
        counts.append(database.statements)

    account, _ = await house.accounts.register(registration())
    note()
    caller = Caller(account.id, account.thumbprint)
    order = await house.order(caller, *names)
    note()
    await house.authorizations.answer(caller, order.authorization_ids[0], "http-01")
    note()
    await house.issuance.finalize(caller, order.id, csr_for(*names))
    note()
    return [after - before for before, after in itertools.pairwise(counts)]


async def test_without_limits_no_statement_is_added(database: Database) -> None:
    house = await build_house(database)

    assert await statements(house, "a.example.com") == [1, 1, 2, 3]
    assert await database.fetchval("SELECT count(*) FROM rate_limits") == 0


async def test_all_limits_together_add_few_statements(database: Database) -> None:
    house = await build_house(database, limits=EVERYTHING)

    # A look for the account and one taking; the pauses and one taking; the end of a row of
    # failures; one taking and the note of what was issued.
    assert await statements(house, "a.example.com") == [3, 3, 3, 5]


async def test_new_accounts_are_limited_per_address(database: Database) -> None:
    house = await build_house(database, limits=rules({LimitKind.NEW_ACCOUNTS_PER_ADDRESS: TWO}))
    for _ in range(2):
        await house.accounts.register(registration())

    with pytest.raises(ServerError) as caught:
        await house.accounts.register(registration())
    _, is_new = await house.accounts.register(registration("192.0.2.2"))

    assert caught.value.kind is ErrorKind.RATE_LIMITED
    assert caught.value.retry_after is not None
    assert DAY.total_seconds() / 2 - 60 < caught.value.retry_after <= DAY.total_seconds() / 2
    assert caught.value.detail.startswith(
        "Too many new accounts from the address 192.0.2.1 (new_accounts_per_address: 2 in 1 day); "
        "try again after "
    )
    assert is_new


async def test_an_existing_account_is_found_whatever_the_limit_says(database: Database) -> None:
    house = await build_house(database, limits=rules({LimitKind.NEW_ACCOUNTS_PER_ADDRESS: TWO}))
    request = registration()
    made, _ = await house.accounts.register(request)

    for _ in range(3):
        found, is_new = await house.accounts.register(request)
        assert (found.id, is_new) == (made.id, False)
    await house.accounts.register(registration())
    found, _ = await house.accounts.register(request)

    assert found.id == made.id


async def test_many_registrations_with_one_key_take_one(database: Database) -> None:
    house = await build_house(
        database, limits=rules({LimitKind.NEW_ACCOUNTS_PER_ADDRESS: Limit(burst=9, period=DAY)})
    )
    request = registration()

    await asyncio.gather(*(house.accounts.register(request) for _ in range(8)))

    for _ in range(8):
        await house.accounts.register(registration())
    with pytest.raises(ServerError, match="Too many new accounts"):
        await house.accounts.register(registration())


async def test_a_refused_registration_is_given_back(database: Database) -> None:
    house = await build_house(database, limits=rules({LimitKind.NEW_ACCOUNTS_PER_ADDRESS: ONE}))
    blocked = registration()
    await database.execute(
        "INSERT INTO blocked_keys (thumbprint, certificate_id, blocked_by) VALUES ($1, $2, 'x')",
        blocked.thumbprint,
        uuid4(),
    )

    with pytest.raises(ServerError, match="compromised"):
        await house.accounts.register(blocked)
    _, is_new = await house.accounts.register(registration())

    assert is_new


async def test_addresses_of_one_ipv6_range_are_limited_together(database: Database) -> None:
    house = await build_house(database, limits=rules({LimitKind.NEW_ACCOUNTS_PER_RANGE: TWO}))
    for address in ("2001:db8:1::1", "2001:db8:1:ffff::2"):
        await house.accounts.register(registration(address))

    with pytest.raises(ServerError, match="the range 2001:db8:1::/48"):
        await house.accounts.register(registration("2001:db8:1:2::3"))

    for address in ("2001:db8:2::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"):
        _, is_new = await house.accounts.register(registration(address))
        assert is_new


async def test_addresses_of_one_ipv6_host_are_one_address(database: Database) -> None:
    house = await build_house(database, limits=rules({LimitKind.NEW_ACCOUNTS_PER_ADDRESS: ONE}))

    made = [
        await try_to_register(house, address)
        for address in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:3::1")
    ]

    assert made == [True, False, True]


async def test_a_network_may_have_another_limit_or_none(database: Database) -> None:
    house = await build_house(
        database,
        limits=rules(
            {LimitKind.NEW_ACCOUNTS_PER_ADDRESS: ONE},
            by_network={ip_network("10.0.0.0/8"): None, ip_network("10.1.0.0/16"): TWO},
        ),
    )

    made = {
        address: [await try_to_register(house, address) for _ in range(3)]
        for address in ("10.0.0.1", "10.1.0.1", "10.1.0.2", "192.0.2.1")
    }

    assert made == {
        "10.0.0.1": [True, True, True],
        "10.1.0.1": [True, True, False],
        "10.1.0.2": [True, True, False],
        "192.0.2.1": [True, False, False],
    }


async def try_to_register(house: House, address: str) -> bool:
    """Whether a new account is let in."""
    try:
        await house.accounts.register(registration(address))
    except ServerError as error:
        if error.kind is not ErrorKind.RATE_LIMITED:
            raise
        return False
    return True


async def test_orders_are_limited_per_account(database: Database) -> None:
    house = await build_house(database, limits=rules({LimitKind.ORDERS_PER_ACCOUNT: TWO}))
    caller, other = await house.caller(), await house.caller()
    for value in ("a.example", "b.example"):
        await house.order(caller, value)

    refused = await refusal(house, caller, "c.example")
    await house.order(other, "c.example")

    assert "new orders of this account (orders_per_account: 2 in 1 day)" in refused.detail
    assert refused.subproblems == ()
    count = "SELECT count(*) FROM orders WHERE account_id = $1"
    assert await database.fetchval(count, caller.account_id) == 2


async def test_an_account_may_have_another_limit_or_none(database: Database) -> None:
    before = await build_house(database)
    callers = [await before.caller() for _ in range(2)]
    house = await build_house(
        database,
        before.master_key,
        limits=rules(
            {LimitKind.ORDERS_PER_ACCOUNT: ONE},
            by_account={callers[0].account_id: None, callers[1].account_id: TWO},
        ),
    )

    for _ in range(3):
        await house.order(callers[0], "a.example.com")
    for _ in range(2):
        await house.order(callers[1], "a.example.com")

    await refusal(house, callers[1], "a.example.com")


async def test_an_order_that_fails_is_given_back(database: Database) -> None:
    house = await build_house(database, limits=rules({LimitKind.ORDERS_PER_ACCOUNT: ONE}))
    caller = await house.caller()

    with pytest.raises(CallerStale):
        await house.order(replace(caller, thumbprint=bytes(32)), "a.example.com")
    with pytest.raises(ServerError, match="no DNS name"):
        await house.order(caller, "-.example.com")
    await house.order(caller, "a.example.com")

    await refusal(house, caller, "a.example.com")


async def test_renewals_of_the_same_names_are_spared_and_others_are_not(
    database: Database,
) -> None:
    house = await build_house(
        database,
        limits=rules({LimitKind.ORDERS_PER_ACCOUNT: ONE, LimitKind.CERTIFICATES_PER_DOMAIN: ONE}),
    )
    caller = await house.caller()
    await issue(house, caller, "a.example.com", "b.example.com")

    for _ in range(2):
        await issue(house, caller, "b.example.com", "a.example.com")

    refused = await refusal(house, caller, "a.example.com")
    assert "1 more limit is exceeded" in refused.detail


async def test_an_order_without_a_certificate_makes_no_renewal(database: Database) -> None:
    house = await build_house(database, limits=rules({LimitKind.ORDERS_PER_ACCOUNT: ONE}))
    caller = await house.caller()
    await house.ready_order(caller, "a.example.com")

    await refusal(house, caller, "a.example.com")


async def test_certificates_are_limited_per_registered_domain(database: Database) -> None:
    house = await build_house(database, limits=rules({LimitKind.CERTIFICATES_PER_DOMAIN: TWO}))
    first, second = await house.caller(), await house.caller()
    await issue(house, first, "a.example.co.uk", "b.example.co.uk")
    await issue(house, second, "c.example.co.uk")

    refused = await refusal(house, second, "d.c.example.co.uk", "other.co.uk", "*.example.co.uk")
    await issue(house, second, "other.co.uk")

    assert "certificates for example.co.uk (certificates_per_domain: 2 in 1 day)" in refused.detail
    assert [problem.identifier for problem in refused.subproblems] == [
        name("d.c.example.co.uk"),
        name("*.example.co.uk"),
    ]
    assert {problem.kind for problem in refused.subproblems} == {ErrorKind.RATE_LIMITED}


async def test_orders_that_end_without_a_certificate_take_no_certificate(
    database: Database,
) -> None:
    house = await build_house(
        database,
        limits=rules(
            {LimitKind.CERTIFICATES_PER_DOMAIN: ONE, LimitKind.CERTIFICATES_PER_NAME_SET: ONE}
        ),
    )
    caller = await house.caller()

    for _ in range(3):
        await fail(house, caller, "a.example.com")

    assert await states(database) == 0
    await issue(house, caller, "a.example.com")


async def test_of_orders_that_are_ready_only_as_many_are_issued_as_the_limit_allows(
    database: Database,
) -> None:
    house = await build_house(database, limits=rules({LimitKind.CERTIFICATES_PER_DOMAIN: TWO}))
    caller = await house.caller()
    names = [f"{letter}.example.com" for letter in "abcd"]
    orders = [await house.ready_order(caller, value) for value in names]

    results = await asyncio.gather(
        *(
            house.issuance.finalize(caller, order.id, csr_for(value))
            for order, value in zip(orders, names, strict=True)
        ),
        return_exceptions=True,
    )

    refused = [result for result in results if isinstance(result, ServerError)]
    assert [error.kind for error in refused] == [ErrorKind.RATE_LIMITED] * 2
    assert sorted([(await house.orders.get(caller, order.id)).status for order in orders]) == [
        OrderStatus.READY,
        OrderStatus.READY,
        OrderStatus.VALID,
        OrderStatus.VALID,
    ]


async def test_finalizing_an_order_many_times_takes_one(database: Database) -> None:
    house = await build_house(
        database,
        limits=rules({LimitKind.CERTIFICATES_PER_DOMAIN: Limit(burst=9, period=DAY)}),
    )
    caller = await house.caller()
    order = await house.ready_order(caller, "a.example.com")
    csr = csr_for("a.example.com")

    results = await asyncio.gather(
        *(house.issuance.finalize(caller, order.id, csr) for _ in range(8)),
        return_exceptions=True,
    )

    assert sum(not isinstance(result, Exception) for result in results) == 1
    for number in range(8):
        await issue(house, caller, f"n{number}.example.com")
    await refusal(house, caller, "last.example.com")


async def test_certificates_are_limited_per_exact_name_set_and_renewals_count(
    database: Database,
) -> None:
    house = await build_house(database, limits=rules({LimitKind.CERTIFICATES_PER_NAME_SET: TWO}))
    caller = await house.caller()
    await issue(house, caller, "a.example.com", "b.example.com")
    await issue(house, caller, "b.example.com", "a.example.com")

    refused = await refusal(house, caller, "a.example.com", "b.example.com")
    await issue(house, caller, "a.example.com")

    assert "certificates for exactly these names (certificates_per_name_set: 2" in refused.detail


async def test_failed_validations_are_limited_per_account_and_name(database: Database) -> None:
    house = await build_house(database, limits=rules({LimitKind.FAILED_VALIDATIONS: TWO}))
    caller, other = await house.caller(), await house.caller()
    for _ in range(2):
        await fail(house, caller, "a.example.com")

    refused = await refusal(house, caller, "b.example.com", "a.example.com")
    await house.order(caller, "b.example.com")
    await house.order(other, "a.example.com")

    assert [problem.identifier for problem in refused.subproblems] == [name("a.example.com")]
    assert refused.retry_after is not None
    assert DAY.total_seconds() / 2 - 60 < refused.retry_after <= DAY.total_seconds() / 2
    assert "failed validations of a.example.com and this account" in refused.detail


async def test_a_wildcard_and_its_base_name_are_one_name_to_failures(database: Database) -> None:
    house = await build_house(database, limits=rules({LimitKind.FAILED_VALIDATIONS: ONE}))
    caller = await house.caller()
    await fail(house, caller, "*.example.com")

    refused = await refusal(house, caller, "*.example.com", "example.com")

    assert [problem.identifier for problem in refused.subproblems] == [name("example.com")]


async def test_successes_and_faults_of_ours_are_no_failed_validations(database: Database) -> None:
    house = await build_house(
        database, limits=rules({LimitKind.FAILED_VALIDATIONS: ONE}, pause_after=1)
    )
    caller = await house.caller()
    for cause in ("internal", "dns_unreachable", "dns_untrusted"):
        ours = Problem(kind=ErrorKind.DNS, detail="our resolver is away", cause=cause)
        await fail(house, caller, "a.example.com", ours)
    await house.ready_order(caller, "a.example.com")

    assert await states(database) == 0
    await house.order(caller, "a.example.com")


async def test_a_name_that_fails_again_and_again_is_paused_until_an_operator_ends_it(
    database: Database,
) -> None:
    house = await build_house(database, limits=rules({}, pause_after=2))
    caller, other = await house.caller(), await house.caller()
    for _ in range(2):
        await fail(house, caller, "a.example.com")

    refused = await refusal(house, caller, "b.example.com", "a.example.com")
    await house.order(other, "a.example.com")
    ended = await FailingNames(database).unpause(caller.account_id, None, actor="operator:root")
    await house.order(caller, "a.example.com")

    assert refused.retry_after is None
    assert "a.example.com is paused for this account" in refused.detail
    assert [problem.identifier for problem in refused.subproblems] == [name("a.example.com")]
    assert ended == [name("a.example.com")]
    events = await database.fetch(
        "SELECT actor, action, detail->>'identifier' AS identifier FROM audit_events "
        "WHERE action LIKE 'name_%' AND subject = 'account:' || $1::uuid ORDER BY id",
        caller.account_id,
    )
    assert [tuple(event) for event in events] == [
        ("system:validation", "name_paused", "dns:a.example.com"),
        ("operator:root", "name_unpaused", "dns:a.example.com"),
    ]


async def test_all_paused_names_of_an_order_are_told_at_once(database: Database) -> None:
    house = await build_house(database, limits=rules({}, pause_after=1))
    caller = await house.caller()
    for value in ("a.example.com", "b.example.com"):
        await fail(house, caller, value)

    refused = await refusal(
        house, caller, "b.example.com", "c.example.com", "*.a.example.com", "a.example.com"
    )

    assert refused.detail.startswith("2 names are paused")
    assert [problem.identifier for problem in refused.subproblems] == [
        name("b.example.com"),
        name("a.example.com"),
    ]


async def test_a_success_begins_the_count_anew(database: Database) -> None:
    house = await build_house(database, limits=rules({}, pause_after=2))
    caller = await house.caller()

    await fail(house, caller, "a.example.com")
    order = await house.ready_order(caller, "a.example.com")
    await house.authorizations.deactivate(caller, order.authorization_ids[0])
    await fail(house, caller, "a.example.com")

    await house.order(caller, "a.example.com")


async def test_failures_at_once_pause_once(database: Database) -> None:
    failing = FailingNames(database)
    caller = await (await build_house(database)).caller()

    paused = await asyncio.gather(
        *(failing.add_failure(caller.account_id, name("a.example.com"), 5) for _ in range(20))
    )

    assert sum(paused) == 1


async def test_unpausing_leaves_other_names_and_counts_alone(database: Database) -> None:
    house = await build_house(database, limits=rules({}, pause_after=2))
    failing, caller = FailingNames(database), await house.caller()
    for value in ("a.example.com", "a.example.com", "b.example.com", "b.example.com", "c.example"):
        await fail(house, caller, value)

    ended = await failing.unpause(caller.account_id, name("a.example.com"), actor="operator:root")
    again = await failing.unpause(caller.account_id, name("a.example.com"), actor="operator:root")
    counting = await failing.unpause(caller.account_id, name("c.example"), actor="operator:root")

    assert (ended, again, counting) == ([name("a.example.com")], [], [])
    await refusal(house, caller, "b.example.com")
    await fail(house, caller, "c.example")
    await refusal(house, caller, "c.example")


async def test_old_counts_are_forgotten_and_pauses_never(database: Database) -> None:
    house = await build_house(database, limits=rules({}, pause_after=2))
    caller = await house.caller()
    for value in ("a.example.com", "a.example.com", "b.example.com", "c.example.com"):
        await fail(house, caller, value)
    await database.execute(
        "UPDATE failing_names SET failed_at = now() - interval '91 days' WHERE identifier <> $1",
        "dns:c.example.com",
    )

    assert await house.limits.forget_stale() == 1
    assert await database.fetchval("SELECT count(*) FROM failing_names") == 2
    await refusal(house, caller, "a.example.com")


async def test_authorizations_ahead_of_orders_are_no_way_around(database: Database) -> None:
    house = await build_house(
        database, limits=rules({LimitKind.FAILED_VALIDATIONS: TWO}, pause_after=1)
    )
    failing, caller = FailingNames(database), await house.caller()
    await fail(house, caller, "a.example.com")

    with pytest.raises(ServerError, match="is paused for this account"):
        await house.preauthorizations.create(caller, ("dns", "a.example.com"))
    await failing.unpause(caller.account_id, None, actor="operator:root")
    await fail(house, caller, "a.example.com")
    await failing.unpause(caller.account_id, None, actor="operator:root")
    with pytest.raises(ServerError, match=r"failed validations of a\.example\.com"):
        await house.preauthorizations.create(caller, ("dns", "a.example.com"))
    _, is_new = await house.preauthorizations.create(caller, ("dns", "b.example.com"))

    assert is_new


async def test_authorizations_ahead_of_orders_cost_as_much_as_orders(database: Database) -> None:
    house = await build_house(database, limits=rules({LimitKind.ORDERS_PER_ACCOUNT: TWO}))
    caller = await house.caller()
    await house.preauthorizations.create(caller, ("dns", "a.example.com"))
    _, is_new = await house.preauthorizations.create(caller, ("dns", "a.example.com"))
    await house.preauthorizations.create(caller, ("dns", "b.example.com"))

    with pytest.raises(ServerError) as refused:
        await house.preauthorizations.create(caller, ("dns", "c.example.com"))

    # The second request found what the first one made, and took nothing.
    assert not is_new
    assert refused.value.kind is ErrorKind.RATE_LIMITED


async def test_a_database_that_goes_away_hides_neither_verdicts_nor_refusals(
    database_url: str,
) -> None:
    database = await Database.open(database_url)
    limits = LimitUseCases(Limits(database), FailingNames(database), EVERYTHING)
    task = ValidationTask(
        authorization_id=AuthorizationId(uuid4()),
        account_id=AccountId(uuid4()),
        identifier=name("a.example.com"),
        wildcard=False,
        type="http-01",
        token="token",
        thumbprint=bytes(32),
        attempt=1,
    )
    refused = ServerError(ErrorKind.BAD_PUBLIC_KEY, "refused")

    async def fail_within() -> None:
        async with limits.new_account("192.0.2.1"):
            await database.close()
            raise refused

    with capture_logs() as logs:
        with pytest.raises(ServerError) as caught:
            await fail_within()
        await limits.concluded(task, verdict_of(task, REFUSED))
        await limits.concluded(task, verdict_of(task))
        await limits.issued([task.identifier])

    assert caught.value is refused
    assert [entry["event"] for entry in logs] == [
        "limit_not_given_back",
        "validation_not_counted",
        "validation_not_counted",
        "issued_names_not_recorded",
    ]


async def test_what_may_have_come_about_stays_taken(database: Database) -> None:
    limits = LimitUseCases(Limits(database), None, rules({LimitKind.NEW_ACCOUNTS_PER_ADDRESS: ONE}))

    with pytest.raises(DatabaseUnavailable):
        async with limits.new_account("192.0.2.1"):
            raise DatabaseUnavailable("the answer was lost")
    with pytest.raises(ServerError) as caught:
        async with limits.new_account("192.0.2.1"):
            pass

    assert caught.value.kind is ErrorKind.RATE_LIMITED
