"""Limits as clients meet them: 429, the exact time to wait, each name told apart."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from policy.limits import Limit, LimitKind, LimitRules
from storage.pool import Database
from support.acme import JOSE, AcmeClient, AcmeServed, serve_house
from support.edge import Reply
from support.jose import b64
from support.workflow import REFUSED, House, build_house, csr_for

HOURS = timedelta(hours=3)
WEEK = timedelta(days=7)


async def limited(
    database: Database,
    kind: LimitKind | None,
    burst: int = 1,
    period: timedelta = HOURS,
    **others: Any,
) -> House:
    """The use cases with one limit."""
    limits = {} if kind is None else {kind: Limit(burst=burst, period=period)}
    return await build_house(database, limits=LimitRules(limits=limits, **others))


def limited_problem(reply: Reply) -> dict[str, Any]:
    """The problem document of an answer that says when to come again."""
    problem: dict[str, Any] = reply.problem()
    assert reply.status == problem["status"] == 429
    assert problem["type"] == "urn:ietf:params:acme:error:rateLimited"
    assert reply.headers["replay-nonce"]
    return problem


def names_in(problem: dict[str, Any]) -> list[str]:
    """The names of the subproblems, each with the problem's own type."""
    assert {part["type"] for part in problem["subproblems"]} == {problem["type"]}
    return [part["identifier"]["value"] for part in problem["subproblems"]]


def order_for(*names: str) -> dict[str, Any]:
    """The payload of a newOrder."""
    return {"identifiers": [{"type": "dns", "value": name} for name in names]}


async def place(client: AcmeClient, *names: str) -> Reply:
    """Send a newOrder."""
    return await client.post(client.urls.new_order, order_for(*names))


async def prove(client: AcmeClient, reply: Reply) -> dict[str, Any]:
    """Answer a challenge of each authorization of a new order; the order as it was."""
    assert reply.status == 201
    order: dict[str, Any] = json.loads(reply.body)
    for url in order["authorizations"]:
        challenge = json.loads((await client.read(url)).body)["challenges"][0]
        assert (await client.post(challenge["url"], {})).status == 200
    return order


async def issue(client: AcmeClient, *names: str) -> Reply:
    """Order, prove and finalize."""
    order = await prove(client, await place(client, *names))
    return await client.post(order["finalize"], {"csr": b64(csr_for(*names))})


async def registration(served: AcmeServed, **headers: str) -> Reply:
    """Ask for an account with a new key."""
    client = await served.client()
    url = client.urls.new_account
    jws = client.key.sign(await client.header(url), {"termsOfServiceAgreed": True})
    target = url.removeprefix(client.urls.origin)
    sent = {"Content-Type": JOSE, **headers}
    return await client.request("POST", target, json.dumps(jws).encode(), sent)


async def test_l001_an_address_makes_ten_accounts_in_three_hours(database: Database) -> None:
    house = await limited(database, LimitKind.NEW_ACCOUNTS_PER_ADDRESS, 10)
    async with serve_house(house) as served:
        before = datetime.now(UTC)
        made = [(await registration(served)).status for _ in range(10)]
        refused = await registration(served)
        after = datetime.now(UTC)

    problem = limited_problem(refused)
    assert made == [201] * 10
    wait = int(refused.headers["retry-after"])
    assert 1080 - (after - before).total_seconds() <= wait <= 1080
    assert "the address 127.0.0.1 (new_accounts_per_address: 10 in 3 hours)" in problem["detail"]
    text = problem["detail"].partition("try again after ")[2].removesuffix(" UTC.")
    moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert before + timedelta(seconds=1080) - timedelta(seconds=1) <= moment
    assert moment <= after + timedelta(seconds=1081)
    assert "subproblems" not in problem


async def test_l007_a_forged_header_makes_no_other_address(database: Database) -> None:
    house = await limited(database, LimitKind.NEW_ACCOUNTS_PER_ADDRESS, 2)
    async with serve_house(house) as served:
        replies = [
            await registration(served, **{"X-Forwarded-For": f"203.0.113.{number}"})
            for number in range(4)
        ]

    assert [reply.status for reply in replies] == [201, 201, 429, 429]


async def test_an_account_is_found_again_while_new_ones_are_refused(database: Database) -> None:
    house = await limited(database, LimitKind.NEW_ACCOUNTS_PER_ADDRESS)
    async with serve_house(house) as served:
        client = await served.registered()
        refused = await registration(served)
        account = client.kid
        again = await client.register()

    limited_problem(refused)
    assert (again.status, client.kid) == (200, account)


async def test_l003_an_account_places_as_many_orders_as_its_limit(database: Database) -> None:
    house = await limited(database, LimitKind.ORDERS_PER_ACCOUNT, 30)
    async with serve_house(house) as served:
        client, other = await served.registered(), await served.registered()
        clients = [await served.connection_of(client) for _ in range(8)]
        batches = await asyncio.gather(
            *(several(each, 5, f"n{number}.example.com") for number, each in enumerate(clients))
        )
        refused = await place(client, "last.example.com")
        others = await place(other, "last.example.com")

    statuses = [status for batch in batches for status in batch]
    assert (statuses.count(201), statuses.count(429)) == (30, 10)
    assert "new orders of this account" in limited_problem(refused)["detail"]
    assert 0 < int(refused.headers["retry-after"]) <= 360
    assert others.status == 201


async def several(client: AcmeClient, count: int, name: str) -> list[int]:
    """The statuses of some orders, one after the other."""
    return [(await place(client, name)).status for _ in range(count)]


async def test_l005_the_sixth_certificate_for_the_same_names_is_refused(
    database: Database,
) -> None:
    house = await limited(database, LimitKind.CERTIFICATES_PER_NAME_SET, 5, WEEK)
    async with serve_house(house) as served:
        client = await served.registered()
        issued = [(await issue(client, "a.example.com", "b.example.com")).status for _ in range(5)]
        refused = await place(client, "b.example.com", "a.example.com")
        subset = await issue(client, "a.example.com")

    problem = limited_problem(refused)
    assert issued == [200] * 5
    assert "exactly these names (certificates_per_name_set: 5 in 7 days)" in problem["detail"]
    assert 0 < int(refused.headers["retry-after"]) <= WEEK.total_seconds() / 5
    assert subset.status == 200


async def test_a_domain_of_which_nothing_is_left_is_told_name_by_name(database: Database) -> None:
    house = await limited(database, LimitKind.CERTIFICATES_PER_DOMAIN)
    async with serve_house(house) as served:
        client = await served.registered()
        await issue(client, "a.example.com")
        refused = await place(client, "b.example.com", "b.example.org", "*.c.example.com")
        rest = await place(client, "b.example.org")
        renewal = await issue(client, "a.example.com")

    assert names_in(limited_problem(refused)) == ["b.example.com", "*.c.example.com"]
    assert rest.status == 201
    assert renewal.status == 200


async def test_a_ready_order_waits_for_the_limit_and_stays_ready(database: Database) -> None:
    house = await limited(database, LimitKind.CERTIFICATES_PER_DOMAIN)
    async with serve_house(house) as served:
        client = await served.registered()
        placed = await place(client, "a.example.com")
        waiting = await prove(client, placed)
        await issue(client, "b.example.com")
        csr = {"csr": b64(csr_for("a.example.com"))}
        refused = await client.post(waiting["finalize"], csr)
        order = json.loads((await client.read(placed.headers["location"])).body)
        await database.execute(
            "UPDATE rate_limits SET given_back_at = given_back_at - interval '3 hours'"
        )
        finalized = await client.post(waiting["finalize"], csr)

    limited_problem(refused)
    assert 0 < int(refused.headers["retry-after"]) <= HOURS.total_seconds()
    assert order["status"] == "ready"
    assert json.loads(finalized.body)["status"] == "valid"


async def test_a_name_that_failed_too_often_is_refused_for_its_account_alone(
    database: Database,
) -> None:
    house = await limited(database, LimitKind.FAILED_VALIDATIONS, 2)
    house.validators.problem = REFUSED
    async with serve_house(house) as served:
        client, other = await served.registered(), await served.registered()
        for _ in range(2):
            await prove(client, await place(client, "a.example.com"))
        refused = await place(client, "a.example.com", "b.example.com")
        elsewhere = await place(other, "a.example.com")

    assert names_in(limited_problem(refused)) == ["a.example.com"]
    assert 0 < int(refused.headers["retry-after"]) <= HOURS.total_seconds() / 2
    assert elsewhere.status == 201


async def test_o073_an_order_with_a_paused_name_is_refused_and_waiting_does_not_help(
    database: Database,
) -> None:
    house = await limited(database, None, pause_after=3)
    house.validators.problem = REFUSED
    async with serve_house(house) as served:
        client = await served.registered()
        for _ in range(3):
            await prove(client, await place(client, "a.example.com"))
        refused = await place(client, "b.example.com", "*.a.example.com")
        rest = await place(client, "b.example.com")

    problem = limited_problem(refused)
    assert names_in(problem) == ["a.example.com"]
    assert "ask the operator of this server to unpause it" in problem["detail"]
    assert "retry-after" not in refused.headers
    assert rest.status == 201
