"""Many do the same at once, at two processes' worth of server over one database.

Each has its own pool, its own caches and its own loaded CA, as a worker has. What was handed to
the signers is noted, so that nothing signed goes unrecorded.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from policy.signing import der
from storage.pool import Database
from storage.revocations import Revocations
from support.acme import AcmeClient, AcmeServed, serve_house
from support.adversary import order_for, outcome, parsed
from support.edge import Reply
from support.invariants import broken_invariants, unrecorded_serials
from support.jose import ClientKey, b64
from support.workflow import House, build_house, csr_for

NOT_READY = (403, "orderNotReady")
INACTIVE = (401, "unauthorized")


@dataclass
class Pair:
    """Two servers of one installation. ``signed`` are the serials that the signers were given."""

    url: str
    houses: list[House]
    served: list[AcmeServed]
    signed: list[int] = field(default_factory=list)

    async def connections(self, client: AcmeClient, count: int) -> list[AcmeClient]:
        """``count`` connections of the client, to either server in turn."""
        return [await self.served[n % 2].connection_of(client) for n in range(count)]

    async def at_once(
        self, client: AcmeClient, count: int, url: str, payload: object
    ) -> list[Reply]:
        """The answers to ``count`` requests, each right, that arrive together."""
        connections = await self.connections(client, count)
        prepared = [client.key.sign(await client.header(url), payload) for _ in connections]
        return await asyncio.gather(
            *(each.send(url, jws) for each, jws in zip(connections, prepared, strict=True))
        )

    async def count(self, what: str) -> int:
        """How many rows there are of ``what``, a table with an optional condition."""
        number: int = await self.houses[0].database.fetchval(f"SELECT count(*) FROM {what}")
        return number

    async def assert_sound(self) -> None:
        """No rule is broken, and every serial that a signer saw is on record."""
        for house in self.houses:
            if running := set(house.worker._running):
                await asyncio.wait(running)
            await house.issuance.drain(10)
        assert await broken_invariants(self.url) == {}
        assert await unrecorded_serials(self.url, self.signed) == set()
        assert len(self.signed) == len(set(self.signed))


@pytest.fixture
async def pair(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    """Two servers over the fresh database."""
    async with AsyncExitStack() as stack:
        databases = [await Database.open(database_url) for _ in range(2)]
        for database in databases:
            stack.push_async_callback(database.close)
        first = await build_house(databases[0])
        houses = [first, await build_house(databases[1], first.master_key)]
        served = [await stack.enter_async_context(serve_house(house)) for house in houses]
        pair = Pair(database_url, houses, served)
        for house in houses:
            _note_signatures(house, pair.signed, monkeypatch)
        yield pair


def _note_signatures(house: House, signed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    sign = house.authority.active.sign

    async def note_and_sign(tbs: bytes) -> bytes:
        signed.append(_serial_of(tbs))
        return await sign(tbs)

    monkeypatch.setattr(house.authority.active, "sign", note_and_sign)


def _serial_of(tbs: bytes) -> int:
    """From the octets to be signed: version in [0], then the serial."""
    _, start, _ = der.read(tbs, 0)
    _, _, version_end = der.read(tbs, start)
    _, begin, end = der.read(tbs, version_end)
    return int.from_bytes(tbs[begin:end])


async def placed(client: AcmeClient, *names: str) -> dict[str, Any]:
    """A new order, with its URL in ``url``."""
    reply = await client.post(client.urls.new_order, order_for(*names))
    assert reply.status == 201
    return {**parsed(reply), "url": reply.headers["location"]}


async def prove(client: AcmeClient, order: dict[str, Any]) -> None:
    """Answer a challenge of each authorization."""
    for url in order["authorizations"]:
        challenge = parsed(await client.read(url))["challenges"][0]["url"]
        assert (await client.post(challenge, {})).status == 200


async def ready(client: AcmeClient, *names: str) -> dict[str, Any]:
    """An order that can be finalized."""
    order = await placed(client, *names)
    await prove(client, order)
    return order


def tally(replies: Sequence[Reply]) -> Counter[tuple[int, str]]:
    """How often each outcome came."""
    return Counter(map(outcome, replies))


async def test_two_hundred_finalizations_make_one_certificate(pair: Pair) -> None:
    client = await pair.served[0].registered()
    order = await ready(client, "www.example.com")

    payload = {"csr": b64(csr_for("www.example.com"))}
    replies = await pair.at_once(client, 200, order["finalize"], payload)

    assert tally(replies) == {(200, "ok"): 1, NOT_READY: 199}
    assert await pair.count("certificates") == 1
    assert len(pair.signed) == 1
    await pair.assert_sound()


async def test_a_hundred_orders_of_one_account_are_a_hundred_orders(pair: Pair) -> None:
    client = await pair.served[0].registered()
    await ready(client, "proven.example.com")

    names = ("proven.example.com", "new.example.com")
    replies = await pair.at_once(client, 100, client.urls.new_order, order_for(*names))

    orders = [parsed(reply) for reply in replies]
    assert tally(replies) == {(201, "ok"): 100}
    assert len({reply.headers["location"] for reply in replies}) == 100
    assert {order["status"] for order in orders} == {"pending"}
    assert len({order["authorizations"][0] for order in orders}) == 1
    assert len({order["authorizations"][1] for order in orders}) == 100
    await pair.assert_sound()


async def test_o069_fifty_answers_to_one_challenge_are_one_validation(pair: Pair) -> None:
    client = await pair.served[0].registered()
    order = await placed(client, "www.example.com")
    challenge = parsed(await client.read(order["authorizations"][0]))["challenges"][0]["url"]

    replies = await pair.at_once(client, 50, challenge, {})

    assert tally(replies) == {(200, "ok"): 50}
    assert sum(len(house.validators.tasks) for house in pair.houses) == 1
    await pair.assert_sound()
    assert parsed(await client.read(order["url"]))["status"] == "ready"


async def test_answers_of_all_challenges_of_an_order_at_once(pair: Pair) -> None:
    """The last one makes the order ready, whichever that is, and no poll comes before it."""
    client = await pair.served[0].registered()
    order = await placed(client, *(f"n{n}.example.com" for n in range(25)))
    challenges = [
        challenge["url"]
        for url in order["authorizations"]
        for challenge in parsed(await client.read(url))["challenges"]
    ]
    connections = await pair.connections(client, len(challenges))

    replies = await asyncio.gather(
        *(each.post(url, {}) for each, url in zip(connections, challenges, strict=True))
    )

    assert tally(replies) == {(200, "ok"): 75}
    await pair.assert_sound()
    assert parsed(await client.read(order["url"]))["status"] == "ready"
    events = "audit_events WHERE action = 'authorization_validated'"
    assert await pair.count(events) == 25


@pytest.mark.parametrize("ended", ["account", "authorization"])
async def test_what_is_deactivated_while_it_is_finalized_is_issued_or_not(
    pair: Pair, ended: str
) -> None:
    """Whichever comes first at the order decides; both answers tell the truth."""
    csr = {"csr": b64(csr_for("www.example.com"))}
    finalized: list[Reply] = []
    for attempt in range(20):
        client = await pair.served[0].registered()
        order = await ready(client, "www.example.com")
        assert client.kid is not None
        url = client.kid if ended == "account" else order["authorizations"][0]
        ending, finalizing = await pair.connections(client, 2)
        requests = [
            ending.post(url, {"status": "deactivated"}),
            finalizing.post(order["finalize"], csr),
        ]
        # The one that begins first wins more often; both get their chance.
        replies = await asyncio.gather(*requests[:: 1 if attempt % 2 else -1])
        ending_reply, finalizing_reply = replies[:: 1 if attempt % 2 else -1]
        assert (ending_reply.status, parsed(ending_reply)["status"]) == (200, "deactivated")
        finalized.append(finalizing_reply)
        if ended == "authorization":
            status = parsed(await client.read(order["url"]))["status"]
            assert status == ("valid" if finalizing_reply.status == 200 else "invalid")

    outcomes = tally(finalized)
    refused = {NOT_READY, INACTIVE, (403, "unauthorized")} & outcomes.keys()
    assert outcomes.keys() <= {(200, "ok"), *refused}
    assert await pair.count("certificates WHERE status = 'issued'") == outcomes[200, "ok"]
    assert len(pair.signed) == outcomes[200, "ok"]
    await pair.assert_sound()


async def test_a_proof_given_up_while_an_order_takes_it_over_issues_nothing(pair: Pair) -> None:
    """The order may have been made with the proof in good faith; the claim looks again."""
    csr = {"csr": b64(csr_for("www.example.com"))}
    for _ in range(20):
        client = await pair.served[0].registered()
        first = await ready(client, "www.example.com")
        ending, ordering = await pair.connections(client, 2)
        made, _ = await asyncio.gather(
            ordering.post(client.urls.new_order, order_for("www.example.com")),
            ending.post(first["authorizations"][0], {"status": "deactivated"}),
        )
        reply = await client.post(parsed(made)["finalize"], csr)

        assert made.status == 201
        assert reply.status == 403

    assert pair.signed == []
    assert await pair.count("certificates") == 0


async def test_an_account_is_ended_once_by_all_who_ask(pair: Pair) -> None:
    client = await pair.served[0].registered()
    assert client.kid is not None

    replies = await pair.at_once(client, 40, client.kid, {"status": "deactivated"})

    outcomes = tally(replies)
    assert outcomes == {(200, "ok"): 1, INACTIVE: 39}
    assert await pair.count("audit_events WHERE action = 'account_deactivated'") == 1
    await pair.assert_sound()


async def test_n003_a_request_is_accepted_once_by_any_worker_after_any_restart(pair: Pair) -> None:
    client = await pair.served[0].registered()
    url = client.urls.new_order
    jws = client.key.sign(await client.header(url), order_for("www.example.com"))
    first = await client.send(url, jws)
    replayed = [await each.send(url, jws) for each in await pair.connections(client, 4)]
    async with serve_house(pair.houses[0]) as restarted:
        replayed.append(await (await restarted.connection_of(client)).send(url, jws))

    assert first.status == 201
    assert tally(replayed) == {(400, "badNonce"): 5}
    assert await pair.count("orders") == 1


async def test_n014_an_emptied_ledger_lets_nothing_be_replayed(pair: Pair, owner_url: str) -> None:
    """As PostgreSQL empties it after a crash: what was redeemed before is refused, not accepted
    once more, and whoever is refused needs one retry, at either worker."""
    client = await pair.served[0].registered()
    url = client.urls.new_order
    used = client.key.sign(await client.header(url), order_for("www.example.com"))
    assert (await client.send(url, used)).status == 201
    headers = [await client.header(url) for _ in range(4)]
    owner = await Database.open(owner_url, max_size=2)
    await owner.execute("TRUNCATE nonce_epoch, nonces_a, nonces_b")
    await owner.close()

    connections = await pair.connections(client, 4)
    replayed = [await each.send(url, used) for each in connections]
    refused = [
        await each.send(url, client.key.sign(header, order_for("www.example.com")))
        for each, header in zip(connections, headers, strict=True)
    ]
    retried = [
        await each.send(
            url,
            client.key.sign(
                {**header, "nonce": reply.headers["replay-nonce"]}, order_for("www.example.com")
            ),
        )
        for each, header, reply in zip(connections, headers, refused, strict=True)
    ]

    assert tally(replayed) == {(400, "badNonce"): 4}
    assert tally(refused) == {(400, "badNonce"): 4}
    assert tally(retried) == {(201, "ok"): 4}
    assert await pair.count("orders") == 5


async def test_i11_a_key_reported_while_it_is_certified_again_is_good_for_nothing(
    pair: Pair,
) -> None:
    """Either the new certificate came first and is revoked with the others, or it never comes, or
    the job that looks for late ones finds it."""
    csrs, client = [], await pair.served[0].registered()
    for attempt in range(12):
        key = ClientKey.generate()
        name = f"n{attempt}.example.com"
        assert isinstance(key.private, ec.EllipticCurvePrivateKey)
        csrs.append({"csr": b64(csr_for(name, key=key.private))})
        first = await ready(client, name)
        done = parsed(await client.post(first["finalize"], csrs[-1]))
        pem = (await client.read(done["certificate"])).body
        der = x509.load_pem_x509_certificates(pem)[0].public_bytes(Encoding.DER)
        orders = [await ready(client, name) for _ in range(4)]
        reporter = await pair.served[1].client()
        reporter.key = key
        url, payload = client.urls.revoke_certificate, {"certificate": b64(der), "reason": 1}
        connections = await pair.connections(client, 4)
        report, *finalized = await asyncio.gather(
            reporter.post(url, payload),
            *(
                each.post(order["finalize"], csrs[-1])
                for each, order in zip(connections, orders, strict=True)
            ),
        )

        assert report.status == 200
        assert tally(finalized).keys() <= {(200, "ok"), (400, "badCSR")}
    late = [await Revocations(house.database).revoke_late() for house in pair.houses]
    assert late[1] == 0
    assert await pair.count("certificates WHERE status = 'issued' AND revoked_at IS NULL") == 0
    await pair.assert_sound()
