"""keyChange over the real use cases: both signatures, one winner, and an old key that is over."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from storage.pool import Database
from support.acme import AcmeClient, serve_house
from support.edge import Reply
from support.jose import ClientKey, b64
from support.workflow import House, build_house, csr_for


@pytest.fixture
async def house(database: Database) -> House:
    """The use cases on a fresh database."""
    return await build_house(database)


def kind_of(reply: Reply) -> str:
    """The type of a problem, without its namespace."""
    return str(reply.problem()["type"]).removeprefix("urn:ietf:params:acme:error:")


def inner(client: AcmeClient, new: ClientKey, **changes: Any) -> dict[str, Any]:
    """The inner JWS of a right request, but for ``changes`` of its header or payload."""
    header = {"jwk": new.jwk, "url": client.urls.key_change}
    payload = {"account": client.kid, "oldKey": client.key.jwk}
    for name, value in changes.items():
        part = payload if name in ("account", "oldKey") else header
        if value is ...:
            part.pop(name)
        else:
            part[name] = value
    return new.sign(header, payload)


async def change(client: AcmeClient, new: ClientKey, **changes: Any) -> Reply:
    """Ask for another key."""
    return await client.post(client.urls.key_change, inner(client, new, **changes))


async def thumbprints(house: House) -> set[str]:
    """Those of all accounts."""
    rows = await house.database.fetch("SELECT thumbprint FROM accounts")
    return {b64(row[0]) for row in rows}


@pytest.mark.parametrize(
    ("old", "new"), [("ES256", "RS256"), ("RS256", "EdDSA"), ("EdDSA", "ES384")]
)
async def test_account_gets_another_key_and_stays_itself(house: House, old: str, new: str) -> None:
    async with serve_house(house) as served:
        client = await served.registered(old)
        assert client.kid is not None
        before = json.loads((await client.read(client.kid)).body)
        key = ClientKey.generate(new)
        done = await change(client, key)
        client.key = key
        after = await client.read(client.kid)
        found = await client.register()

    assert done.status == 200
    assert json.loads(done.body) == json.loads(after.body) == before
    assert found.headers["location"] == client.kid
    assert await thumbprints(house) == {key.thumbprint}
    events = await house.database.fetch(
        "SELECT detail->>'to' AS key FROM audit_events WHERE action = 'account_key_changed'"
    )
    assert [b64(bytes.fromhex(event["key"])) for event in events] == [key.thumbprint]


async def test_old_key_is_over_at_once_at_every_worker(house: House) -> None:
    orders = {"identifiers": [{"type": "dns", "value": "a.example"}]}
    async with serve_house(house) as one, serve_house(house) as other:
        client = await one.registered()
        assert client.kid is not None
        elsewhere = await other.connection_of(client)
        assert (await elsewhere.post(elsewhere.urls.new_order, orders)).status == 201
        assert (await change(client, ClientKey.generate())).status == 200
        here = await client.post(client.urls.new_order, orders)
        cached = [
            await elsewhere.post(elsewhere.urls.new_order, orders),
            await elsewhere.read(client.kid),
            await elsewhere.post(client.kid, {"contact": []}),
            await elsewhere.post(client.kid, {"status": "deactivated"}),
            await change(elsewhere, ClientKey.generate()),
        ]
        client.kid = None
        gone = await client.post(client.urls.new_account, {"onlyReturnExisting": True})

    assert (here.status, kind_of(here)) == (400, "malformed")
    assert {kind_of(reply) for reply in cached} <= {"unauthorized", "malformed"}
    assert {reply.status for reply in cached} <= {400, 403}
    assert (gone.status, kind_of(gone)) == (400, "accountDoesNotExist")
    assert await house.database.fetchval("SELECT count(*) FROM orders") == 1


async def test_new_key_is_good_at_once_at_every_worker(house: House) -> None:
    async with serve_house(house) as one, serve_house(house) as other:
        client = await one.registered()
        elsewhere = await other.connection_of(client)
        assert client.kid is not None
        await elsewhere.read(client.kid)
        elsewhere.key = ClientKey.generate()
        assert (await change(client, elsewhere.key)).status == 200

        assert (await elsewhere.read(client.kid)).status == 200


async def test_a043_orders_and_authorizations_go_on(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        placed = await client.post(
            client.urls.new_order, {"identifiers": [{"type": "dns", "value": "a.example"}]}
        )
        order = json.loads(placed.body)
        new = ClientKey.generate()
        assert (await change(client, new)).status == 200
        client.key = new
        authorization = json.loads((await client.read(order["authorizations"][0])).body)
        await client.post(authorization["challenges"][0]["url"], {})
        csr = {"csr": b64(csr_for("a.example"))}
        finalized = json.loads((await client.post(order["finalize"], csr)).body)

    assert finalized["status"] == "valid"
    assert b64(house.validators.tasks[0].thumbprint) == new.thumbprint


async def test_a037_key_of_an_account_is_a_conflict_that_names_it(house: House) -> None:
    async with serve_house(house) as served:
        client, other = await served.registered(), await served.registered()
        taken = await change(client, other.key)
        own = await change(client, client.key)

    assert (taken.status, kind_of(taken)) == (409, "malformed")
    assert taken.headers["location"] == other.kid
    assert (own.status, kind_of(own)) == (409, "malformed")
    assert own.headers["location"] == client.kid
    assert await thumbprints(house) == {client.key.thumbprint, other.key.thumbprint}


async def test_a041_different_new_keys_at_once_have_one_winner(house: House) -> None:
    async with serve_house(house) as one, serve_house(house) as other:
        client = await one.registered()
        clients = [await served.connection_of(client) for served in (one, other) for _ in range(8)]
        keys = [ClientKey.generate() for _ in clients]
        replies = await asyncio.gather(*map(change, clients, keys))

    winners = [
        key.thumbprint for key, reply in zip(keys, replies, strict=True) if reply.status == 200
    ]
    losers = [reply for reply in replies if reply.status != 200]
    assert await thumbprints(house) == set(winners)
    assert len(winners) == 1
    # Those that came after the change was known fail with their signature already.
    assert {(reply.status, kind_of(reply)) for reply in losers} <= {
        (403, "unauthorized"),
        (400, "malformed"),
    }


async def test_accounts_that_want_one_key_at_once_have_one_winner(house: House) -> None:
    async with serve_house(house) as served:
        clients = [await served.registered() for _ in range(10)]
        key = ClientKey.generate()
        replies = await asyncio.gather(*(change(client, key) for client in clients))

    (winner,) = (c for c, reply in zip(clients, replies, strict=True) if reply.status == 200)
    conflicts = [reply for reply in replies if reply.status != 200]
    assert {reply.status for reply in conflicts} == {409}
    assert {reply.headers["location"] for reply in conflicts} == {winner.kid}


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": b64(b"n")},
        {"nonce": ""},
        {"url": "https://acme.example/acme/new-order"},
        {"url": ...},
        {"jwk": ...},
        {"kid": "https://acme.example/acme/account/x"},
        {"account": ...},
        {"account": "https://acme.example/acme/account/AAAAAAAAAAAAAAAAAAAAAA"},
        {"account": 1},
        {"oldKey": ...},
        {"oldKey": "x"},
        pytest.param({"oldKey": ClientKey.generate().jwk}, id="another key"),
        {"crit": ["b64"]},
    ],
    ids=str,
)
async def test_a033_inner_jws_that_is_not_as_it_must_be_is_malformed(
    house: House, changes: dict[str, Any]
) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        reply = await change(client, ClientKey.generate(), **changes)

    assert (reply.status, kind_of(reply)) == (400, "malformed")
    assert await thumbprints(house) == {client.key.thumbprint}


async def test_a033_payload_that_is_no_jws_is_malformed(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        right = inner(client, ClientKey.generate())
        other = inner(client, ClientKey.generate())
        wrong: list[object] = [
            b"",
            {},
            [right],
            {**right, "header": {}},
            {**right, "signature": ""},
            {**right, "signature": other["signature"]},
            {**right, "payload": other["payload"][:-1]},
            {"protected": right["protected"], "payload": right["payload"]},
        ]
        replies = [await client.post(client.urls.key_change, payload) for payload in wrong]

    assert {(reply.status, kind_of(reply)) for reply in replies} == {(400, "malformed")}
    assert await thumbprints(house) == {client.key.thumbprint}


async def test_n025_inner_jws_is_no_request_by_itself(house: House) -> None:
    async with serve_house(house) as served:
        client = await served.registered()
        jws = inner(client, ClientKey.generate())
        reply = await client.send(client.urls.key_change, jws)

    assert (reply.status, kind_of(reply)) == (400, "malformed")


async def test_a039_weak_key_is_refused(house: House) -> None:
    weak = ClientKey("RS256", rsa.generate_private_key(65_537, 1024))
    async with serve_house(house) as served:
        client = await served.registered()
        reply = await change(client, weak)

    assert (reply.status, kind_of(reply)) == (400, "badPublicKey")
    assert await thumbprints(house) == {client.key.thumbprint}


async def test_k013_k027_key_of_a_certificate_or_a_blocked_one_is_refused(house: House) -> None:
    async with serve_house(house) as served:
        client, blocked = await served.registered(), ClientKey.generate()
        private = ec.generate_private_key(ec.SECP256R1())
        caller = await house.caller()
        order = await house.ready_order(caller, "a.example")
        await house.issuance.finalize(caller, order.id, csr_for("a.example", key=private))
        await house.database.execute(
            "INSERT INTO blocked_keys (thumbprint, certificate_id, blocked_by)"
            " SELECT decode(translate($1, '-_', '+/') || '=', 'base64'), new_id(), 'operator:a'",
            blocked.thumbprint,
        )
        replies = [await change(client, key) for key in (ClientKey("ES256", private), blocked)]

    assert {(reply.status, kind_of(reply)) for reply in replies} == {(400, "badPublicKey")}
    assert client.key.thumbprint in await thumbprints(house)


async def test_account_of_another_signer_is_not_taken_over(house: House) -> None:
    async with serve_house(house) as served:
        victim, thief = await served.registered(), await served.registered()
        stolen = inner(victim, ClientKey.generate())
        reply = await thief.post(thief.urls.key_change, stolen)

    assert (reply.status, kind_of(reply)) == (400, "malformed")
    assert await thumbprints(house) == {victim.key.thumbprint, thief.key.thumbprint}
