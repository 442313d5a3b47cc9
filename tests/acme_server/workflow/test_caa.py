"""CAA before issuance: what a validation found holds for a while, each name on its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import dns.rrset
import pytest
from structlog.testing import capture_logs

from acme_server.workflow.caa import CaaUseCases, _Name
from policy.model.accounts import Caller
from policy.model.errors import ErrorKind, ServerError
from policy.model.ids import AccountId
from policy.model.orders import Order
from storage.pool import Database
from support.caa import caa_use_cases, checking_house
from support.dns import DnsServer, Question, failing, reply, silent, wire
from support.validation import CAA_IDENTITY, PATIENT, SHORT, Lab, account_url
from support.workflow import House, build_house
from validators.caa import CaaOutcome
from validators.sockets import SocketsExhausted

NOBODY = '0 issue ";"'
OURS = f'0 issue "{CAA_IDENTITY}"'


@pytest.fixture
async def dns_server() -> AsyncIterator[DnsServer]:
    async with DnsServer() as server:
        yield server


@pytest.fixture
def lab(dns_server: DnsServer) -> Lab:
    return Lab(dns=(dns_server.endpoint,), caa=True)


@pytest.fixture
async def house(database: Database, lab: Lab) -> House:
    return await checking_house(database, lab)


async def check(house: House, caller: Caller, order: Order, cases: CaaUseCases) -> None:
    authorizations = [
        await house.authorizations.get(caller, each) for each in order.authorization_ids
    ]
    await cases.check(caller, order.identifiers, authorizations)


async def refusal(house: House, caller: Caller, order: Order, cases: CaaUseCases) -> ServerError:
    with pytest.raises(ServerError) as raised:
        await check(house, caller, order, cases)
    return raised.value


@pytest.mark.parametrize(("hours", "asks"), [(7.9, False), (8.1, True)])
async def test_a_check_of_a_validation_holds_for_eight_hours(
    house: House, lab: Lab, dns_server: DnsServer, hours: float, asks: bool
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.test")
    dns_server.asked.clear()

    await check(house, caller, order, caa_use_cases(house, lab, hours=hours))

    assert bool(dns_server.asked) is asks


@pytest.mark.parametrize(("hours", "asks"), [(23.9, False), (24.1, True)])
async def test_a_check_holds_for_the_lifetime_of_its_records_if_that_is_longer(
    house: House, lab: Lab, dns_server: DnsServer, hours: float, asks: bool
) -> None:
    def lasting(question: Question) -> Sequence[bytes]:
        message = reply(question)
        message.answer.append(dns.rrset.from_text(question.name, 86400, "IN", "CAA", OURS))
        return [wire(message)]

    dns_server.script("www.example.test", "CAA", lasting)
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.test")
    dns_server.asked.clear()

    await check(house, caller, order, caa_use_cases(house, lab, hours=hours))

    assert bool(dns_server.asked) is asks


async def test_what_is_forbidden_meanwhile_is_refused(
    house: House, lab: Lab, dns_server: DnsServer
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.test")
    dns_server.add("example.test", "CAA", NOBODY)

    error = await refusal(house, caller, order, caa_use_cases(house, lab, hours=9))

    assert error.kind is ErrorKind.CAA
    assert error.identifier == order.identifiers[0]
    assert error.detail.startswith(f"www.example.test: The record example.test. CAA {NOBODY} does")
    assert f'example.test. CAA 0 issue "{CAA_IDENTITY}"' in error.detail


async def test_each_of_thirty_names_is_checked(
    house: House, lab: Lab, dns_server: DnsServer
) -> None:
    """A CA once picked one of the names and checked it thirty times."""
    names = [f"host{number}.example.test" for number in range(30)]
    for name in names:
        dns_server.add(name, "CAA", OURS)
    caller = await house.caller()
    order = await house.ready_order(caller, *names)
    dns_server.asked.clear()
    dns_server.script(names[17], "CAA", lambda q: [wire(reply(q, f"{names[17]}. CAA {NOBODY}"))])

    error = await refusal(house, caller, order, caa_use_cases(house, lab, hours=9))

    assert set(names) <= set(dns_server.names_asked("CAA"))
    assert error.kind is ErrorKind.CAA
    assert [sub.identifier and sub.identifier.value for sub in error.subproblems] == [names[17]]


async def test_several_objections_are_subproblems_of_one(
    house: House, lab: Lab, dns_server: DnsServer
) -> None:
    names = ["a.example.test", "b.example.test", "c.example.test"]
    caller = await house.caller()
    order = await house.ready_order(caller, *names)
    dns_server.add(names[0], "CAA", NOBODY)
    dns_server.script(names[1], "CAA", failing("SERVFAIL"))

    error = await refusal(house, caller, order, caa_use_cases(house, lab, hours=9))

    found = {sub.identifier.value: sub.kind for sub in error.subproblems if sub.identifier}
    assert error.kind is ErrorKind.CAA
    assert error.detail == "CAA records forbid issuing for 2 names."
    assert found == {names[0]: ErrorKind.CAA, names[1]: ErrorKind.DNS}


async def test_a_lookup_that_fails_is_no_permission(
    house: House, lab: Lab, dns_server: DnsServer
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.test")
    dns_server.script("www.example.test", "CAA", failing("SERVFAIL"))

    error = await refusal(house, caller, order, caa_use_cases(house, lab, hours=9))

    assert error.kind is ErrorKind.DNS


async def test_lookups_that_take_too_long_are_no_permission(
    house: House, lab: Lab, dns_server: DnsServer
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.test")
    dns_server.script("www.example.test", "CAA", silent)

    error = await refusal(house, caller, order, caa_use_cases(house, lab, hours=9, patience=SHORT))

    assert error.kind is ErrorKind.DNS
    assert "finalize the order again" in error.detail


async def test_a_wildcard_and_its_base_are_checked_apart(
    house: House, lab: Lab, dns_server: DnsServer
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "example.test", "*.example.test")
    dns_server.add("example.test", "CAA", OURS, '0 issuewild ";"')

    error = await refusal(house, caller, order, caa_use_cases(house, lab, hours=9))

    assert [sub.identifier and sub.identifier.value for sub in error.subproblems] == [
        "*.example.test"
    ]


async def test_the_account_and_the_method_of_the_proof_count(
    house: House, lab: Lab, dns_server: DnsServer
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.test", "two.example.test")
    url = account_url(AccountId(caller.account_id))
    dns_server.add(
        "www.example.test",
        "CAA",
        f'0 issue "{CAA_IDENTITY}; accounturi={url}; validationmethods=http-01"',
    )
    dns_server.add("two.example.test", "CAA", f'0 issue "{CAA_IDENTITY}; accounturi={url}0"')

    error = await refusal(house, caller, order, caa_use_cases(house, lab, hours=9))

    assert [sub.cause for sub in error.subproblems] == ["caa_account"]


async def test_a_validation_without_a_check_is_followed_by_one(
    database: Database, lab: Lab, dns_server: DnsServer
) -> None:
    """CAA was off, or only informed, when the name was validated."""
    house = await build_house(database)
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.test")
    dns_server.add("www.example.test", "CAA", NOBODY)

    error = await refusal(house, caller, order, caa_use_cases(house, lab))

    assert error.kind is ErrorKind.CAA


async def test_an_objection_while_caa_only_informed_counts_once_it_is_enforced(
    database: Database, lab: Lab, dns_server: DnsServer
) -> None:
    lab.caa = False
    house = await checking_house(database, lab)
    dns_server.add("www.example.test", "CAA", NOBODY)
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.test")

    error = await refusal(house, caller, order, caa_use_cases(house, lab))

    assert error.kind is ErrorKind.CAA


async def test_advisory_checks_are_logged_and_not_waited_for(
    house: House, lab: Lab, dns_server: DnsServer
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.test")
    dns_server.add("www.example.test", "CAA", NOBODY)
    cases = caa_use_cases(house, lab, hours=9, is_enforced=False)
    dns_server.asked.clear()

    with capture_logs() as logs:
        await check(house, caller, order, cases)
        asked_before_the_answer = list(dns_server.asked)
        await cases.drain(PATIENT.total_seconds())

    assert asked_before_the_answer == []
    assert [(log["event"], log["result"]) for log in logs] == [("caa_objected", "forbidden")]


async def test_advisory_checks_that_take_too_long_are_given_up(
    house: House, lab: Lab, dns_server: DnsServer
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.test")
    dns_server.script("www.example.test", "CAA", silent)
    cases = caa_use_cases(house, lab, hours=9, is_enforced=False, patience=SHORT)

    with capture_logs() as logs:
        await check(house, caller, order, cases)
        await cases.drain(PATIENT.total_seconds())

    assert [log["event"] for log in logs] == ["caa_not_checked"]


async def test_advisory_checks_of_fresh_validations_cost_nothing(
    house: House, lab: Lab, dns_server: DnsServer
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.test")
    dns_server.asked.clear()
    cases = caa_use_cases(house, lab, hours=7, is_enforced=False)

    await check(house, caller, order, cases)
    await cases.drain(PATIENT.total_seconds())

    assert dns_server.asked == []


class NoSockets:
    """A fake for what can't be had on demand: no socket is left for a lookup."""

    def __init__(self) -> None:
        self.asked = 0

    async def check(self, name: str, **details: object) -> CaaOutcome:
        """Never answers."""
        self.asked += 1
        raise SocketsExhausted("too many open files")


async def test_without_sockets_finalize_is_asked_to_come_back(house: House, lab: Lab) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.test", "two.example.test")
    cases = caa_use_cases(house, lab, hours=9)
    cases._checker = NoSockets()

    error = await refusal(house, caller, order, cases)

    assert error.kind is ErrorKind.UNAVAILABLE
    assert error.retry_after is not None


async def test_without_sockets_an_advisory_check_is_noted_as_missing(
    house: House, lab: Lab
) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.test")
    cases = caa_use_cases(house, lab, hours=9, is_enforced=False)
    cases._checker = NoSockets()

    with capture_logs() as logs:
        await check(house, caller, order, cases)
        await cases.drain(PATIENT.total_seconds())

    assert [entry["event"] for entry in logs] == ["caa_not_checked"]


async def test_advisory_checks_under_way_are_bounded(house: House, lab: Lab) -> None:
    caller = await house.caller()
    order = await house.ready_order(caller, "www.example.test")
    cases = caa_use_cases(house, lab, hours=9, is_enforced=False)
    checker = NoSockets()
    cases._checker = checker

    with capture_logs() as logs:
        for _ in range(150):
            # Nothing here lets a check run before the next is asked for.
            cases._advise_later(caller, [_name(order)])
        await cases.drain(PATIENT.total_seconds())

    assert checker.asked == 100
    assert len(logs) == 150


def _name(order: Order) -> _Name:
    return _Name(order.identifiers[0], None)
