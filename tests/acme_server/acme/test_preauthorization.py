"""newAuthz: proving control of a name before anything is ordered (RFC 8555, section 7.4.1)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from acme_server.workflow.orders import OrderUseCases
from acme_server.workflow.preauthorizations import PreauthorizationUseCases
from policy.names import NameRules
from storage.orders import Orders
from storage.pool import Database
from storage.preauthorizations import Preauthorizations
from support.acme import AcmeClient, serve_house
from support.edge import Reply
from support.jose import b64
from support.workflow import REFUSED, House, build_house, csr_for


@pytest.fixture
async def house(database: Database) -> House:
    """The use cases on a fresh database."""
    return await build_house(database)


def change_rules(house: House, **changes: Any) -> None:
    """Let orders and newAuthz follow other rules."""
    rules = replace(house.orders._rules, **changes)
    house.orders = OrderUseCases(Orders(house.database), house.orders._clock, rules)
    house.preauthorizations = PreauthorizationUseCases(Preauthorizations(house.database), rules)


def parsed(reply: Reply) -> dict[str, Any]:
    """The object in an answer."""
    document: dict[str, Any] = json.loads(reply.body)
    return document


def kind_of(reply: Reply) -> str:
    """The type of a problem, without its namespace."""
    return str(reply.problem()["type"]).removeprefix("urn:ietf:params:acme:error:")


async def preauthorize(client: AcmeClient, name: str, kind: str = "dns") -> Reply:
    """Ask for an authorization."""
    identifier = {"type": kind, "value": name}
    return await client.post(client.urls.new_authorization, {"identifier": identifier, "more": 1})


async def prove(client: AcmeClient, url: str) -> None:
    """Answer the first challenge of an authorization."""
    challenge = parsed(await client.read(url))["challenges"][0]
    assert (await client.post(challenge["url"], {})).status == 200


async def order(client: AcmeClient, *names: str) -> dict[str, Any]:
    """A new order's object."""
    identifiers = [{"type": "dns", "value": name} for name in names]
    reply = await client.post(client.urls.new_order, {"identifiers": identifiers})
    assert reply.status == 201
    return {"url": reply.headers["location"], **parsed(reply)}


async def test_an_authorization_is_made_without_an_order(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        made = await preauthorize(client, "A.example")
        url = made.headers["location"]
        read = await client.read(url)

    assert made.status == 201
    assert parsed(made) == parsed(read)
    assert made.headers["retry-after"] == "1"
    document = parsed(made)
    assert document["status"] == "pending"
    assert document["identifier"] == {"type": "dns", "value": "a.example"}
    assert "wildcard" not in document
    kinds = [challenge["type"] for challenge in document["challenges"]]
    assert kinds == ["http-01", "dns-01", "tls-alpn-01"]


async def test_it_costs_one_statement_and_leaves_one_audit_event(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        header = await client.header(served.urls.new_authorization)
        identifier = {"identifier": {"type": "dns", "value": "a.example"}}
        jws = client.key.sign(header, identifier)
        before = house.database.statements
        reply = await client.send(served.urls.new_authorization, jws)
        after = house.database.statements

    assert reply.status == 201
    # The other one redeems the nonce.
    assert after - before == 2
    rows = await house.database.fetch(
        "SELECT actor, detail FROM audit_events WHERE action = 'authorization_created'"
    )
    (event,) = rows
    assert event["actor"].startswith("account:")
    assert json.loads(event["detail"]) == {"identifier": "dns:a.example"}


async def test_an_order_takes_a_proven_one_and_is_ready_at_once(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        url = (await preauthorize(client, "a.example")).headers["location"]
        await prove(client, url)
        placed = await order(client, "a.example")
        csr = {"csr": b64(csr_for("a.example"))}
        finalized = await client.post(placed["finalize"], csr)

    assert (placed["status"], placed["authorizations"]) == ("ready", [url])
    assert parsed(finalized)["status"] == "valid"


async def test_an_order_takes_a_pending_one_and_waits_for_it(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        url = (await preauthorize(client, "a.example")).headers["location"]
        placed = await order(client, "b.example", "a.example", "*.a.example")
        others = [other for other in placed["authorizations"] if other != url]
        for other in others:
            await prove(client, other)
        waiting = parsed(await client.read(placed["url"]))
        await prove(client, url)
        ready = parsed(await client.read(placed["url"]))

    assert placed["authorizations"][1] == url
    assert len(others) == 2
    assert (placed["status"], waiting["status"], ready["status"]) == ("pending", "pending", "ready")


async def test_a_taken_one_that_fails_ends_its_order(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        url = (await preauthorize(client, "a.example")).headers["location"]
        placed = await order(client, "a.example")
        house.validators.problem = REFUSED
        await prove(client, url)
        ended = parsed(await client.read(placed["url"]))

    assert ended["status"] == "invalid"
    assert ended["error"]["type"] == "urn:ietf:params:acme:error:connection"


async def test_one_order_takes_it_and_the_next_gets_its_own(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        url = (await preauthorize(client, "a.example")).headers["location"]
        first = await order(client, "a.example")
        second = await order(client, "a.example")
        again = await preauthorize(client, "a.example")

    assert first["authorizations"] == [url]
    assert second["authorizations"] != [url]
    assert again.status == 201
    assert again.headers["location"] not in (url, *second["authorizations"])


async def test_asked_again_it_is_the_same_one(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        first = await preauthorize(client, "a.example")
        second = await preauthorize(client, "a.example")
        await prove(client, first.headers["location"])
        third = await preauthorize(client, "a.example")

    assert [reply.status for reply in (first, second, third)] == [201, 200, 200]
    assert len({reply.headers["location"] for reply in (first, second, third)}) == 1
    assert parsed(third)["status"] == "valid"
    assert "retry-after" not in third.headers


async def test_a_proof_from_an_order_is_returned(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        (url,) = (await order(client, "a.example"))["authorizations"]
        await prove(client, url)
        reply = await preauthorize(client, "a.example")

    assert (reply.status, reply.headers["location"]) == (200, url)


@pytest.mark.parametrize("end", ["deactivated", "invalid", "expired"])
async def test_one_that_ended_is_replaced(house: House, end: str) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        first = (await preauthorize(client, "a.example")).headers["location"]
        if end == "deactivated":
            await client.post(first, {"status": "deactivated"})
        elif end == "invalid":
            house.validators.problem = REFUSED
            await prove(client, first)
        else:
            await house.database.execute(
                "UPDATE authorizations SET expires_at = now() - interval '1 s'"
            )
        ended = parsed(await client.read(first))["status"]
        second = await preauthorize(client, "a.example")
        placed = await order(client, "a.example")

    assert ended == end
    assert second.status == 201
    assert placed["authorizations"] == [second.headers["location"]] != [first]


async def test_without_reuse_a_proof_serves_one_order(house: House) -> None:
    change_rules(house, reuses_authorizations=False)
    async with serve_house(house) as served:
        client = await served.registered()
        url = (await preauthorize(client, "a.example")).headers["location"]
        await prove(client, url)
        first = await order(client, "a.example")
        second = await order(client, "a.example")
        again = await preauthorize(client, "a.example")

    assert (first["status"], first["authorizations"]) == ("ready", [url])
    assert second["status"] == "pending"
    assert (again.status, again.headers["location"] == url) == (201, False)


async def test_an_order_that_accepts_fewer_challenges_takes_none_with_more(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        url = (await preauthorize(client, "a.example")).headers["location"]
    change_rules(house, challenge_types=("dns-01",))
    async with serve_house(house) as served:
        elsewhere = await served.connection_of(client)
        placed = await order(elsewhere, "a.example")
        (other,) = placed["authorizations"]
        challenges = parsed(await elsewhere.read(other))["challenges"]

    assert other != url
    assert [challenge["type"] for challenge in challenges] == ["dns-01"]


async def test_a_proof_by_a_challenge_that_is_not_accepted_any_more_is_not_taken(
    house: House,
) -> None:
    """Otherwise the order would be ready, and never be finalized."""
    async with serve_house(house) as served:
        client = await served.registered()
        before = await order(client, "a.example")
        await prove(client, before["authorizations"][0])
    change_rules(house, challenge_types=("dns-01",))
    async with serve_house(house) as served:
        elsewhere = await served.connection_of(client)
        placed = await order(elsewhere, "a.example")
        asked = await preauthorize(elsewhere, "a.example")
        await prove(elsewhere, placed["authorizations"][0])
        again = await order(elsewhere, "a.example")

    assert (placed["status"], asked.status) == ("pending", 201)
    assert placed["authorizations"] != before["authorizations"]
    assert (again["status"], again["authorizations"]) == ("ready", placed["authorizations"])


async def test_a_proof_made_ahead_that_may_be_too_old_is_not_taken(house: House) -> None:
    change_rules(house, reuses_authorizations=False)
    async with serve_house(house) as served:
        client = await served.registered()
        url = (await preauthorize(client, "a.example")).headers["location"]
        await prove(client, url)
        await house.database.execute("UPDATE preauthorizations SET expires_at = now()")
        placed = await order(client, "a.example")

    assert placed["status"] == "pending"
    assert placed["authorizations"] != [url]


async def test_another_account_has_its_own(house: House) -> None:
    async with serve_house(house) as served:
        one, other = await served.registered(), await served.registered()
        first = (await preauthorize(one, "a.example")).headers["location"]
        await prove(one, first)
        second = await preauthorize(other, "a.example")
        placed = await order(other, "a.example")

    assert second.status == 201
    assert placed["status"] == "pending"
    assert placed["authorizations"] == [second.headers["location"]] != [first]


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("dns", "*.a.example", "malformed"),
        ("dns", "a_b.example", "malformed"),
        ("dns", "a.example.", "malformed"),
        ("dns", "192.0.2.1", "malformed"),
        ("dns", "localhost", "malformed"),
        ("dns", "a.denied.example", "rejectedIdentifier"),
        ("ip", "192.0.2.1", "unsupportedIdentifier"),
        ("email", "a@example.com", "unsupportedIdentifier"),
    ],
)
async def test_names_are_held_to_the_rules_of_orders(
    house: House, kind: str, name: str, expected: str
) -> None:
    change_rules(house, names=NameRules(denied=frozenset({"denied.example"})))
    async with serve_house(house) as served:
        client = await served.registered()
        reply = await preauthorize(client, name, kind)
        (subproblem,) = reply.problem()["subproblems"]  # type: ignore[misc, has-type]

    assert (reply.status, kind_of(reply)) == (400, expected)
    assert subproblem["identifier"] == {"type": kind, "value": name}
    assert await house.database.fetchval("SELECT count(*) FROM authorizations") == 0


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        {},
        {"identifier": "a.example"},
        {"identifier": [{"type": "dns", "value": "a.example"}]},
        {"identifier": {"type": "dns"}},
        {"identifier": {"type": 1, "value": "a.example"}},
    ],
)
async def test_a_request_without_an_identifier_is_malformed(house: House, payload: object) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        reply = await client.post(served.urls.new_authorization, payload)

    assert (reply.status, kind_of(reply)) == (400, "malformed")


async def test_asked_for_many_times_at_once_it_is_one(house: House) -> None:
    caller = await house.caller()

    answers = await asyncio.gather(
        *(house.preauthorizations.create(caller, ("dns", "a.example")) for _ in range(40))
    )

    assert sum(is_new for _, is_new in answers) == 1
    assert len({authorization.id for authorization, _ in answers}) == 1
    assert await house.database.fetchval("SELECT count(*) FROM authorizations") == 1


async def test_of_many_orders_at_once_one_takes_it(house: House) -> None:
    caller = await house.caller()
    authorization, _ = await house.preauthorizations.create(caller, ("dns", "a.example"))

    orders = await asyncio.gather(*(house.order(caller, "a.example") for _ in range(20)))

    takers = [placed for placed in orders if authorization.id in placed.authorization_ids]
    assert len(takers) == 1
    assert len({placed.authorization_ids for placed in orders}) == 20
