"""Terms of service that change while accounts exist (RFC 8555, section 7.3.3)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from storage.pool import Database
from support.acme import AcmeClient, AcmeServed, serve_house
from support.edge import Reply
from support.jose import ClientKey, b64
from support.workflow import House, build_house, csr_for

OLD, NEW = "https://acme.example/terms/1", "https://acme.example/terms/2"
ORDER = {"identifiers": [{"type": "dns", "value": "a.example"}]}


@pytest.fixture
async def house(database: Database) -> House:
    """The use cases on a fresh database."""
    return await build_house(database)


def kind_of(reply: Reply) -> str:
    """The type of a problem, without its namespace."""
    return str(reply.problem()["type"]).removeprefix("urn:ietf:params:acme:error:")


async def move(client: AcmeClient, served: AcmeServed) -> AcmeClient:
    """The same client at another server of the installation."""
    return await served.connection_of(client)


async def ready_order(client: AcmeClient) -> tuple[str, dict[str, Any]]:
    """An order that can be finalized: its URL and object."""
    made = await client.post(client.urls.new_order, ORDER)
    url = made.headers["location"]
    (authorization,) = json.loads(made.body)["authorizations"]
    challenge = json.loads((await client.read(authorization)).body)["challenges"][0]
    await client.post(challenge["url"], {})
    order: dict[str, Any] = json.loads((await client.read(url)).body)
    assert order["status"] == "ready"
    return url, order


async def everything(client: AcmeClient, order_url: str, order: dict[str, Any]) -> list[Reply]:
    """The answers to a request of each kind but those to the account itself."""
    (authorization,) = order["authorizations"]
    requests: list[tuple[str, object]] = [
        (client.urls.new_order, ORDER),
        (order_url, b""),
        (order["finalize"], {"csr": b64(csr_for("a.example"))}),
        (authorization, b""),
        (authorization, {"status": "valid"}),
        (authorization.replace("/authorization/", "/challenge/") + "/http-01", {}),
        (f"{client.kid}/orders", b""),
        (client.urls.directory, b""),
    ]
    return [await client.post(url, payload) for url, payload in requests]


async def test_without_agreement_to_the_new_terms_only_the_account_is_served(
    house: House, database: Database
) -> None:
    async with serve_house(house, terms=OLD) as before:
        client = await before.registered()
        made = await client.post(before.urls.new_order, ORDER)
        order_url, order = made.headers["location"], json.loads(made.body)
    async with serve_house(house, terms=NEW) as served:
        client = await move(client, served)
        assert client.kid is not None
        counts = await database.fetchval("SELECT count(*) FROM audit_events")
        refused = await everything(client, order_url, order)
        unchanged = await database.fetchval("SELECT count(*) FROM audit_events") == counts
        read = await client.read(client.kid)
        updated = await client.post(client.kid, {"contact": ["mailto:a@example.org"]})
        declined = await client.post(client.kid, {"termsOfServiceAgreed": False})
        still = await client.read(order_url)
        agreed = await client.post(client.kid, {"termsOfServiceAgreed": True})
        then = await client.read(order_url)

    assert {(reply.status, kind_of(reply)) for reply in refused} == {(403, "userActionRequired")}
    for reply in refused:
        assert reply.problem()["instance"] == NEW
        assert f'<{NEW}>;rel="terms-of-service"' in reply.links
        assert reply.headers["replay-nonce"]
    assert unchanged
    assert [reply.status for reply in (read, updated, declined, agreed)] == [200] * 4
    assert (still.status, then.status) == (403, 200)
    agreements = [json.loads(reply.body).get("termsOfServiceAgreed") for reply in (read, agreed)]
    assert agreements == [None, True]
    assert json.loads(then.body) == order
    terms = await database.fetch(
        "SELECT actor, detail::jsonb ->> 'terms' AS terms FROM audit_events"
        " WHERE action = 'terms_agreed'"
    )
    assert [row["terms"] for row in terms] == [NEW]
    assert terms[0]["actor"].startswith("account:")
    at_first = await database.fetchval(
        "SELECT detail::jsonb ->> 'terms' FROM audit_events WHERE action = 'account_created'"
    )
    assert at_first == OLD


async def test_terms_can_be_agreed_to_by_new_account(house: House) -> None:
    async with serve_house(house, terms=OLD) as before:
        client = await before.registered()
    async with serve_house(house, terms=NEW) as served:
        client = await move(client, served)
        kid, client.kid = client.kid, None
        new_account = served.urls.new_account
        found = await client.post(new_account, {})
        looked_up = await client.post(
            new_account, {"onlyReturnExisting": True, "termsOfServiceAgreed": True}
        )
        client.kid = kid
        refused = await client.post(served.urls.new_order, ORDER)
        client.kid = None
        agreed = await client.post(new_account, {"termsOfServiceAgreed": True})
        client.kid = kid
        accepted = await client.post(served.urls.new_order, ORDER)

    assert [reply.status for reply in (found, looked_up, agreed)] == [200] * 3
    assert (refused.status, accepted.status) == (403, 201)


async def test_agreement_at_one_server_counts_at_the_others_at_once(house: House) -> None:
    async with serve_house(house, terms=OLD) as before:
        client = await before.registered()
    async with serve_house(house, terms=NEW) as one, serve_house(house, terms=NEW) as other:
        here, there = await move(client, one), await move(client, other)
        assert here.kid is not None
        refused = await there.post(other.urls.new_order, ORDER)
        await here.post(here.kid, {"termsOfServiceAgreed": True})
        accepted = await there.post(other.urls.new_order, ORDER)

    assert (refused.status, accepted.status) == (403, 201)


@pytest.mark.parametrize("terms", [None, OLD])
async def test_terms_that_come_later_are_asked_for_and_those_that_go_are_not(
    house: House, terms: str | None
) -> None:
    later = OLD if terms is None else None
    async with serve_house(house, terms=terms) as before:
        client = await before.client()
        made = await client.post(before.urls.new_account, {"termsOfServiceAgreed": True})
        client.kid = made.headers["location"]
    async with serve_house(house, terms=later) as served:
        reply = await (await move(client, served)).post(served.urls.new_order, ORDER)

    assert reply.status == (201 if later is None else 403)


async def test_who_does_not_agree_can_leave(house: House) -> None:
    async with serve_house(house, terms=OLD) as before:
        client = await before.registered()
    async with serve_house(house, terms=NEW) as served:
        client = await move(client, served)
        assert client.kid is not None
        left = await client.post(client.kid, {"status": "deactivated"})
        refused = await client.post(served.urls.new_order, ORDER)

    assert (left.status, json.loads(left.body)["status"]) == (200, "deactivated")
    assert (refused.status, kind_of(refused)) == (401, "unauthorized")


async def test_who_does_not_agree_can_change_a_key_and_revoke(house: House) -> None:
    async with serve_house(house, terms=OLD) as before:
        client = await before.registered()
        url, order = await ready_order(client)
        finalized = await client.post(order["finalize"], {"csr": b64(csr_for("a.example"))})
        pem = (await client.read(json.loads(finalized.body)["certificate"])).body
    leaf = x509.load_pem_x509_certificates(pem)[0].public_bytes(Encoding.DER)
    async with serve_house(house, terms=NEW) as served:
        client = await move(client, served)
        refused = await client.read(url)
        revoked = await client.post(served.urls.revoke_certificate, {"certificate": b64(leaf)})
        new = ClientKey.generate()
        change = {"account": client.kid, "oldKey": client.key.jwk}
        inner = new.sign({"jwk": new.jwk, "url": served.urls.key_change}, change)
        changed = await client.post(served.urls.key_change, inner)

    assert (refused.status, kind_of(refused)) == (403, "userActionRequired")
    assert (revoked.status, changed.status) == (200, 200)


async def test_a_stranger_does_not_learn_what_an_account_agreed_to(house: House) -> None:
    async with serve_house(house, terms=OLD) as before:
        client = await before.registered()
    async with serve_house(house, terms=NEW) as served:
        stranger = await served.client()
        stranger.kid = client.kid
        reply = await stranger.post(served.urls.new_order, ORDER)

    assert (reply.status, kind_of(reply)) == (400, "malformed")


async def test_agreement_costs_the_others_no_statement(house: House) -> None:
    async with serve_house(house, terms=OLD) as served:
        client = await served.registered()
        header = await client.header(served.urls.new_order)
        before = house.database.statements
        reply = await client.send(served.urls.new_order, client.key.sign(header, ORDER))
        cost = house.database.statements - before

    assert reply.status == 201
    assert cost == 2, "the nonce, the order"
