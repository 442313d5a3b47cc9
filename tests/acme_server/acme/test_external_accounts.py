"""External account binding, from the JWS to the tables (RFC 8555, section 7.3.4)."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from acme_server.workflow.external_accounts import BindingProof, NewKey
from acme_server.workflow.sealing import SealError
from policy.model.external_accounts import ExternalAccount
from policy.model.ids import encode_id
from storage.pool import Database
from support.acme import AcmeClient, any_id, serve_house
from support.edge import Reply
from support.jose import ClientKey, b64, b64_json, mac
from support.workflow import House, build_house

NEW_ACCOUNT = "https://acme.example/acme/new-account"


@pytest.fixture
async def house(database: Database) -> House:
    """The use cases on a fresh database."""
    return await build_house(database)


async def make_key(house: House, max_uses: int | None = 1) -> NewKey:
    """A new external account key."""
    return await house.external_accounts.create(
        owner="shop", max_uses=max_uses, lifetime=timedelta(hours=1), actor="operator:test"
    )


def header_for(key: NewKey, **changes: Any) -> dict[str, Any]:
    """A right header of a binding; None removes a member."""
    header = {"kid": encode_id(key.external_account.id), "url": NEW_ACCOUNT, **changes}
    return {name: value for name, value in header.items() if value is not None}


def binding_for(key: NewKey, client: AcmeClient, **changes: Any) -> dict[str, Any]:
    """A binding of the client's key, right unless its header is changed."""
    return mac(key.secret, header_for(key, **changes), client.key.jwk)


async def register(client: AcmeClient, binding: object, **members: object) -> Reply:
    """Register with a binding."""
    return await client.post(NEW_ACCOUNT, {"externalAccountBinding": binding, **members})


def problem(reply: Reply) -> tuple[int, str, str]:
    """The status of a refusal, its type without the namespace, and its text."""
    document = reply.problem()
    kind = str(document["type"]).removeprefix("urn:ietf:params:acme:error:")
    return reply.status, kind, str(document["detail"])


async def find(house: House, key: NewKey) -> tuple[ExternalAccount, int]:
    """The key as it is now, and how many accounts were made with it."""
    entries = await house.external_accounts.list(None, 100)
    (entry,) = [e for e in entries if e.external_account.id == key.external_account.id]
    return entry.external_account, len(entry.accounts)


async def test_an_account_is_bound_and_shows_its_binding(house: House, database: Database) -> None:
    key = await make_key(house)
    async with serve_house(house, requires_binding=True) as served:
        client = await served.client()
        binding = binding_for(key, client)
        made = await register(client, binding)
        client.kid = made.headers["location"]
        read = await client.read(client.kid)
        updated = await client.post(client.kid, {"contact": ["mailto:a@example.org"]})

    assert made.status == 201
    documents = [json.loads(reply.body) for reply in (made, read, updated)]
    assert [document["externalAccountBinding"] for document in documents] == [binding] * 3
    external_account, accounts = await find(house, key)
    assert (external_account.uses, accounts) == (1, 1)
    events = await database.fetch(
        "SELECT actor, action, subject FROM audit_events WHERE action LIKE '%account%' ORDER BY id"
    )
    subject = f"external_account:{key.external_account.id}"
    assert ("operator:test", "external_account_created", subject) in map(tuple, events)
    (bound,) = [event for event in events if event["action"] == "external_account_bound"]
    assert bound["subject"] == subject
    assert bound["actor"].startswith("account:")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_each_hash_will_do(house: House, algorithm: str) -> None:
    key = await make_key(house)
    async with serve_house(house) as served:
        client = await served.client("RS256")
        protected = b64_json({**header_for(key), "alg": algorithm})
        payload = b64_json(dict(reversed(client.key.jwk.items())) | {"kid": "mine", "use": "sig"})
        digest = algorithm.replace("HS", "sha")
        code = hmac.digest(key.secret, f"{protected}.{payload}".encode(), digest)
        binding = {"protected": protected, "payload": payload, "signature": b64(code)}
        reply = await register(client, binding)

    assert reply.status == 201
    assert json.loads(reply.body)["externalAccountBinding"] == binding


async def test_who_has_no_key_is_told_that_one_is_required(house: House) -> None:
    async with serve_house(house, requires_binding=True) as served:
        client = await served.client()
        refused = await client.post(NEW_ACCOUNT, {})
        directory = json.loads((await client.request("GET", "/directory")).body)

    assert problem(refused)[:2] == (403, "externalAccountRequired")
    assert directory["meta"]["externalAccountRequired"] is True


async def test_unknown_key_and_wrong_code_are_refused_in_the_same_words(house: House) -> None:
    key = await make_key(house)
    async with serve_house(house) as served:
        client = await served.client()
        wrong = await register(client, mac(b"x" * 64, header_for(key), client.key.jwk))
        short = binding_for(key, client)
        short["signature"] = short["signature"][:8]
        cut = await register(client, short)
        missing = await register(client, binding_for(key, client, kid=encode_id(any_id())))
        strange = await register(client, binding_for(key, client, kid="Kürzel ’; --"))

    assert problem(wrong)[:2] == (403, "unauthorized")
    assert wrong.body == cut.body == missing.body == strange.body
    assert (await find(house, key))[0].uses == 0


BREAKS: dict[str, tuple[Callable[[NewKey, AcmeClient], object], str]] = {
    "no object": (lambda key, client: "binding", "flattened"),
    "a list": (lambda key, client: [binding_for(key, client)], "flattened"),
    "empty": (lambda key, client: {}, "members"),
    "another member": (lambda key, client: binding_for(key, client) | {"header": {}}, "members"),
    "algorithm none": (lambda key, client: binding_for(key, client, alg="none"), "HS256"),
    "algorithm of keys": (lambda key, client: binding_for(key, client, alg="RS256"), "HS256"),
    "signed by the account": (
        lambda key, client: client.key.sign(header_for(key), client.key.jwk),
        "HS256",
    ),
    "a nonce": (lambda key, client: binding_for(key, client, nonce="MDAw"), '"nonce"'),
    "an empty nonce": (lambda key, client: binding_for(key, client, nonce=""), '"nonce"'),
    "crit": (lambda key, client: binding_for(key, client, crit=[]), '"crit"'),
    "no kid": (lambda key, client: binding_for(key, client, kid=None), '"kid"'),
    "a kid that is no string": (lambda key, client: binding_for(key, client, kid=5), '"kid"'),
    "a jwk": (
        lambda key, client: binding_for(key, client, kid=None, jwk=client.key.jwk),
        '"kid"',
    ),
    "no url": (lambda key, client: binding_for(key, client, url=None), '"url"'),
    "another url": (lambda key, client: binding_for(key, client, url=NEW_ACCOUNT + "?"), '"url"'),
    "another key": (
        lambda key, client: mac(key.secret, header_for(key), ClientKey.generate().jwk),
        "another key",
    ),
    "a payload that is no key": (
        lambda key, client: mac(key.secret, header_for(key), {"kty": "oct"}),
        "refused",
    ),
    "a private key": (
        lambda key, client: mac(key.secret, header_for(key), {**client.key.jwk, "d": "AQ"}),
        "private",
    ),
    "too long": (
        lambda key, client: mac(
            key.secret, header_for(key), {**client.key.jwk, "note": "x" * 7000}
        ),
        "too long",
    ),
    "padding": (
        lambda key, client: {**binding_for(key, client), "signature": "AAAA=="},
        "base64url",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_a_binding_of_the_wrong_shape_is_malformed(house: House, name: str) -> None:
    build, word = BREAKS[name]
    key = await make_key(house)
    async with serve_house(house) as served:
        client = await served.client()
        reply = await register(client, build(key, client))
        still_good = await register(client, binding_for(key, client))

    status, kind, detail = problem(reply)
    assert (status, kind) == (400, "malformed")
    assert word in detail
    assert still_good.status == 201


@pytest.mark.parametrize("what", ["used up", "revoked", "expired"])
async def test_who_has_a_key_that_is_not_good_any_more_is_told_why(
    house: House, database: Database, what: str
) -> None:
    key = await make_key(house)
    async with serve_house(house) as served:
        if what == "used up":
            first = await served.client()
            assert (await register(first, binding_for(key, first))).status == 201
        elif what == "revoked":
            await house.external_accounts.revoke(key.external_account.id, actor="operator:test")
        else:
            await database.execute(
                "UPDATE external_accounts SET created_at = now() - interval '2 hours',"
                " expires_at = now() - interval '1 second'"
            )
        client = await served.client()
        refused = await register(client, binding_for(key, client))
        guessed = await register(client, mac(b"x" * 64, header_for(key), client.key.jwk))

    assert problem(refused)[:2] == (403, "unauthorized")
    assert what in problem(refused)[2]
    assert what not in problem(guessed)[2]


async def test_of_many_accounts_at_once_a_single_use_key_makes_one(house: House) -> None:
    key = await make_key(house)
    async with serve_house(house, requires_binding=True) as one, serve_house(house) as other:
        clients = [await (one, other)[i % 2].client() for i in range(20)]
        replies = await asyncio.gather(
            *(register(client, binding_for(key, client)) for client in clients)
        )

    statuses = sorted(reply.status for reply in replies)
    assert statuses == [201, *[403] * 19]
    assert {problem(reply)[1] for reply in replies if reply.status == 403} == {"unauthorized"}
    external_account, accounts = await find(house, key)
    assert (external_account.uses, accounts) == (1, 1)


@pytest.mark.parametrize("max_uses", [1, 3, None])
async def test_one_account_asked_for_many_times_at_once_uses_a_key_once(
    house: House, max_uses: int | None
) -> None:
    key = await make_key(house, max_uses)
    async with serve_house(house, requires_binding=True) as served:
        client = await served.client()
        clients = [client, *[await served.connection_of(client) for _ in range(9)]]
        replies = await asyncio.gather(
            *(register(each, binding_for(key, client)) for each in clients)
        )

    assert sorted(reply.status for reply in replies) == [*[200] * 9, 201]
    assert len({reply.headers["location"] for reply in replies}) == 1
    external_account, accounts = await find(house, key)
    assert (external_account.uses, accounts) == (1, 1)


async def test_a_key_for_several_accounts_makes_so_many(house: House) -> None:
    key = await make_key(house, 3)
    async with serve_house(house) as served:
        clients = [await served.client() for _ in range(6)]
        replies = await asyncio.gather(
            *(register(client, binding_for(key, client)) for client in clients)
        )

    assert sorted(reply.status for reply in replies) == [201, 201, 201, 403, 403, 403]
    external_account, accounts = await find(house, key)
    assert (external_account.uses, accounts) == (3, 3)


async def test_an_existing_account_is_found_and_uses_nothing_up(house: House) -> None:
    key = await make_key(house)
    async with serve_house(house) as served:
        client = await served.registered()
        url = client.kid
        client.kid = None
        found = await register(client, binding_for(key, client))
        with_wrong = await register(client, mac(b"x" * 64, header_for(key), client.key.jwk))
        looked_up = await register(client, binding_for(key, client), onlyReturnExisting=True)

    replies = (found, with_wrong, looked_up)
    assert [(reply.status, reply.headers["location"]) for reply in replies] == [(200, url)] * 3
    assert "externalAccountBinding" not in json.loads(found.body)
    assert (await find(house, key))[0].uses == 0


async def test_a_lookup_makes_no_account_and_uses_nothing_up(house: House) -> None:
    key = await make_key(house)
    async with serve_house(house) as served:
        client = await served.client()
        reply = await register(client, binding_for(key, client), onlyReturnExisting=True)

    assert problem(reply)[:2] == (400, "accountDoesNotExist")
    assert (await find(house, key))[0].uses == 0


async def test_a_refused_registration_uses_nothing_up(house: House) -> None:
    key = await make_key(house)
    async with serve_house(house, terms="https://acme.example/terms") as served:
        client = await served.client()
        without_consent = await register(client, binding_for(key, client))
        bad_contact = await register(
            client, binding_for(key, client), termsOfServiceAgreed=True, contact=["tel:1"]
        )

    assert problem(without_consent)[:2] == (403, "userActionRequired")
    assert problem(bad_contact)[:2] == (400, "unsupportedContact")
    assert (await find(house, key))[0].uses == 0


async def test_binding_costs_one_statement_more(house: House) -> None:
    key = await make_key(house)
    async with serve_house(house, requires_binding=True) as served:
        client = await served.client()
        nonce = await client.header(NEW_ACCOUNT)
        payload = {"externalAccountBinding": binding_for(key, client)}
        before = house.database.statements
        reply = await client.send(NEW_ACCOUNT, client.key.sign(nonce, payload))
        cost = house.database.statements - before

    assert reply.status == 201
    assert cost == 3, "the nonce, the key, the account"


async def test_the_key_is_sealed_for_its_row_alone(house: House, database: Database) -> None:
    key, other = await make_key(house), await make_key(house)
    await database.execute(
        "UPDATE sealed_secrets SET sealed = (SELECT sealed FROM sealed_secrets WHERE id = $1)"
        " WHERE id = $2",
        other.external_account.id,
        key.external_account.id,
    )
    rows = await database.fetch("SELECT sealed FROM sealed_secrets")
    proof = BindingProof(
        key_id=encode_id(key.external_account.id),
        digest="sha256",
        message=b"message",
        code=hmac.digest(other.secret, b"message", "sha256"),
        text="message",
    )

    assert all(key.secret not in row["sealed"] for row in rows)
    with pytest.raises(SealError):
        await house.external_accounts.verify(proof)
