"""Updates of accounts, their end, and the list of their orders (RFC 8555, 7.1.2.1 and 7.3)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policy.model.ids import encode_id
from storage.authorizations import Authorizations
from storage.pool import Database
from support.acme import AcmeClient, any_id, serve_house
from support.edge import Reply
from support.workflow import House, build_house


@pytest.fixture
async def house(database: Database) -> House:
    """The use cases on a fresh database."""
    return await build_house(database)


def kind_of(reply: Reply) -> str:
    """The type of a problem, without its namespace."""
    return str(reply.problem()["type"]).removeprefix("urn:ietf:params:acme:error:")


def parsed(reply: Reply) -> dict[str, Any]:
    """The object in an answer."""
    document: dict[str, Any] = json.loads(reply.body)
    return document


# ---- updates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"status": "valid"},
        {"termsOfServiceAgreed": True},
        {"termsOfServiceAgreed": "yes"},
        {"onlyReturnExisting": True},
        {"orders": "https://elsewhere.example/"},
        {"externalAccountBinding": {"protected": "", "payload": "", "signature": ""}},
        {"externalAccountBinding": 5},
        {"jwk": {"kty": "oct"}, "id": 1, "createdAt": None, "initialIp": []},
    ],
)
async def test_what_cannot_be_changed_is_ignored(
    house: House, database: Database, members: dict[str, object]
) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        assert client.kid is not None
        read = await client.read(client.kid)
        before = await database.fetch("SELECT a::text FROM accounts AS a")
        sent = await client.post(client.kid, members)
        again = await client.post(client.kid, parsed(read) | members | {"contact": []})

    assert (sent.status, sent.body) == (200, read.body)
    assert (again.status, again.body) == (200, read.body)
    assert await database.fetch("SELECT a::text FROM accounts AS a") == before


@pytest.mark.parametrize("status", ["revoked", "pending", "Deactivated", "", 5, None, ["valid"]])
async def test_a017_no_status_but_deactivated_can_be_asked_for(
    house: House, database: Database, status: object
) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        assert client.kid is not None
        reply = await client.post(client.kid, {"status": status, "contact": ["mailto:a@b.example"]})

    assert (reply.status, kind_of(reply)) == (400, "malformed")
    row = await database.fetchrow("SELECT status, contacts FROM accounts")
    assert row is not None
    assert (row["status"], row["contacts"]) == ("valid", [])


async def test_contacts_and_agreement_can_come_together(house: House, database: Database) -> None:
    async with serve_house(house) as before:
        client = await before.registered()
    async with serve_house(house, terms="https://acme.example/terms") as served:
        client = await served.connection_of(client)
        assert client.kid is not None
        payload = {"contact": ["mailto:a@example.org"], "termsOfServiceAgreed": True}
        reply = await client.post(client.kid, payload)
        repeated = await client.post(client.kid, payload)

    assert parsed(reply) == parsed(repeated)
    assert (parsed(reply)["contact"], parsed(reply)["termsOfServiceAgreed"]) == (
        ["mailto:a@example.org"],
        True,
    )
    actions = await database.fetch("SELECT action FROM audit_events WHERE subject LIKE 'account:%'")
    assert sorted(row["action"] for row in actions) == [
        "account_created",
        "account_updated",
        "account_updated",
        "terms_agreed",
    ]


# ---- deactivation -------------------------------------------------------------------------------


async def test_d05_a_running_validation_ends_with_its_account(
    house: House, database: Database
) -> None:
    house.validators.gate.clear()
    async with serve_house(house) as served:
        client = await served.registered()
        order = parsed(await client.post(served.urls.new_order, order_for("a.example")))
        challenge = parsed(await client.read(order["authorizations"][0]))["challenges"][0]
        pre_authorized = await client.post(
            served.urls.new_authorization, {"identifier": {"type": "dns", "value": "b.example"}}
        )
        assert (await client.post(challenge["url"], {})).status == 200
        assert client.kid is not None
        ended = await client.post(client.kid, {"status": "deactivated"})
        await database.execute("UPDATE validations SET lease_until = now() - interval '1 hour'")
        taken_over = await Authorizations(database).claim_abandoned("other", house.worker.lease, 5)
        (task,) = house.validators.tasks
        running = house.worker.submit(task)
        house.validators.gate.set()
        result = await running

    assert (ended.status, pre_authorized.status) == (200, 201)
    assert taken_over == []
    assert result is None
    statuses = {
        table: {row["status"] for row in await database.fetch(f"SELECT status FROM {table}")}
        for table in ("orders", "authorizations", "validations")
    }
    assert statuses == {
        "orders": {"invalid"},
        "authorizations": {"deactivated"},
        "validations": {"invalid"},
    }
    assert await database.fetchval("SELECT count(*) FROM preauthorizations") == 0


async def test_deactivation_forgets_proofs_and_leaves_finished_orders_alone(
    house: House, database: Database
) -> None:
    caller = await house.caller()
    await house.ready_order(caller, "done.example")
    await database.execute("UPDATE orders SET status = 'valid'")
    await house.ready_order(caller, "open.example")

    await house.accounts.deactivate(caller)

    rows = await database.fetch(
        "SELECT identifier, a.status, o.status AS order_status FROM authorizations AS a"
        " JOIN orders AS o ON o.id = a.order_id ORDER BY a.id"
    )
    assert [tuple(row) for row in rows] == [
        ("dns:done.example", "valid", "valid"),
        ("dns:open.example", "deactivated", "invalid"),
    ]
    assert await database.fetchval("SELECT count(*) FROM proven_names") == 0


# ---- the list of orders -------------------------------------------------------------------------


def order_for(*names: str) -> dict[str, Any]:
    """The payload of a newOrder."""
    return {"identifiers": [{"type": "dns", "value": name} for name in names]}


async def order(client: AcmeClient, name: str) -> str:
    """The URL of a new order."""
    reply = await client.post(client.urls.new_order, order_for(name))
    assert reply.status == 201
    return reply.headers["location"]


def next_page(reply: Reply) -> str | None:
    """The URL of the page that follows."""
    urls = [link for link in reply.links if link.endswith(';rel="next"')]
    return urls[0].removesuffix(';rel="next"').strip("<>") if urls else None


async def read_all(client: AcmeClient) -> tuple[list[str], int]:
    """All orders that the list has, and its number of pages."""
    found: list[str] = []
    url: str | None = f"{client.kid}/orders"
    pages = 0
    while url is not None:
        reply = await client.read(url)
        assert reply.status == 200
        assert parsed(reply).keys() == {"orders"}
        found += parsed(reply)["orders"]
        pages += 1
        url = next_page(reply)
    return found, pages


async def test_an_account_without_orders_has_an_empty_list(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        other = await served.registered()
        await order(other, "a.example")
        url = parsed(await client.read(str(client.kid)))["orders"]
        reply = await client.read(url)

    assert (reply.status, parsed(reply)) == (200, {"orders": []})
    assert next_page(reply) is None


async def test_the_list_has_all_orders_but_invalid_ones(house: House, database: Database) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        urls = [await order(client, f"n{i}.example") for i in range(5)]
        ids = [row["id"] for row in await database.fetch("SELECT id FROM orders ORDER BY id")]
        await database.execute("UPDATE orders SET status = 'invalid' WHERE id = $1", ids[1])
        await database.execute("UPDATE orders SET expires_at = now() WHERE id = $1", ids[3])
        await database.execute("UPDATE orders SET status = 'processing' WHERE id = $1", ids[4])
        found, _ = await read_all(client)

    assert found == [urls[4], urls[2], urls[0]]


@pytest.mark.parametrize("count", [100, 101, 250])
async def test_m07_pages_have_every_order_once(
    house: House, database: Database, count: int
) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        await order(client, "a.example")
        await copy_order(database, count - 1)
        expected = [
            served.urls.order(row["id"])
            for row in await database.fetch("SELECT id FROM orders ORDER BY id DESC")
        ]
        first = await client.read(f"{client.kid}/orders")
        added = await order(client, "late.example")
        rest: list[str] = []
        url = next_page(first)
        while url is not None:
            reply = await client.read(url)
            rest += parsed(reply)["orders"]
            url = next_page(reply)

    assert len(parsed(first)["orders"]) == 100
    assert parsed(first)["orders"] + rest == expected
    assert added not in rest


async def test_a_page_of_invalid_orders_is_empty_and_not_the_last(
    house: House, database: Database
) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        oldest = await order(client, "a.example")
        await copy_order(database, 150, "invalid")
        first = await client.read(f"{client.kid}/orders")
        before = house.database.statements
        header = await client.header(f"{client.kid}/orders")
        spent = house.database.statements
        await client.send(f"{client.kid}/orders", client.key.sign(header, b""))
        cost = house.database.statements - spent
        found, pages = await read_all(client)

    assert before <= spent
    assert parsed(first) == {"orders": []}
    assert next_page(first) is not None
    assert (found, pages) == ([oldest], 2)
    assert cost == 2, "the nonce, the list"


@pytest.mark.parametrize(
    "query",
    [
        "?",
        "?cursor=",
        "?cursor=x",
        "?cursor=AAAAAAAAAAAAAAAAAAAAAB",
        "?cursor=" + "A" * 23,
        "?cursor={id}&cursor={id}",
        "?cursor={id}&limit=1",
        "?Cursor={id}",
        "?page={id}",
        "?cursor={id}%00",
        "?cursor=%7Bid%7D",
        "?cursor={id}' OR 1=1",
    ],
)
async def test_a_cursor_that_was_never_given_is_malformed(house: House, query: str) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        query = query.replace("{id}", encode_id(any_id())).replace(" ", "+")
        reply = await client.read(f"{client.kid}/orders{query}")

    assert (reply.status, kind_of(reply)) == (400, "malformed")


async def test_the_list_is_read_by_its_account_alone(house: House) -> None:
    async with serve_house(house) as served:
        owner, stranger = await served.registered(), await served.registered()
        await order(owner, "a.example")
        foreign = await stranger.read(f"{owner.kid}/orders")
        missing = await stranger.read(served.urls.account_orders(any_id()))
        strange = await stranger.read(f"{served.urls.account_prefix}x/orders")
        with_payload = await owner.post(f"{owner.kid}/orders", {})
        unsigned = await owner.request("GET", f"/acme/account/{owner.account_id}/orders")
        # A cursor is a position: another account's opens nothing.
        reply = await stranger.read(f"{stranger.kid}/orders?cursor={encode_id(any_id())}")

    assert {(r.status, r.body) for r in (foreign, missing, strange)} == {(404, missing.body)}
    assert unsigned.status == 405
    assert (with_payload.status, kind_of(with_payload)) == (400, "malformed")
    assert parsed(reply) == {"orders": []}


async def test_a_deactivated_account_has_no_list(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        assert client.kid is not None
        await client.post(client.kid, {"status": "deactivated"})
        reply = await client.read(f"{client.kid}/orders")

    assert (reply.status, kind_of(reply)) == (401, "unauthorized")


async def copy_order(database: Database, times: int, status: str = "pending") -> None:
    """More orders like the one that is there."""
    await database.execute(
        "INSERT INTO orders (id, account_id, status, pending_authorizations, identifiers,"
        " authorization_ids, profile, profile_version, created_at, expires_at)"
        " SELECT new_id(), account_id, $2, 1, identifiers, authorization_ids, profile,"
        " profile_version, created_at, expires_at FROM orders, generate_series(1, $1)",
        times,
        status,
    )
